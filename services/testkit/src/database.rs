//! A private PostgreSQL per test: its own data folder and socket, stopped when dropped.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use openarchive_private_postgres::{Durability, PrivatePostgres};

/// Starts a fresh cluster in a short temporary path. A failed test keeps its folder and says where.
pub struct TestDatabase {
    server: Option<PrivatePostgres>,
    folder: Option<tempfile::TempDir>,
}

impl TestDatabase {
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("oa-test-")
            .tempdir_in("/tmp")
            .expect("a folder for the test's database can be made");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let server = PrivatePostgres::start(folder.path(), Durability::TestsOnly)
            .unwrap_or_else(|error| panic_with(&error));
        Self { server: Some(server), folder: Some(folder) }
    }

    /// URL of the database `postgres` in the cluster, as its superuser: for migrations, and to look at what a service
    /// did. The schema is not there yet: `openarchive_schema::migrate`.
    pub fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// The same as the login role `role`, which a migration must have made. Services run as theirs in tests, too: a
    /// superuser passes every grant and all row security.
    pub fn url_as(&self, role: &str) -> String {
        self.server.as_ref().map(|server| server.url_as(role, "postgres")).unwrap_or_default()
    }
}

#[expect(clippy::panic, reason = "test support: a test without its database fails, it is not skipped")]
fn panic_with(error: &dyn std::error::Error) -> PrivatePostgres {
    panic!("the test's PostgreSQL does not start: {error}")
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        self.server.take();
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            let kept: PathBuf = folder.keep();
            eprintln!("the failed test's database is kept in {}", kept.display());
        }
    }
}
