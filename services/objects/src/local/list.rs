use std::{fs, io, path::Path};

use crate::ObjectKey;

/// The keys under `root` that begin with `prefix` and sort behind `after`, in byte order, at most `limit`.
///
/// Walks only folders that can hold such keys. Files that cannot be objects (their name is no key) are passed over.
pub(super) fn list_page(
    root: &Path,
    prefix: &str,
    after: Option<&ObjectKey>,
    limit: usize,
) -> io::Result<Vec<ObjectKey>> {
    let mut page = Page { prefix, after: after.map_or("", ObjectKey::as_str), limit, keys: Vec::new() };
    page.walk(root, "")?;
    Ok(page.keys)
}

struct Page<'a> {
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    keys: Vec<ObjectKey>,
}

impl Page<'_> {
    /// `folder` is empty for the root, else ends with `/`.
    fn walk(&mut self, path: &Path, folder: &str) -> io::Result<()> {
        for name in sorted_names(path)? {
            if self.keys.len() >= self.limit {
                return Ok(());
            }
            let full = format!("{folder}{name}");
            if full.ends_with('/') {
                if self.may_hold_wanted(&full) {
                    self.walk(&path.join(&name), &full)?;
                }
            } else if full.starts_with(self.prefix) && full.as_str() > self.after {
                self.keys.extend(ObjectKey::try_from(full).ok());
            }
        }
        Ok(())
    }

    fn may_hold_wanted(&self, folder: &str) -> bool {
        let within_prefix = folder.starts_with(self.prefix) || self.prefix.starts_with(folder);
        let behind_after = folder > self.after || self.after.starts_with(folder);
        within_prefix && behind_after
    }
}

/// Names in a folder, folders with `/` behind them: so their order is the order of the keys.
fn sorted_names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let Ok(mut name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            name.push('/');
        } else if !kind.is_file() {
            continue;
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}
