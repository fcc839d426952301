use std::time::Duration;

use openarchive_domain::Tenant;
use openarchive_schema::{TenantScope, Transaction, begin};
use openarchive_telemetry::metrics;
use sqlx::{PgPool, postgres::PgListener};
use tracing::warn;
use uuid::Uuid;

/// Attempts before a job goes to the dead letters.
pub const ATTEMPTS_MAX: i32 = 8;

/// How long a claimed job belongs to its worker without a sign of life.
const LEASE_SECONDS: f64 = 60.0;
/// Longest wait between two attempts.
const RETRY_SECONDS_MAX: f64 = 300.0;
/// Longest error text kept with a job, in characters.
const ERROR_CHARS_MAX: usize = 500;

/// A claimed job.
#[derive(Debug, Clone)]
pub struct Job {
    pub job_id: i64,
    pub tenant: String,
    pub payload: serde_json::Value,
    pub attempts: i32,
    /// The trace of the request that made it (W3C Trace Context).
    pub traceparent: Option<String>,
}

/// The table `jobs.job`.
#[derive(Clone)]
pub struct Queue {
    pool: PgPool,
    owner: Uuid,
    retry_after: Duration,
}

impl Queue {
    pub fn new(pool: PgPool, retry_after: Duration) -> Self {
        Self { pool, owner: Uuid::new_v4(), retry_after }
    }

    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The queue serves every tenant: a worker takes what is due, whoever's it is.
    async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        begin(&self.pool, TenantScope::All).await
    }

    /// Claims up to `limit` due jobs of `kind`, among them jobs whose worker's lease ran out. Durable on return.
    pub async fn claim(&self, kind: &str, limit: i64) -> Result<Vec<Job>, sqlx::Error> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query!(
            r#"with due as (
                 select job_id from jobs.job
                 where kind = $1
                   and ((state = 'ready' and run_at <= now()) or (state = 'running' and lease_until < now()))
                 order by run_at, job_id
                 limit $2
                 for update skip locked)
               update jobs.job j
               set state = 'running', attempts = attempts + 1, lease_owner = $3,
                   lease_until = now() + make_interval(secs => $4)
               from due where j.job_id = due.job_id
               returning j.job_id, j.tenant, j.payload, j.attempts, j.traceparent"#,
            kind,
            limit,
            self.owner,
            LEASE_SECONDS
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(rows
            .into_iter()
            .map(|r| Job {
                job_id: r.job_id,
                tenant: r.tenant,
                payload: r.payload,
                attempts: r.attempts,
                traceparent: r.traceparent,
            })
            .collect())
    }

    /// Extends the lease of jobs still in hand.
    pub async fn heartbeat(&self, jobs: &[i64]) -> Result<(), sqlx::Error> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "update jobs.job set lease_until = now() + make_interval(secs => $3)
             where job_id = any($1) and lease_owner = $2 and state = 'running'",
            jobs,
            self.owner,
            LEASE_SECONDS
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Done jobs leave the table: the catalogue and the index are their record.
    pub async fn done(&self, jobs: &[i64]) -> Result<(), sqlx::Error> {
        let mut tx = self.begin().await?;
        sqlx::query!("delete from jobs.job where job_id = any($1) and lease_owner = $2", jobs, self.owner)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Inserts a job of the archive itself (`_`) that there is one of, unless it is there; then it is due no later than
    /// so. Answers its payload.
    pub(crate) async fn ensure_singleton(
        &self,
        kind: &str,
        payload: &serde_json::Value,
        due_in: Duration,
    ) -> Result<serde_json::Value, sqlx::Error> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "insert into jobs.job (kind, tenant, payload, unique_key, run_at)
             values ($1, '_', $2, $1, now() + make_interval(secs => $3)) on conflict do nothing",
            kind,
            payload,
            due_in.as_secs_f64()
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "update jobs.job set run_at = least(run_at, now() + make_interval(secs => $2))
             where kind = $1 and tenant = '_' and unique_key = $1 and state = 'ready'",
            kind,
            due_in.as_secs_f64()
        )
        .execute(&mut *tx)
        .await?;
        let row = sqlx::query!(
            "select payload from jobs.job where kind = $1 and tenant = '_' and unique_key = $1",
            kind
        )
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(row.payload)
    }

    /// Ends a job and makes it anew with another payload, due after a while: the next step of one that never ends. `false`
    /// if it is not this worker's any more; then nothing happened.
    pub(crate) async fn put_back(
        &self,
        job: &Job,
        payload: &serde_json::Value,
        due_in: Duration,
    ) -> Result<bool, sqlx::Error> {
        let mut tx = self.begin().await?;
        let ended = sqlx::query!(
            "delete from jobs.job where job_id = $1 and lease_owner = $2
             returning kind, tenant, unique_key",
            job.job_id,
            self.owner
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(ended) = ended else { return Ok(false) };
        sqlx::query!(
            "insert into jobs.job (kind, tenant, payload, unique_key, run_at)
             values ($1, $2, $3, $4, now() + make_interval(secs => $5))",
            ended.kind,
            ended.tenant,
            payload,
            ended.unique_key,
            due_in.as_secs_f64()
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Inserts a job, unless one with this key waits, runs, or is dead already.
    pub(crate) async fn insert_once(
        &self,
        kind: &str,
        tenant: &str,
        payload: &serde_json::Value,
        unique_key: &str,
    ) -> Result<(), sqlx::Error> {
        let mut tx = self.begin().await?;
        sqlx::query!(
            "insert into jobs.job (kind, tenant, payload, unique_key) values ($1, $2, $3, $4)
             on conflict do nothing",
            kind,
            tenant,
            payload,
            unique_key
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Puts a job back with a wait that doubles each time, or among the dead letters after [`ATTEMPTS_MAX`].
    pub async fn failed(&self, job: &Job, error: &str) -> Result<(), sqlx::Error> {
        if job.attempts >= ATTEMPTS_MAX {
            return self.dead(job, error).await;
        }
        self.put_off(job, error).await
    }

    /// Puts a job back with the same waits, however often it failed: one that nobody may give up.
    pub(crate) async fn put_off(&self, job: &Job, error: &str) -> Result<(), sqlx::Error> {
        let doubled = self.retry_after.as_secs_f64() * f64::from(1 << (job.attempts - 1).clamp(0, 16));
        let mut tx = self.begin().await?;
        sqlx::query!(
            "update jobs.job set state = 'ready', lease_owner = null, lease_until = null, last_error = $3,
               run_at = now() + make_interval(secs => $4)
             where job_id = $1 and lease_owner = $2",
            job.job_id,
            self.owner,
            cut(error),
            doubled.min(RETRY_SECONDS_MAX)
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Sets a job aside: nothing runs it again until a person says so.
    pub async fn dead(&self, job: &Job, error: &str) -> Result<(), sqlx::Error> {
        warn!(job_id = job.job_id, attempts = job.attempts, "a job goes to the dead letters");
        let mut tx = self.begin().await?;
        let kind = sqlx::query_scalar!(
            "update jobs.job set state = 'dead', lease_owner = null, lease_until = null, last_error = $3,
               finished_at = now()
             where job_id = $1 and lease_owner = $2 returning kind",
            job.job_id,
            self.owner,
            cut(error)
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        if let Some(kind) = kind {
            metrics::DEAD_LETTERS.inc([&kind]);
        }
        Ok(())
    }

    /// Counts the jobs of every tenant by kind and state, for the metrics.
    pub(crate) async fn show_counts(&self) -> Result<(), sqlx::Error> {
        let mut tx = self.begin().await?;
        let rows =
            sqlx::query!(r#"select kind, state, count(*) as "jobs!" from jobs.job group by kind, state"#)
                .fetch_all(&mut *tx)
                .await?;
        // What is counted no more is none.
        metrics::JOBS.clear();
        for row in rows {
            metrics::JOBS.set([&row.kind, &row.state], row.jobs as f64);
        }
        Ok(())
    }

    /// Makes a dead job ready. `false` when there is no such dead job.
    pub async fn retry(&self, tenant: &Tenant, job_id: i64) -> Result<bool, sqlx::Error> {
        let mut tx = begin(&self.pool, TenantScope::One(tenant)).await?;
        let result = sqlx::query!(
            "update jobs.job set state = 'ready', attempts = 0, run_at = now(), finished_at = null
             where job_id = $1 and tenant = $2 and state = 'dead'",
            job_id,
            tenant.as_str()
        )
        .execute(&mut *tx)
        .await?;
        let retried = result.rows_affected() == 1;
        if retried {
            sqlx::query!("select pg_notify('job', '')").execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(retried)
    }

    /// Hears `NOTIFY job`; where it cannot, the poll interval alone drives the queue.
    pub(crate) async fn listen(&self) -> Wake {
        let listener = async {
            let mut listener = PgListener::connect_with(&self.pool).await?;
            listener.listen("job").await?;
            Ok::<_, sqlx::Error>(listener)
        }
        .await;
        match listener {
            Ok(listener) => Wake(Some(listener)),
            Err(error) => {
                warn!(%error, "cannot listen for new jobs, polls instead");
                Wake(None)
            }
        }
    }
}

/// No more of an error text than is kept with a job.
pub(crate) fn cut(error: &str) -> String {
    error.chars().take(ERROR_CHARS_MAX).collect()
}

pub(crate) struct Wake(Option<PgListener>);

impl Wake {
    /// Hears nothing, and holds no connection: for work that is in no hurry, which each new mail would wake else.
    pub(crate) const fn by_time_alone() -> Self {
        Self(None)
    }

    /// Returns when a job was inserted, or after `at_most`.
    pub(crate) async fn wait(&mut self, at_most: Duration) {
        match &mut self.0 {
            Some(listener) => match tokio::time::timeout(at_most, listener.recv()).await {
                Ok(Err(sqlx::Error::PoolClosed)) => {
                    // A closing pool waits for this connection, which the listener would keep.
                    self.0 = None;
                    tokio::time::sleep(at_most).await;
                }
                // The listener reconnects by itself; do not spin meanwhile.
                Ok(Err(_)) => tokio::time::sleep(at_most).await,
                Ok(Ok(_)) | Err(_) => {}
            },
            None => tokio::time::sleep(at_most).await,
        }
    }
}
