use openarchive_schema::{
    DatabaseRole, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, PasswordError, set_role_password,
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use crate::cluster::Cluster;

const ROLE: DatabaseRole = DatabaseRole::Ingest;

/// PostgreSQL, Appendix A.
const INVALID_PASSWORD: &str = "28P01";

impl Cluster {
    async fn log_in(&self, role: DatabaseRole, password: &str) -> Result<(), String> {
        let options: PgConnectOptions = self.database.url_as(role.as_str()).parse().unwrap();
        match PgConnection::connect_with(&options.password(password)).await {
            Ok(connection) => {
                connection.close().await.unwrap();
                Ok(())
            }
            Err(error) => Err(error.as_database_error().unwrap().code().unwrap().into_owned()),
        }
    }
}

#[tokio::test]
async fn a_role_logs_in_with_the_password_it_was_given_and_with_no_other() {
    let cluster = Cluster::migrated().await;
    set_role_password(&cluster.admin, ROLE, "first-password-of-the-role").await.unwrap();
    // From here on only the superuser comes in without a password.
    cluster
        .sql(
            "do $$ begin
               execute format('copy (values (''local all postgres trust''), (''local all all scram-sha-256'')) to %L',
                 current_setting('hba_file'));
               perform pg_reload_conf();
             end $$",
        )
        .await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while cluster.log_in(DatabaseRole::Worker, "x").await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "the server does not read its new rules");
    }
    assert_eq!(cluster.log_in(ROLE, "first-password-of-the-role").await, Ok(()));
    assert_eq!(cluster.log_in(ROLE, "first-password-of-the-rolf").await, Err(INVALID_PASSWORD.to_owned()));
    assert_eq!(cluster.log_in(DatabaseRole::Worker, "").await, Err(INVALID_PASSWORD.to_owned()));
    // Every character that a password may have.
    let odd: String = ('!'..='~').collect();
    set_role_password(&cluster.admin, ROLE, &odd).await.unwrap();
    assert_eq!(cluster.log_in(ROLE, &odd).await, Ok(()));
    assert_eq!(cluster.log_in(ROLE, "first-password-of-the-role").await, Err(INVALID_PASSWORD.to_owned()));
}

#[tokio::test]
async fn a_password_has_a_length_and_visible_characters_and_is_shown_in_no_error() {
    let cluster = Cluster::migrated().await;
    let check = async |password: &str, good: bool| {
        let set = set_role_password(&cluster.admin, ROLE, password).await;
        assert_eq!(set.is_ok(), good, "{password}");
        if let Err(error) = set {
            assert!(matches!(error, PasswordError::Form { .. }), "{error}");
            assert!(password.is_empty() || !error.to_string().contains(password), "{error}");
        }
    };
    check(&"p".repeat(PASSWORD_CHARS_MIN), true).await;
    check(&"p".repeat(PASSWORD_CHARS_MIN - 1), false).await;
    check(&"p".repeat(PASSWORD_CHARS_MAX), true).await;
    check(&"p".repeat(PASSWORD_CHARS_MAX + 1), false).await;
    check("", false).await;
    check("twenty characters or so", false).await;
    check("sixteen-umlauts-äöü", false).await;
    check("line-ends-are-no\nparts", false).await;
}
