use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use openarchive_domain::{Digest, Timestamp};
use openarchive_ledger::{
    leaf::{FirstLeaf, TrustMode},
    tree::HashReader as _,
};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::Instant;

use super::{
    AppendError, Entry, GroupError, LeafRows, LogRefusal, Request, StoredLeaf, plan::LogPlan,
    sequencer_lock_key, write_group,
};
use crate::{
    frontier::Frontier,
    heads,
    log_rows::{self, LogRow, RowDamage, RowsError},
    log_state::LogName,
    shared::{CLOCK_DIFFERENCE_MAX, Shared},
};

/// The time in which this process is the archive's sequencer: a connection of its own that holds the advisory lock.
/// The lock ends with the connection, and so does the session with any error: the next one reads everything anew.
pub(super) struct Session {
    shared: Arc<Shared>,
    connection: PgConnection,
    open: BTreeMap<LogName, OpenLog>,
}

/// The end of a log, in memory.
struct OpenLog {
    row: LogRow,
    frontier: Frontier,
}

type Answers = Vec<(Request, Result<Vec<StoredLeaf>, AppendError>)>;

impl Session {
    /// `None` if another process holds the lock.
    pub(super) async fn begin(shared: &Arc<Shared>) -> Result<Option<Self>, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&shared.pool.connect_options()).await?;
        // Whatever the server's default: an answered append is durable. Plans are for single rows by key, also while
        // the tables are still small and their statistics old. A group holds leaves of many tenants, and is one statement.
        sqlx::query!(
            "select set_config('synchronous_commit',
                      case current_setting('synchronous_commit') when 'off' then 'on'
                      else current_setting('synchronous_commit') end, false) as durability,
                    set_config('enable_seqscan', 'off', false) as plans,
                    set_config('openarchive.tenant', '*', false) as tenants"
        )
        .fetch_one(&mut connection)
        .await?;
        let key = sequencer_lock_key(&shared.domain, &shared.archive);
        let lock = sqlx::query!(r#"select pg_try_advisory_lock($1) as "held!""#, key)
            .fetch_one(&mut connection)
            .await?;
        if !lock.held {
            connection.close().await?;
            return Ok(None);
        }
        let mut session = Self { shared: shared.clone(), connection, open: BTreeMap::new() };
        session.meet_logs().await?;
        Ok(Some(session))
    }

    /// Tells publisher and readers of every log that is there, and since when it waits for a checkpoint.
    async fn meet_logs(&mut self) -> Result<(), sqlx::Error> {
        let rows = sqlx::query!(
            r#"select l.tenant, l.stream, l.next_index, coalesce(c.size, 0) as "published!",
                      greatest(0, (extract(epoch from clock_timestamp()) * 1000)::bigint - f.recorded_at)
                        as waiting_millis
               from (select distinct on (tenant, stream) log_id, tenant, stream, next_index
                     from trust.log order by tenant, stream, epoch desc) l
               left join lateral (select size from trust.checkpoint
                                  where log_id = l.log_id order by ordinal desc limit 1) c on true
               left join trust.leaf f on f.log_id = l.log_id and f.leaf_index = coalesce(c.size, 0)"#
        )
        .fetch_all(&mut self.connection)
        .await?;
        for row in rows {
            let Ok(name) = LogName::parse(&row.tenant, &row.stream) else {
                tracing::error!(
                    tenant = row.tenant,
                    stream = row.stream,
                    "passes over a log that has no name"
                );
                continue;
            };
            let state = self.shared.logs.of(&name);
            state.covered(row.published.cast_unsigned());
            let waiting = Duration::from_millis(row.waiting_millis.unwrap_or(0).cast_unsigned());
            let now = Instant::now();
            state.grew(row.next_index.cast_unsigned(), now.checked_sub(waiting).unwrap_or(now));
        }
        Ok(())
    }

    /// Makes sure that the connection, and with it the lock, is still there.
    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        let row =
            sqlx::query!(r#"select (extract(epoch from clock_timestamp()) * 1000)::bigint as "millis!""#)
                .fetch_one(&mut self.connection)
                .await?;
        self.note_clocks(Timestamp::from_millis(row.millis));
        Ok(())
    }

    /// Gives the lock back.
    pub(super) async fn end(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the sequencer's connection ends untidily");
        }
    }

    /// Appends a group and answers its callers. An error ends the session; every caller has an answer even then.
    pub(super) async fn append(&mut self, group: Vec<Request>) -> Result<(), String> {
        let (ready, mut answers) = self.open_logs(group).await;
        let result = self.append_open(ready, &mut answers).await;
        for (request, answer) in answers {
            // Fails only if the caller is gone.
            let _ = request.answer.send(answer);
        }
        result.map_err(|error| error.to_string())
    }

    /// Opens what is not open yet. Requests for logs that cannot be opened are answered with the reason.
    async fn open_logs(&mut self, group: Vec<Request>) -> (Vec<Request>, Answers) {
        let names: BTreeSet<LogName> = group.iter().map(|request| request.log.clone()).collect();
        let mut refused = BTreeMap::new();
        for name in names {
            if self.open.contains_key(&name) {
                continue;
            }
            match self.open_log(&name).await {
                Ok(log) => {
                    self.open.insert(name, log);
                }
                Err(error) => {
                    tracing::error!(log = %name, %error, "cannot open a log");
                    refused.insert(name, error);
                }
            }
        }
        let mut ready = Vec::with_capacity(group.len());
        let mut answers = Vec::new();
        for request in group {
            match refused.get(&request.log) {
                Some(error) => answers.push((request, Err(error.clone()))),
                None => ready.push(request),
            }
        }
        (ready, answers)
    }

    /// Registers the log if it is new, and refuses one that was set back behind what was signed.
    async fn open_log(&mut self, name: &LogName) -> Result<OpenLog, AppendError> {
        let row = match current_log(&self.shared, name).await? {
            Some(row) => row,
            None => self.register(name).await?,
        };
        let log = row.log().clone();
        if row.verifier_key != self.shared.keys.verifier(&row.origin).to_string() {
            return Err(LogRefusal::ForeignKey { log: log.to_string() }.into());
        }
        let checkpoint = log_rows::latest_checkpoint(&self.shared.pool, &row).await.map_err(from_rows)?;
        let ordinal = checkpoint.as_ref().map(|checkpoint| checkpoint.ordinal);
        let head = heads::latest(&self.shared.objects, &log, ordinal).await?;
        let signed = checkpoint.map(|checkpoint| checkpoint.size).max(head.map(|(_, head)| head.size));
        if let Some(signed) = signed.filter(|signed| *signed > row.size) {
            return Err(LogRefusal::Rewound { log: log.to_string(), signed, rows: row.size }.into());
        }
        let frontier = frontier_of(&self.shared.pool, &row).await.map_err(from_rows)?;
        Ok(OpenLog { row, frontier })
    }

    async fn register(&mut self, name: &LogName) -> Result<LogRow, AppendError> {
        let log = name.at_epoch(crate::FIRST_LOG_EPOCH);
        let origin = self.shared.origin(log);
        let verifier_key = self.shared.keys.verifier(&origin).to_string();
        let row = sqlx::query!(
            "insert into trust.log (tenant, stream, epoch, origin, verifier_key) values ($1, $2, $3, $4, $5)
             returning log_id",
            name.owner().as_str(),
            name.stream(),
            crate::FIRST_LOG_EPOCH as i32,
            origin.to_string(),
            verifier_key,
        )
        .fetch_one(&mut self.connection)
        .await?;
        tracing::info!(%origin, "opens a log");
        Ok(LogRow { log_id: row.log_id, origin, verifier_key, size: 0, last_time: Timestamp::from_millis(0) })
    }

    /// Plans, writes, and only then believes. Pushes an answer for every request, whatever happens.
    async fn append_open(&mut self, ready: Vec<Request>, answers: &mut Answers) -> Result<(), AppendError> {
        let (now, mut standing) = match self.look_up(&ready).await {
            Ok(found) => found,
            Err(error) => return refuse_all(ready, answers, &error.into(), true),
        };
        let difference_millis = self.note_clocks(now);
        if Duration::from_millis(difference_millis.unsigned_abs()) > CLOCK_DIFFERENCE_MAX {
            let error = AppendError::ClocksDiffer { seconds: difference_millis / 1000 };
            return refuse_all(ready, answers, &error, false);
        }
        let mut plans: BTreeMap<LogName, LogPlan> = BTreeMap::new();
        let mut planned = Vec::new();
        for mut request in ready {
            let log = &self.open[&request.log];
            let plan = plans.entry(request.log.clone()).or_insert_with(|| {
                let standing = standing.remove(&log.row.log_id).unwrap_or_default();
                LogPlan::new(log.row.size, log.row.last_time.max(now), standing)
            });
            let first =
                if log.row.size == 0 { plan.accept(vec![self.first_leaf(log)]).map(|_| ()) } else { Ok(()) };
            let entries = std::mem::take(&mut request.entries);
            match first.and_then(|()| plan.accept(entries)) {
                Ok(leaves) => planned.push((request, leaves)),
                Err(error) => answers.push((request, Err(error))),
            }
        }
        match self.write(plans, now).await {
            Ok(()) => {
                answers.extend(planned.into_iter().map(|(request, leaves)| (request, Ok(leaves))));
                Ok(())
            }
            Err(error) => {
                let requests = planned.into_iter().map(|(request, _)| request).collect();
                refuse_all(requests, answers, &error, true)
            }
        }
    }

    /// What every log says of itself before anything else.
    fn first_leaf(&self, log: &OpenLog) -> Entry {
        let leaf = FirstLeaf {
            origin: log.row.origin.clone(),
            trust_mode: TrustMode::NonQualified,
            log_key: self.shared.keys.verifier(&log.row.origin),
            seal_certificate: None,
        };
        Entry { key: leaf.idempotency_key(), expected_previous: None, body: leaf.body() }
    }

    /// The database's time, and the leaves that already stand under the group's keys, by log.
    async fn look_up(
        &mut self,
        group: &[Request],
    ) -> Result<(Timestamp, BTreeMap<i64, BTreeMap<Digest, StoredLeaf>>), sqlx::Error> {
        let (mut log_ids, mut keys) = (Vec::new(), Vec::new());
        for request in group {
            let log_id = self.open[&request.log].row.log_id;
            for entry in &request.entries {
                log_ids.push(log_id);
                keys.push(entry.key.as_bytes().to_vec());
            }
        }
        // `offset 0` keeps it a lookup by index for each key, whatever the statistics say.
        let rows = sqlx::query!(
            r#"select (extract(epoch from clock_timestamp()) * 1000)::bigint as "now!",
                      found.log_id as "log_id?", found.leaf_index as "leaf_index?",
                      found.idempotency_key as "idempotency_key?", found.body as "body?"
               from (select 1) as once
               left join (
                 select l.log_id, l.leaf_index, l.idempotency_key, l.body
                 from unnest($1::bigint[], $2::bytea[]) as wanted (log_id, idempotency_key)
                 cross join lateral (
                   select log_id, leaf_index, idempotency_key, body from trust.leaf
                   where log_id = wanted.log_id and idempotency_key = wanted.idempotency_key offset 0
                 ) l
               ) found on true"#,
            &log_ids,
            &keys,
        )
        .fetch_all(&mut self.connection)
        .await?;
        let now = rows.iter().map(|row| row.now).max().unwrap_or_default();
        let mut standing: BTreeMap<i64, BTreeMap<Digest, StoredLeaf>> = BTreeMap::new();
        for row in rows {
            if let (Some(log_id), Some(index), Some(key), Some(body)) =
                (row.log_id, row.leaf_index, row.idempotency_key, row.body)
                && let Ok(key) = Digest::try_from(key.as_slice())
            {
                let leaf = StoredLeaf { index: index.cast_unsigned(), body };
                standing.entry(log_id).or_default().insert(key, leaf);
            }
        }
        Ok((Timestamp::from_millis(now), standing))
    }

    async fn write(&mut self, plans: BTreeMap<LogName, LogPlan>, now: Timestamp) -> Result<(), AppendError> {
        let mut rows = LeafRows::default();
        let mut grown = Vec::new();
        for (name, plan) in plans {
            let log = &self.open[&name];
            let new = plan.into_new();
            if new.is_empty() {
                continue;
            }
            let time = log.row.last_time.max(now);
            let mut frontier = log.frontier.clone();
            openarchive_telemetry::metrics::LEDGER_APPENDS.add([&name.to_string()], new.len() as u64);
            rows.add_log(log.row.log_id, &mut frontier, new.into_iter().map(|leaf| (leaf, time)));
            grown.push((name, frontier, time));
        }
        if rows.is_empty() {
            return Ok(());
        }
        write_group(&mut self.connection, &rows).await.map_err(|error| match error {
            GroupError::Fenced => AppendError::Fenced,
            GroupError::Database(error) => error.into(),
        })?;
        for (name, frontier, time) in grown {
            self.shared.logs.of(&name).grew(frontier.size(), Instant::now());
            if let Some(log) = self.open.get_mut(&name) {
                log.row.size = frontier.size();
                log.row.last_time = time;
                log.frontier = frontier;
            }
        }
        Ok(())
    }

    /// Remembers how far this machine's clock is ahead of the database's, in milliseconds.
    fn note_clocks(&self, database: Timestamp) -> i64 {
        let millis = self.shared.clock.now().as_millis() - database.as_millis();
        self.shared.clock_difference_millis.store(millis, Ordering::Relaxed);
        millis
    }
}

/// Answers every request with `error`; an error itself if the session must end.
fn refuse_all(
    requests: Vec<Request>,
    answers: &mut Answers,
    error: &AppendError,
    ends: bool,
) -> Result<(), AppendError> {
    answers.extend(requests.into_iter().map(|request| (request, Err(error.clone()))));
    if ends { Err(error.clone()) } else { Ok(()) }
}

async fn current_log(shared: &Shared, name: &LogName) -> Result<Option<LogRow>, AppendError> {
    log_rows::current_log(&shared.pool, name).await.map_err(from_rows)
}

/// The end of a log, from its rows.
pub(crate) async fn frontier_of(pool: &PgPool, row: &LogRow) -> Result<Frontier, RowsError> {
    let nodes = log_rows::nodes(pool, row, Frontier::nodes(row.size)).await?;
    let peaks: Result<Vec<_>, RowDamage> =
        Frontier::nodes(row.size).into_iter().map(|node| nodes.hash(node)).collect();
    let what = "its complete subtrees do not make up its size";
    let damage = || RowDamage { log: row.log().to_string(), what };
    Ok(Frontier::load(row.size, peaks?).ok_or_else(damage)?)
}

fn from_rows(error: RowsError) -> AppendError {
    match error {
        RowsError::Database(error) => error.into(),
        RowsError::Damage(damage) => LogRefusal::Damage(damage).into(),
    }
}
