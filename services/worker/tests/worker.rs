//! The job queue over a real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "worker/fixity.rs"]
mod fixity;

use std::time::Duration;

use openarchive_rpc::{RpcChannel, in_process};
use openarchive_schema::DatabaseRole;
use openarchive_testkit::database::TestDatabase;
use openarchive_worker::{ATTEMPTS_MAX, Queue, Worker, WorkerConfig};
use sqlx::PgPool;
use tonic::{service::Routes, transport::Server};

/// The superuser's pool, and a queue of the worker's own.
async fn queue(database: &TestDatabase) -> (PgPool, Queue) {
    let pool = PgPool::connect(&database.url()).await.unwrap();
    openarchive_schema::migrate(&pool).await.unwrap();
    let worker = PgPool::connect(&database.url_as(DatabaseRole::Worker.as_str())).await.unwrap();
    (pool, Queue::new(worker, Duration::ZERO))
}

async fn insert(pool: &PgPool, key: &str) {
    sqlx::query!(
        "insert into jobs.job (kind, tenant, payload, unique_key) values ('index', 'acme', '{}', $1)
         on conflict do nothing",
        key
    )
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_job_is_claimed_once_fails_with_waits_dies_and_is_cured_by_a_person() {
    let database = TestDatabase::start();
    let (pool, queue) = queue(&database).await;
    insert(&pool, "a").await;
    insert(&pool, "a").await;

    let mut job = None;
    for attempt in 1..=ATTEMPTS_MAX {
        let claimed = queue.claim("index", 10).await.unwrap();
        assert_eq!(claimed.len(), 1, "attempt {attempt}: the same key is queued once and due at once");
        assert_eq!(claimed[0].attempts, attempt);
        assert!(queue.claim("index", 10).await.unwrap().is_empty(), "a claimed job is nobody else's");
        queue.failed(&claimed[0], "it does not work").await.unwrap();
        job = claimed.into_iter().next();
    }
    assert!(queue.claim("index", 10).await.unwrap().is_empty(), "a dead job rests");
    let row = sqlx::query!("select state, last_error from jobs.job").fetch_one(&pool).await.unwrap();
    assert_eq!((row.state.as_str(), row.last_error.as_deref()), ("dead", Some("it does not work")));

    let job_id = job.unwrap().job_id;
    assert!(!queue.retry(&"other-tenant".parse().unwrap(), job_id).await.unwrap());
    assert!(queue.retry(&"acme".parse().unwrap(), job_id).await.unwrap());
    let again = queue.claim("index", 10).await.unwrap();
    assert_eq!(again[0].attempts, 1);
    queue.done(&[job_id]).await.unwrap();
    assert_eq!(sqlx::query!("select job_id from jobs.job").fetch_all(&pool).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_job_whose_lease_ran_out_goes_to_another_worker_and_its_first_owner_can_no_longer_end_it() {
    let database = TestDatabase::start();
    let (pool, first) = queue(&database).await;
    insert(&pool, "a").await;
    let held = first.claim("index", 1).await.unwrap();
    sqlx::query!("update jobs.job set lease_until = now() - interval '1 second'")
        .execute(&pool)
        .await
        .unwrap();

    let second = Queue::new(pool.clone(), Duration::ZERO);
    assert_eq!(second.claim("index", 1).await.unwrap().len(), 1);
    first.done(&[held[0].job_id]).await.unwrap();
    first.failed(&held[0], "late").await.unwrap();
    let row = sqlx::query!("select state from jobs.job").fetch_one(&pool).await.unwrap();
    assert_eq!(row.state, "running", "the late owner changed nothing");
}

fn nowhere() -> RpcChannel {
    in_process(Server::builder().add_routes(Routes::default()))
}

fn config(pool: PgPool) -> WorkerConfig {
    WorkerConfig {
        pool,
        catalogue: nowhere(),
        index: nowhere(),
        storage: nowhere(),
        tenants: Vec::new(),
        retry_after: Duration::ZERO,
        fixity: None,
    }
}

#[tokio::test]
async fn an_order_to_shred_is_never_given_up() {
    let database = TestDatabase::start();
    let (pool, _) = queue(&database).await;
    sqlx::raw_sql(
        "insert into jobs.job (kind, tenant, payload)
         select 'shred', 'acme', jsonb_build_object('shred', gen_random_uuid())",
    )
    .execute(&pool)
    .await
    .unwrap();
    let own = PgPool::connect(&database.url_as(DatabaseRole::Worker.as_str())).await.unwrap();
    let worker = Worker::start(config(own.clone()));
    let attempts = "select attempts from jobs.job where state <> 'dead' and last_error <> ''";
    let tried = async {
        while sqlx::query_scalar::<_, i32>(attempts).fetch_optional(&pool).await.unwrap()
            < Some(ATTEMPTS_MAX + 2)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), tried).await.unwrap();
    worker.shutdown().await;
    own.close().await;
}

/// Queries of the worker that wait for a lock on the table of jobs.
const WAITING: &str =
    "select pid from pg_stat_activity where wait_event_type = 'Lock' and query like '%jobs.job%'";

/// A pool that closes waits for each of its connections, also for those that hear of new jobs.
#[tokio::test]
async fn a_pool_that_closes_while_batches_fail_gets_every_connection_back() {
    let database = TestDatabase::start();
    let (pool, _) = queue(&database).await;
    let own = PgPool::connect(&database.url_as(DatabaseRole::Worker.as_str())).await.unwrap();
    let mut lock = pool.begin().await.unwrap();
    sqlx::raw_sql("lock table jobs.job in access exclusive mode").execute(&mut *lock).await.unwrap();
    let _worker = Worker::start(config(own.clone()));
    // The feed, the shredding and the counting.
    let waiting = async {
        while sqlx::query_scalar::<_, i32>(WAITING).fetch_all(&pool).await.unwrap().len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    let closed = tokio::spawn(async move { own.close().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let killed = format!("select pg_terminate_backend(pid) from ({WAITING}) as waiting");
    sqlx::raw_sql(sqlx::AssertSqlSafe(killed)).execute(&pool).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap().unwrap();
}
