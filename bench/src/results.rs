//! `bench/RESULTS.md`: one section for each program that measures, written anew by it.

use std::{fs, io, path::Path};

const TITLE: &str = "# Figures\n\nMade by `make bench` and `make load` (docs/benchmarks.md). Each section says when and where.\n";

/// Puts `text` under `## heading`, instead of what stood there.
pub fn put(path: &Path, heading: &str, text: &str) -> io::Result<()> {
    let before = fs::read_to_string(path).unwrap_or_else(|_| TITLE.to_owned());
    fs::write(path, replaced(&before, heading, text))
}

fn replaced(before: &str, heading: &str, text: &str) -> String {
    let marker = format!("## {heading}\n");
    let section = format!("{marker}\n{}\n", text.trim_end());
    let Some(start) = before.find(&marker) else { return format!("{}\n\n{section}", before.trim_end()) };
    let rest = &before[start + marker.len()..];
    match rest.find("\n## ") {
        Some(end) => format!("{}{section}{}", &before[..start], &rest[end..]),
        None => format!("{}{section}", &before[..start]),
    }
}

/// A Markdown table.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_its_own_and_no_other() {
        let first = replaced("# Figures\n", "one", "1");
        assert_eq!(first, "# Figures\n\n## one\n\n1\n");
        let both = replaced(&first, "two", "2\n");
        assert_eq!(both, "# Figures\n\n## one\n\n1\n\n## two\n\n2\n");
        assert_eq!(replaced(&both, "one", "3"), "# Figures\n\n## one\n\n3\n\n## two\n\n2\n");
        assert_eq!(replaced(&both, "two", "4"), "# Figures\n\n## one\n\n1\n\n## two\n\n4\n");
    }

    #[test]
    fn a_table_has_a_line_for_its_head() {
        assert_eq!(table(&["a", "b"], &[vec!["1".into(), "2".into()]]), "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }
}
