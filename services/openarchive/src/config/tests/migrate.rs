use super::*;

/// Text to find in the good file, what it becomes, and what `migrate` says of it.
const BAD_FOR_MIGRATE: &[(&str, &str, &str)] = &[
    (
        "urlFile: database-url, ",
        "",
        "database.urlFile: is missing, and nothing runs in dataDir: name a file with the URL",
    ),
    ("urlFile: database-url", "urlFile: none", "database.urlFile: DIR/none is not a file"),
    ("urlFile: database-url", "urlFile: \"\"", "database.urlFile: DIR/ is not a file"),
    ("urlFile: database-url", "urlFile: nothing", "database.urlFile: DIR/nothing is empty"),
    ("urlFile: database-url", "urlFile: tls.crt", "database.urlFile: its text is not a postgres:// URL"),
    (
        "urlFile: database-url",
        "urlFile: \"postgres://role:secret-word@db/x\"",
        "database.urlFile: it is a URL, not the path of a file",
    ),
    (
        "rolePasswords: passwords",
        "rolePasswords: none",
        "database.rolePasswords/openarchive_ingest: DIR/none/openarchive_ingest is not a file",
    ),
    (
        "rolePasswords: passwords",
        "rolePasswords: no-passwords",
        "database.rolePasswords/openarchive_ingest: DIR/no-passwords/openarchive_ingest is empty",
    ),
    ("rolePasswords:", "passwords:", "database.passwords: unknown field"),
    ("database:", "databases:", "unknown field `databases`"),
    ("archive:", "archives:", "unknown field `archives`"),
    ("  domain: archive.example.org\n", "", "archive: missing field `domain`"),
    ("listen: {", "listen: {{", "DIR/role.yaml: "),
];

fn load_for_migrate(dir: &TempDir, text: &str) -> Result<MigrationConfig, String> {
    let path = dir.path().join("role.yaml");
    fs::write(&path, text).unwrap();
    load_migration(&path, &Environment::default())
        .map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
}

#[test]
fn migrate_refuses_each_bad_key_with_its_name_and_without_any_secret() {
    let dir = folder();
    for (from, to, says) in BAD_FOR_MIGRATE {
        assert!(GOOD.contains(from), "{from}");
        let refused = load_for_migrate(&dir, &GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(refused.contains(says), "{to:?}: {refused}\n  should say: {says}");
        assert!(refused.starts_with("DIR/role.yaml") && !refused.contains("secret-word"), "{refused}");
    }
    let worker = "openarchive_worker";
    fs::remove_file(dir.path().join("passwords").join(worker)).unwrap();
    let refused = load_for_migrate(&dir, GOOD).unwrap_err();
    assert!(refused.contains(&format!("database.rolePasswords/{worker}: ")), "{refused}");
}

#[test]
fn migrate_needs_nothing_but_the_database() {
    let migration = load_for_migrate(&folder(), "database: {urlFile: database-url}\n").unwrap();
    assert_eq!(migration.admin.as_str(), "postgres://role:secret-word@db/openarchive");
    assert!(migration.passwords.is_empty(), "they are left as they are");
}
