use std::time::Duration;

use openarchive_domain::Clock;
use openarchive_topology::Role;
use openarchive_trust::{Keys, KeysError, check_logs};
use sqlx::{PgPool, postgres::PgPoolOptions};

use super::{Finding, Verdict};
use crate::config::{DatabaseUrl, RoleConfig};

const ABOUT: &str = "database";
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// The sequencer stops beyond this difference (evidence.md section 4), in seconds.
const CLOCK_SECONDS_MAX: i64 = 120;
/// From here on it is warned about, in seconds.
const CLOCK_SECONDS_WARNED: i64 = 5;

pub(super) async fn examine(
    role: Role,
    config: &RoleConfig,
    url: &DatabaseUrl,
    clock: &dyn Clock,
) -> Vec<Finding> {
    let connected =
        PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_TIME_MAX).connect(url.as_str()).await;
    let pool = match connected {
        Ok(pool) => pool,
        Err(error) => {
            let remedy = "check host, port, user and password in the file of database.urlFile";
            return vec![Finding::bad(ABOUT, format!("cannot connect: {}", without_url(&error)), remedy)];
        }
    };
    let mut findings = vec![login(&pool, role).await, schema(&pool).await];
    // A wrong login or schema would only be told once more.
    if findings.iter().all(|finding| finding.verdict != Verdict::Bad) {
        findings.extend(ledger(&pool, config).await);
    }
    findings.push(clocks(&pool, clock).await);
    pool.close().await;
    findings
}

/// The database's own words, which name user and database and no password.
fn without_url(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => format!("no answer within {} s", CONNECT_TIME_MAX.as_secs()),
        _ => "the server refuses the connection".to_owned(),
    }
}

async fn login(pool: &PgPool, role: Role) -> Finding {
    let row = sqlx::query!(
        r#"select current_user::text as "name!", rolsuper as "superuser!", rolbypassrls as "bypasses!"
           from pg_roles where rolname = current_user"#
    )
    .fetch_one(pool)
    .await;
    let expected = format!("openarchive_{}", role.name());
    match row {
        Ok(row) if row.superuser || row.bypasses => {
            let what = format!("{} passes by row-level security: tenants are not apart", row.name);
            Finding::bad(ABOUT, what, format!("connect as {expected}"))
        }
        Ok(row) if row.name != expected => {
            Finding::bad(ABOUT, format!("connects as {}", row.name), format!("connect as {expected}"))
        }
        Ok(row) => Finding::good(ABOUT, format!("connects as {}", row.name)),
        Err(error) => Finding::bad(ABOUT, format!("its roles cannot be read: {}", without_url(&error)), ""),
    }
}

async fn schema(pool: &PgPool) -> Finding {
    match openarchive_schema::check(pool).await {
        Ok(()) => Finding::good(ABOUT, format!("serves schema version {}", openarchive_schema::VERSION)),
        Err(error) => Finding::bad(ABOUT, error.to_string(), "openarchive migrate --config FILE"),
    }
}

/// Whether trust, who alone may read the ledger, would start with it. `None` for other roles.
async fn ledger(pool: &PgPool, config: &RoleConfig) -> Option<Finding> {
    const ABOUT: &str = "ledger";
    let (archive, section) = (&config.archive, config.trust.as_ref()?);
    let keys = Keys::open(&section.keys);
    let tenants = Some(archive.tenants.as_slice());
    let checked = check_logs(pool, keys.as_ref().ok(), &archive.domain, &archive.name, tenants).await;
    Some(match checked {
        Ok(1..) if matches!(keys, Err(KeysError::Missing { .. })) => {
            let what =
                format!("the database knows logs, and {} does not hold their keys", section.keys.display());
            Finding::bad(
                ABOUT,
                what,
                "restore the keys from their backup: new ones would open nothing that is stored",
            )
        }
        Ok(logs) => {
            let (domain, name) = (&archive.domain, &archive.name);
            Finding::good(ABOUT, format!("the database holds {logs} logs, and none but of {domain}/{name}"))
        }
        Err(error) => {
            let remedy = "give trust the configuration, the keys and the database of one archive";
            Finding::bad(ABOUT, error.to_string(), remedy)
        }
    })
}

async fn clocks(pool: &PgPool, clock: &dyn Clock) -> Finding {
    let there = sqlx::query_scalar!(r#"select extract(epoch from clock_timestamp())::bigint as "now!""#)
        .fetch_one(pool)
        .await;
    let Ok(there) = there else { return Finding::bad(ABOUT, "its clock cannot be read", "") };
    let apart = (clock.now().as_millis() / 1000 - there).abs();
    let what = format!("the clocks of this machine and of the database are {apart} s apart");
    let remedy = "let both follow a time server";
    match apart {
        ..CLOCK_SECONDS_WARNED => Finding::good(ABOUT, what),
        CLOCK_SECONDS_WARNED..CLOCK_SECONDS_MAX => Finding::warning(ABOUT, what, remedy),
        _ => Finding::bad(ABOUT, format!("{what}: the ledger takes nothing"), remedy),
    }
}
