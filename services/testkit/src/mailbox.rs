//! Reads a person's mail for sending: an EML file, a folder of EML files, a Maildir, an mbox.

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use openarchive_mail::mbox::MboxReader;

/// Every message under `path`, in the order of names. Line endings as they stand.
pub fn read(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    if path.is_dir() {
        let mut files = Vec::new();
        collect(path, &mut files)?;
        files.sort();
        return files.iter().map(|file| bytes(file)).collect();
    }
    let begin = bytes(path)?;
    if !begin.starts_with(b"From ") {
        return Ok(vec![begin]);
    }
    let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    MboxReader::new(BufReader::new(file))?
        .map(|message| message.map(|m| m.bytes).with_context(|| format!("cannot read {}", path.display())))
        .collect()
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Files under a folder, without hidden ones and without a Maildir's `tmp`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "tmp" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    if files.len() > 1_000_000 {
        bail!("{} holds more than a million files", folder.display());
    }
    Ok(())
}

/// Lines ended by CRLF, as SMTP demands; a lone LF becomes CRLF, everything else stays.
pub fn to_crlf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 40 + 2);
    let mut previous = 0;
    for &byte in message {
        if byte == b'\n' && previous != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        previous = byte;
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_line_feeds_become_crlf_and_nothing_else_changes() {
        assert_eq!(to_crlf(b"a\nb\r\nc\rd"), b"a\r\nb\r\nc\rd\r\n");
        assert_eq!(to_crlf(b"a\r\n"), b"a\r\n");
    }
}
