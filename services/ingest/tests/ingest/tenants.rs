//! Two tenants at work in one archive: neither finds anything of the other, by any call, and each service's login role
//! sees in a tenant's scope that tenant's rows and no others.

use std::collections::{BTreeMap, BTreeSet};

use openarchive_domain::{Digest, Tenant};
use openarchive_proto::ingest::v1::{
    CompletenessRequest, GetMessageRequest, GetProofRequest, ListAgentsRequest, ListMessagesRequest,
    OpenMessageRequest,
};
use openarchive_schema::{DatabaseRole, TenantScope, begin};
use sqlx::{AssertSqlSafe, PgPool};
use tonic::Code;

use crate::{
    agent::{Agent, Mail, noise, receipt},
    archive::{Archive, everything, origin_of},
};

/// Steps of one run.
const STEPS: usize = 60;

/// Which role sees which rows, and how the tenant of a row is found: written out by hand.
const TABLES: &[(DatabaseRole, &str, &str)] = &[
    (DatabaseRole::Ingest, "ingest.message", "tenant"),
    (DatabaseRole::Ingest, "ingest.message_part", "tenant"),
    (DatabaseRole::Ingest, "ingest.participant", "tenant"),
    (DatabaseRole::Ingest, "ingest.observation", "tenant"),
    (DatabaseRole::Ingest, "ingest.agent", "tenant"),
    (DatabaseRole::Storage, "storage.pack", "tenant"),
    (DatabaseRole::Storage, "storage.pack_entry", "tenant"),
    (DatabaseRole::Trust, "trust.log", "tenant"),
    (DatabaseRole::Trust, "trust.wrapping_key", "tenant"),
    (DatabaseRole::Trust, "trust.leaf", "(select l.tenant from trust.log l where l.log_id = r.log_id)"),
    (DatabaseRole::Trust, "trust.node", "(select l.tenant from trust.log l where l.log_id = r.log_id)"),
    (DatabaseRole::Trust, "trust.checkpoint", "(select l.tenant from trust.log l where l.log_id = r.log_id)"),
    (DatabaseRole::Worker, "jobs.job", "tenant"),
];

/// xorshift64*, so that a seed is a run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }
}

/// What a tenant did, and so what it must find.
struct Side {
    tenant: Tenant,
    agents: Vec<(Agent, Vec<usize>)>,
}

impl Side {
    fn new(archive: &Archive, name: &str) -> Self {
        // Both tenants' agents have the same names and instances: only the tenant tells them apart.
        let agents = ["mx1", "mx2"].map(|agent| (archive.agent(&format!("{name}/{agent}")), Vec::new()));
        Self { tenant: name.parse().unwrap(), agents: agents.into() }
    }

    fn mails(&self) -> BTreeSet<usize> {
        self.agents.iter().flat_map(|(_, mails)| mails.iter().copied()).collect()
    }

    /// Offers, uploads what is missing, commits: a receipt for the next number of one of its agents.
    async fn archive(&mut self, agent: usize, mail: usize, mails: &[Mail]) {
        let (agent, seats) = &mut self.agents[agent];
        let seq = seats.len() as u64 + 1;
        let offered = agent.offers(vec![mails[mail].offer(agent.seat(seq))]).await.unwrap().remove(0);
        if offered.skeleton_missing || !offered.missing_parts.is_empty() {
            agent.upload(&mails[mail].blobs()).await.unwrap();
        }
        let results = agent.commit(&[(seq, &mails[mail])]).await.unwrap();
        receipt(&results[0]);
        seats.push(mail);
    }

    async fn report(&self, agent: usize) {
        let (agent, seats) = &self.agents[agent];
        let status = agent.report(0).await.unwrap();
        assert_eq!(
            status.highest_seq,
            seats.len() as u64,
            "what the other tenant counted is not counted here"
        );
        assert_eq!(status.origin, origin_of(self.tenant.as_str()));
    }

    /// Asks for a mail by every call that names one. It is there if this tenant archived it, whatever the other did.
    async fn look_for(&self, archive: &Archive, number: usize, mails: &[Mail]) {
        let (mail, is_there) = (&mails[number], self.mails().contains(&number));
        let mut catalogue = archive.catalogue.clone();
        let (scope, tenant) = (Some(everything()), self.tenant.to_string());
        let message: bytes::Bytes = mail.key().to_vec().into();
        let check = |code: Result<(), Code>| {
            assert_eq!(code, if is_there { Ok(()) } else { Err(Code::NotFound) }, "{tenant}");
        };
        let get = GetMessageRequest { scope, tenant: tenant.clone(), message: message.clone() };
        let got = catalogue.get_message(get).await;
        if let Ok(got) = &got {
            let own = self.agents.iter().flat_map(|(_, seats)| seats).filter(|seat| **seat == number).count();
            assert_eq!(got.get_ref().observations.len(), own, "{tenant}");
        }
        check(got.map(drop).map_err(|status| status.code()));
        let open = OpenMessageRequest { scope, tenant: tenant.clone(), message: message.clone() };
        check(catalogue.open_message(open).await.map(drop).map_err(|status| status.code()));
        let prove = GetProofRequest { scope, tenant: tenant.clone(), message, observation: None };
        check(catalogue.get_proof(prove).await.map(drop).map_err(|status| status.code()));
    }

    async fn check_lists(&self, archive: &Archive, mails: &[Mail]) {
        let mut catalogue = archive.catalogue.clone();
        let tenant = self.tenant.to_string();
        let list = ListMessagesRequest {
            scope: Some(everything()),
            tenant: tenant.clone(),
            after_ordinal: 0,
            limit: 0,
        };
        let listed = archive.catalogue_for_worker().list_messages(list).await.unwrap().into_inner().messages;
        let listed: BTreeSet<Digest> =
            listed.iter().map(|message| message.message.as_ref().try_into().unwrap()).collect();
        let expected: BTreeSet<Digest> = self.mails().iter().map(|mail| mails[*mail].digest()).collect();
        assert_eq!(listed, expected, "{tenant}");

        let counted: BTreeMap<String, u64> = self
            .agents
            .iter()
            .map(|(agent, mails)| (agent.reference.name.to_string(), mails.len() as u64))
            .filter(|(_, count)| *count > 0)
            .collect();
        let request =
            CompletenessRequest { tenant: tenant.clone(), agent: String::new(), day: String::new() };
        let rows = catalogue.completeness(request).await.unwrap().into_inner().rows;
        let rows = rows.into_iter().map(|row| (row.agent, row.stored + row.duplicate));
        assert_eq!(rows.filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>(), counted, "{tenant}");
        let request = ListAgentsRequest { tenant, agent: String::new() };
        let agents = catalogue.list_agents(request).await.unwrap().into_inner().agents;
        let agents = agents.into_iter().map(|agent| (agent.agent, agent.highest_seq));
        assert_eq!(agents.filter(|(_, highest)| *highest > 0).collect::<BTreeMap<_, _>>(), counted);
    }
}

async fn rows(pool: &PgPool, scope: TenantScope<'_>, table: &str) -> BTreeSet<String> {
    let mut tx = begin(pool, scope).await.unwrap();
    let sql = format!("select r::text from {table} r");
    let rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_all(&mut *tx).await.unwrap();
    rows.into_iter().collect()
}

async fn check_rows(archive: &Archive, sides: &[Side; 2]) {
    for (role, table, tenant_of) in TABLES {
        let pool = archive.pool_of(*role);
        let mut together = BTreeSet::new();
        for side in sides {
            let sql = format!("select r::text from {table} r where {tenant_of} = '{}'", side.tenant);
            let own = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch_all(&archive.pool).await;
            let own: BTreeSet<String> = own.unwrap().into_iter().collect();
            assert!(!own.is_empty(), "{table}: there is nothing to keep apart");
            assert_eq!(rows(&pool, TenantScope::One(&side.tenant), table).await, own, "{role} {table}");
            together.extend(own);
        }
        assert_eq!(rows(&pool, TenantScope::All, table).await, together, "{role} {table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_that_do_random_work_find_nothing_of_each_other() {
    for seed in [1, 2, 3] {
        let archive = Archive::start().await;
        let mut random = Random(seed);
        // The same mails for both, some of which share an attachment: what is shared is the content alone.
        let attachment = noise(seed, 40_000);
        let mails: Vec<Mail> = (0..10)
            .map(|number| match number % 2 {
                0 => Mail::plain(number),
                _ => Mail::with_attachment(number, &attachment),
            })
            .collect();
        let mut sides = [Side::new(&archive, "acme"), Side::new(&archive, "other")];
        for side in &mut sides {
            // So that no table is empty at the end.
            side.archive(0, 1, &mails).await;
        }
        for _ in 0..STEPS {
            let (side, agent, mail) = (random.below(2), random.below(2), random.below(mails.len()));
            match random.below(6) {
                0..3 => sides[side].archive(agent, mail, &mails).await,
                3 => sides[side].report(agent).await,
                4 => sides[side].look_for(&archive, mail, &mails).await,
                _ => sides[side].check_lists(&archive, &mails).await,
            }
        }
        archive.all_leaves().await;
        for side in &sides {
            side.report(0).await;
            side.check_lists(&archive, &mails).await;
            for number in 0..mails.len() {
                side.look_for(&archive, number, &mails).await;
            }
        }
        check_rows(&archive, &sides).await;
    }
}
