use std::{fs, os::unix::process::CommandExt, path::Path, process::Command};

use crate::PostgresError;

/// The user that postgres runs as: ourselves, or an unprivileged user when we are root.
#[derive(Debug, Clone)]
pub enum RunAs {
    Ourselves,
    User { name: String, uid: u32, gid: u32 },
}

impl RunAs {
    pub fn choose() -> Result<Self, PostgresError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        let passwd = fs::read_to_string("/etc/passwd")
            .map_err(|e| PostgresError::io("cannot read the user list", Path::new("/etc/passwd"), e))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| passwd.lines().find_map(|line| parse_user(line, name)))
            .ok_or(PostgresError::NoUnprivilegedUser)
    }

    /// Makes `command` run as this user.
    pub fn apply(&self, command: &mut Command) {
        if let Self::User { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
    }

    /// Gives `path` to this user.
    pub fn own(&self, path: &Path) -> Result<(), PostgresError> {
        if let Self::User { uid, gid, .. } = self {
            std::os::unix::fs::chown(path, Some(*uid), Some(*gid))
                .map_err(|e| PostgresError::io("cannot give the folder to the database's user", path, e))?;
        }
        Ok(())
    }

    /// Says so if this user cannot enter `path`, instead of letting initdb fail in its own words.
    pub fn check_reachable(&self, path: &Path) -> Result<(), PostgresError> {
        let Self::User { name, .. } = self else { return Ok(()) };
        let mut probe = Command::new("/bin/sh");
        probe.args(["-c", "cd \"$0\""]).arg(path).stderr(std::process::Stdio::null()).current_dir("/");
        self.apply(&mut probe);
        let status = probe.status().map_err(|e| PostgresError::io("cannot run /bin/sh for", path, e))?;
        if status.success() {
            Ok(())
        } else {
            Err(PostgresError::Unreachable { user: name.clone(), path: path.display().to_string() })
        }
    }
}

/// One line of passwd(5), if it is the user's.
fn parse_user(line: &str, wanted: &str) -> Option<RunAs> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| *name == wanted)?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(RunAs::User { name: name.to_owned(), uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passwd_line_gives_uid_and_gid() {
        let user = parse_user("postgres:x:101:103::/var/lib/postgresql:/bin/bash", "postgres");
        assert!(matches!(user, Some(RunAs::User { uid: 101, gid: 103, .. })));
        assert!(parse_user("postgres2:x:101:103::/:/bin/sh", "postgres").is_none());
    }
}
