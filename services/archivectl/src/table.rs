use comfy_table::{ContentArrangement, Table, presets};

use crate::terminal;

/// Columns with a line of names above, two spaces apart, never wrapped: one row is one line. Every cell is foreign
/// text.
pub(crate) fn table<const COLUMNS: usize>(
    names: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
    table.set_header(names);
    for row in rows {
        table.add_row(row.map(|cell| terminal::line(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_line_whatever_stands_in_its_cells() {
        let rows = [["1", "x\ny\u{1b}[2J"], ["200", "日本"]].map(|row| row.map(str::to_owned));
        insta::assert_snapshot!(table(["ID", "NAME"], rows), @r"
        ID   NAME
        1    x�y�[2J
        200  日本
        ");
    }
}
