//! Log files. What other programs write into the same file is not ours to judge, so it stays out.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::Value;

/// What is read from the end of each log file, in bytes.
const LOG_TAIL_BYTES_MAX: u64 = 1024 * 1024;

/// Our own lines at the end of each file, and how many others there were.
pub(super) fn tails(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut text = String::new();
    for file in files {
        let tail = tail(file).with_context(|| format!("cannot read the log {}", file.display()))?;
        let tail = String::from_utf8_lossy(&tail);
        let (own, others): (Vec<&str>, Vec<&str>) = tail.lines().partition(|line| is_ours(line));
        text += &format!("==> {} ({} lines of others left out)\n", file.display(), others.len());
        for line in own {
            text += &format!("{line}\n");
        }
    }
    Ok(text)
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A line that `openarchive_telemetry` wrote for one of our own crates: JSON, or time, level and target.
fn is_ours(line: &str) -> bool {
    let is_target = |target: &str| target.starts_with("openarchive");
    if line.starts_with('{') {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        return line["level"].is_string() && line["target"].as_str().is_some_and(is_target);
    }
    let mut words = line.split_ascii_whitespace();
    let (time, level, target) = (words.next(), words.next(), words.next());
    time.is_some_and(|time| time.ends_with('Z'))
        && level.is_some_and(|level| ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level))
        && target.is_some_and(|target| target.ends_with(':') && is_target(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_programs_and_of_other_libraries_are_not_ours() {
        let check = |line: &str, expected: bool| assert_eq!(is_ours(line), expected, "{line}");
        check("2026-01-02T03:04:05.678901Z  INFO openarchive_worker: the index feed has stopped", true);
        check(
            r#"{"timestamp":"t","level":"INFO","role":"all","target":"openarchive::core","message":"m"}"#,
            true,
        );
        check("2026-01-02T03:04:05.678901Z  INFO sqlx::query: select subject", false);
        check(r#"{"level":"INFO","target":"sqlx::query","message":"m"}"#, false);
        check("2026-01-02 03:04:05.678 UTC [7] DETAIL:  Key (address)=(a@example.org) exists", false);
        check(r#"{"level":"INFO","target":"openarchive"#, false);
        check("", false);
    }

    #[test]
    fn only_the_end_of_a_long_log_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let line = |n: usize| format!("2026-01-02T03:04:05.678901Z  INFO openarchive_edge: number {n:07}\n");
        let lines = LOG_TAIL_BYTES_MAX as usize / line(0).len() + 10;
        std::fs::write(&path, (0..lines).map(line).collect::<String>()).unwrap();
        let tails = tails(&[path]).unwrap();
        assert!(tails.len() as u64 <= LOG_TAIL_BYTES_MAX + 200);
        assert!(tails.ends_with(&line(lines - 1)) && !tails.contains(&line(0)));
    }
}
