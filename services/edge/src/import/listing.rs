//! What there is to import under a path.
//!
//! - A file that begins with `From ` or is called `*.mbox` is an mbox; any other file is one mail.
//! - A folder with `cur` and `new` is a Maildir, and its subfolders with a leading dot may be further ones (Maildir++).
//! - Of any other folder each file is one mail, with its `From ` line if it has one; only `*.mbox` is an mbox. Folders
//!   in it are gone through likewise; hidden files and folders are not.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{ImportError, file_stamp::FileStamp, maildir};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    File(MailFile),
    Mbox(MailFile),
    /// The folder that `cur` and `new` are in.
    Maildir(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MailFile {
    pub(super) path: PathBuf,
    pub(super) stamp: FileStamp,
}

/// In the order of names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) sources: Vec<Source>,
    /// Of all files now.
    pub(super) bytes: u64,
}

impl Listing {
    /// Blocks on the disk.
    pub(super) fn of(root: &Path) -> Result<Self, ImportError> {
        let error = |source| ImportError::Source { path: root.to_owned(), source };
        let metadata = root.metadata().map_err(error)?;
        let mut listing = Self::default();
        if metadata.is_dir() {
            listing.add_folder(root)?;
        } else if metadata.is_file() {
            let file = MailFile { path: root.to_owned(), stamp: FileStamp::of(&metadata) };
            let is_mbox =
                is_called_mbox(root) || (!is_called_eml(root) && begins_with_from(root).map_err(error)?);
            listing.add_file(file, is_mbox);
        } else {
            return Err(ImportError::NotMail { path: root.to_owned() });
        }
        Ok(listing)
    }

    fn add_file(&mut self, file: MailFile, is_mbox: bool) {
        self.bytes += file.stamp.bytes();
        self.sources.push(if is_mbox { Source::Mbox(file) } else { Source::File(file) });
    }

    fn add_folder(&mut self, folder: &Path) -> Result<(), ImportError> {
        let error = |source| ImportError::Source { path: folder.to_owned(), source };
        let is_maildir = maildir::is_maildir(folder);
        if is_maildir {
            self.bytes += maildir::list(folder).map_err(error)?.iter().map(|mail| mail.bytes).sum::<u64>();
            self.sources.push(Source::Maildir(folder.to_owned()));
        }
        let mut entries =
            fs::read_dir(folder).map_err(error)?.collect::<io::Result<Vec<_>>>().map_err(error)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let Ok(file_type) = entry.file_type() else { continue };
            if file_type.is_dir() {
                // Links to folders are not followed: they could lead in circles.
                if if is_maildir { hidden && maildir::is_maildir(&path) } else { !hidden } {
                    self.add_folder(&path)?;
                }
            } else if !hidden && !is_maildir {
                // What is gone by now, or leads nowhere, is nothing to import.
                let Ok(metadata) = path.metadata() else { continue };
                if metadata.is_file() {
                    let is_mbox = is_called_mbox(&path);
                    self.add_file(MailFile { path, stamp: FileStamp::of(&metadata) }, is_mbox);
                }
            }
        }
        Ok(())
    }
}

fn is_called_mbox(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mbox"))
}

fn is_called_eml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("eml"))
}

fn begins_with_from(path: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    File::open(path)?.take(5).read_to_end(&mut begin)?;
    Ok(begin == b"From ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    fn listed(path: &Path, root: &Path) -> Vec<String> {
        let name = |kind: &str, path: &Path| format!("{kind} {}", path.strip_prefix(root).unwrap().display());
        let sources = Listing::of(path).unwrap().sources;
        let named = sources.iter().map(|source| match source {
            Source::File(file) => name("file", &file.path),
            Source::Mbox(file) => name("mbox", &file.path),
            Source::Maildir(folder) => name("maildir", folder),
        });
        named.collect()
    }

    #[test]
    fn one_file_is_an_mbox_if_it_begins_like_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(
            root,
            &[("inbox", "From a\n"), ("a.eml", "From a\n"), ("b", "From: a\n"), ("c.MBOX", ""), ("d", "")],
        );
        let check = |name: &str, expected| assert_eq!(listed(&root.join(name), root), [expected]);
        check("inbox", "mbox inbox");
        check("a.eml", "file a.eml");
        check("b", "file b");
        check("c.MBOX", "mbox c.MBOX");
        check("d", "file d");
    }

    #[test]
    fn a_folder_is_gone_through_in_the_order_of_names_without_what_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(
            root,
            &[("2", "From a\n"), ("1/x.eml", "12345"), ("3.mbox", ""), (".hidden", ""), (".git/x", "")],
        );
        std::os::unix::fs::symlink(root, root.join("1/circle")).unwrap();
        std::os::unix::fs::symlink(root.join("2"), root.join("4")).unwrap();
        std::os::unix::fs::symlink(root.join("nowhere"), root.join("5")).unwrap();
        assert_eq!(listed(root, root), ["file 1/x.eml", "file 2", "mbox 3.mbox", "file 4"]);
        assert_eq!(Listing::of(root).unwrap().bytes, 5 + 7 + 7);
    }

    #[test]
    fn maildirs_are_found_wherever_they_are_with_their_subfolders() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let mails = [
            ("me/cur/1:2,S", "123"),
            ("me/new/2", "45"),
            ("me/tmp/3", "67"),
            ("me/dovecot-uidlist", "x"),
            ("me/.Sent/cur/4", "8"),
            ("me/.Sent/new/5", ""),
            ("me/.cache/6", "x"),
        ];
        write(root, &mails);
        assert_eq!(listed(root, root), ["maildir me", "maildir me/.Sent"]);
        assert_eq!(Listing::of(&root.join("me")).unwrap().bytes, 3 + 2 + 1);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Listing::of(Path::new("/no/such/place")).unwrap_err().to_string();
        assert!(error.contains("/no/such/place"), "{error}");
    }
}
