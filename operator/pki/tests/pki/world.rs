//! A small archive: an operator that may die after any write, Secrets, and processes that read theirs some time later.

use std::collections::BTreeMap;

use openarchive_domain::{AgentRef, Digest, Timestamp};
use openarchive_operator_pki::{
    Action, Agents, AuthorityState, Certificate, Found, Identity, LeafSpec, Phase, Plan, SecretData,
    TLS_CERTIFICATE, TLS_KEY, Target, Transition, TrustDomain, Wanted, Written, carry_out, plan,
};
use openarchive_rpc::Role;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};

use crate::verifier::{Believed, Shown};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const DAY: i64 = 86_400_000;
/// Longest time until a process has read a changed Secret.
pub(crate) const LAG_MAX: i64 = 5 * MINUTE;
/// Far more writes than any pass needs.
const WRITES_MAX: usize = 100;
/// As trust does.
const AGENT_LIFE: i64 = 90 * DAY;

pub(crate) fn domain() -> TrustDomain {
    "archive.example".parse().unwrap()
}

pub(crate) fn dns_name(role: Role) -> String {
    format!("main-{}.archive.svc", role.name())
}

pub(crate) fn spec(role: Role) -> LeafSpec {
    let names =
        if role == Role::Operator { vec![] } else { vec![dns_name(role), format!("main-{}", role.name())] };
    LeafSpec::new(role.name(), Identity::Service(role), names).unwrap()
}

/// Numbers that are all different, and the same in every run.
pub(crate) struct Serials(u64);

impl Serials {
    pub(crate) fn new() -> Self {
        Self(0)
    }

    pub(crate) fn next(&mut self) -> [u8; 16] {
        self.0 += 1;
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.0.to_be_bytes());
        bytes
    }
}

pub(crate) fn after(time: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis() + millis)
}

/// Anything that damages a Secret so that no process would use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    Deleted,
    NoKey,
    HalfACertificate,
    ForeignKey,
}

struct Process {
    role: Role,
    shown: Shown,
    believed: Believed,
    /// When it reads its Secret next, if that has changed.
    reads_at: Option<Timestamp>,
}

struct Agent {
    shown: Shown,
    renews_at: Timestamp,
}

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) specs: Vec<LeafSpec>,
    pub(crate) authority: Option<SecretData>,
    pub(crate) found: Found,
    pub(crate) request: Option<String>,
    pub(crate) transitions: Vec<Transition>,
    serials: Serials,
    processes: BTreeMap<String, Process>,
    /// Until which time each further process has read a Secret that is written now.
    pub(crate) lag: i64,
    /// The intermediate that trust has loaded, and since when.
    trust: Option<(SecretData, Timestamp)>,
    agent: Option<Agent>,
    /// Whom the agent outside believes; a person brings it a new file after each whole exchange.
    outside: Option<Believed>,
}

impl World {
    pub(crate) fn new(roles: &[Role]) -> Self {
        Self {
            now: START,
            specs: roles.iter().map(|role| spec(*role)).collect(),
            authority: None,
            found: Found::default(),
            request: None,
            transitions: Vec::new(),
            serials: Serials::new(),
            processes: BTreeMap::new(),
            lag: LAG_MAX,
            trust: None,
            agent: None,
            outside: None,
        }
    }

    /// Everything issued and read, an agent enrolled.
    pub(crate) fn started(roles: &[Role]) -> Self {
        let mut world = Self::new(roles);
        world.pass(WRITES_MAX);
        world.outside = Some(Believed::of_pem(world.state().bundle().as_bytes()));
        world.restart_trust();
        world.enrol();
        world.check();
        world
    }

    pub(crate) fn state(&self) -> AuthorityState {
        AuthorityState::load(self.authority.as_ref(), &self.found).unwrap().unwrap()
    }

    pub(crate) fn plan(&self) -> Plan {
        let domain = domain();
        plan(self.now, &self.state(), &self.wanted(&domain), &self.found)
    }

    pub(crate) fn wanted<'a>(&'a self, domain: &'a TrustDomain) -> Wanted<'a> {
        let loaded = self.trust.as_ref().map(|(secret, since)| (fingerprint(secret), *since));
        let agents = match &self.agent {
            None => Agents::None,
            Some(_) => Agents::Enrolled { trust_signs_with: loaded },
        };
        Wanted { domain, leaves: &self.specs, agents, request: self.request.as_deref() }
    }

    /// Ends when nothing is left to do.
    pub(crate) fn whole_pass(&mut self) {
        self.pass(WRITES_MAX);
    }

    /// One pass of the operator, which dies after so many writes.
    pub(crate) fn pass(&mut self, writes_max: usize) {
        let mut writes = 0;
        if self.authority.is_none() {
            if writes_max == 0 {
                return;
            }
            let (request, now) = (self.request.clone(), self.now);
            let mut random = || self.serials.next();
            let first = AuthorityState::create(&domain(), request.as_deref(), now, &mut random).unwrap();
            self.store_authority(&first);
            writes += 1;
        }
        loop {
            let actions = self.plan().actions;
            if actions.is_empty() {
                return;
            }
            assert!(writes < WRITES_MAX, "the operator comes to no end: {actions:?}");
            for action in actions {
                if writes == writes_max {
                    return;
                }
                self.write(&action);
                writes += 1;
            }
        }
    }

    fn write(&mut self, action: &Action) {
        let state = self.state();
        let domain = domain();
        let mut serials = std::mem::replace(&mut self.serials, Serials::new());
        let mut random = || serials.next();
        let written = carry_out(action, &state, &self.wanted(&domain), &self.found, self.now, &mut random);
        self.serials = serials;
        match written.unwrap() {
            Written::Authority(after) => {
                let Action::Authority(transition) = action else {
                    panic!("{action:?} changes the authority")
                };
                self.transitions.push(*transition);
                self.store_authority(&after);
                if *transition == Transition::Finish {
                    self.outside = Some(Believed::of_pem(after.bundle().as_bytes()));
                }
            }
            Written::Secret { target: Target::AgentsCa, data } => self.found.agents_ca = Some(data),
            Written::Secret { target: Target::Leaf(name), data } => self.store_leaf(&name, data),
        }
    }

    fn store_authority(&mut self, state: &AuthorityState) {
        let data = state.to_secret_data();
        assert_eq!(&AuthorityState::of_secret_data(&data).unwrap(), state);
        self.authority = Some(data);
    }

    fn store_leaf(&mut self, name: &str, data: SecretData) {
        if let Some(process) = self.processes.get_mut(name) {
            process.reads_at.get_or_insert(after(self.now, self.lag));
        } else {
            let role = Role::of_name(name).unwrap();
            let (shown, believed) = (Shown::of_secret(&data), Believed::of_secret(&data));
            self.processes.insert(name.to_owned(), Process { role, shown, believed, reads_at: None });
        }
        self.found.leaves.insert(name.to_owned(), data);
    }

    pub(crate) fn damage(&mut self, name: &str, damage: Damage) {
        let Some(secret) = self.found.leaves.get_mut(name) else { return };
        match damage {
            Damage::Deleted => drop(self.found.leaves.remove(name)),
            Damage::NoKey => drop(secret.remove(TLS_KEY)),
            Damage::HalfACertificate => {
                let certificate = secret.get_mut(TLS_CERTIFICATE).unwrap();
                certificate.truncate(certificate.len() / 3);
            }
            Damage::ForeignKey => {
                let key = KeyPair::generate().unwrap().serialize_pem();
                secret.insert(TLS_KEY.to_owned(), key.into_bytes());
            }
        }
        if let Some(process) = self.processes.get_mut(name) {
            process.reads_at.get_or_insert(after(self.now, self.lag));
        }
    }

    /// Time goes on; who has something to read reads it when it is due, and after each reading everybody calls everybody.
    pub(crate) fn advance(&mut self, millis: i64) {
        let end = after(self.now, millis);
        loop {
            let due = self.processes.values().filter_map(|process| process.reads_at).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = due;
            self.read_what_is_due();
            self.check();
        }
        self.now = end;
        self.agent_renews();
        self.check();
    }

    /// The same where nobody can let anybody in.
    pub(crate) fn advance_unchecked(&mut self, millis: i64) {
        self.now = after(self.now, millis);
        self.read_what_is_due();
    }

    /// Those that were away longer than their certificates lived: they enrol again.
    pub(crate) fn forget_agents(&mut self) {
        (self.agent, self.outside) = (None, None);
    }

    fn read_what_is_due(&mut self) {
        for (name, process) in &mut self.processes {
            if process.reads_at.is_none_or(|at| at > self.now) {
                continue;
            }
            process.reads_at = None;
            // As the services do: files that do not go together change nothing.
            let usable = |secret: &&SecretData| {
                let chain = secret.get(TLS_CERTIFICATE).and_then(|pem| Certificate::chain_of_pem(pem).ok());
                let key = secret.get(TLS_KEY).and_then(|key| std::str::from_utf8(key).ok());
                let key = key.and_then(|key| KeyPair::from_pem(key).ok());
                chain.is_some() && key.is_some_and(|key| goes_with(&key, secret))
            };
            if let Some(secret) = self.found.leaves.get(name).filter(usable) {
                process.shown = Shown::of_secret(secret);
                process.believed = Believed::of_secret(secret);
            }
        }
    }

    /// Trust signs with what is in its Secret.
    pub(crate) fn restart_trust(&mut self) {
        let Some(secret) = self.found.agents_ca.clone() else { return };
        if self.trust.as_ref().is_none_or(|(loaded, _)| *loaded != secret) {
            self.trust = Some((secret, self.now));
        }
    }

    fn agent_renews(&mut self) {
        if self.agent.as_ref().is_some_and(|agent| self.now >= agent.renews_at) {
            self.enrol();
        }
    }

    /// An agent's certificate as trust signs it, with the intermediate that trust has loaded.
    fn enrol(&mut self) {
        let (secret, _) = self.trust.as_ref().unwrap();
        let chain = agent_chain(secret, self.now);
        let shown = Shown::of_pem(chain.as_bytes());
        self.agent = Some(Agent { shown, renews_at: after(self.now, AGENT_LIFE / 3 * 2) });
    }

    /// Everybody lets everybody in, in both directions: the services without the word of an earlier authority behind their
    /// leaves, which is there for who stands outside.
    pub(crate) fn check(&self) {
        let context = || format!("at {}, {}: {:?}", self.now, self.state().phase(), self.transitions);
        for client in self.processes.values() {
            for server in self.processes.values().filter(|server| server.role != Role::Operator) {
                let (from, to) = (client.role.name(), server.role.name());
                let name = dns_name(server.role);
                let seen = client.believed.server(&server.shown.alone(), &name, self.now);
                assert!(seen.is_ok(), "{from} does not believe {to}: {seen:?} {}", context());
                let seen = server.believed.client(&client.shown.alone(), self.now);
                assert!(seen.is_ok(), "{to} does not let {from} in: {seen:?} {}", context());
            }
        }
        let Some(ingest) = self.processes.get("ingest") else { return };
        if let Some(agent) = &self.agent {
            let seen = ingest.believed.client(&agent.shown, self.now);
            assert!(seen.is_ok(), "ingest does not let the agent in: {seen:?} {}", context());
        }
        if let Some(outside) = &self.outside {
            let seen = outside.server(&ingest.shown, &dns_name(Role::Ingest), self.now);
            assert!(seen.is_ok(), "the agent outside does not believe ingest: {seen:?} {}", context());
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state().phase()
    }
}

pub(crate) fn fingerprint(secret: &SecretData) -> Digest {
    Certificate::chain_of_pem(&secret[TLS_CERTIFICATE]).unwrap()[0].fingerprint()
}

fn goes_with(key: &KeyPair, secret: &SecretData) -> bool {
    use rcgen::PublicKeyData as _;
    let own = Shown::of_secret(secret).first();
    let (_, certificate) = x509_parser::parse_x509_certificate(&own).unwrap();
    certificate.public_key().raw == key.subject_public_key_info()
}

pub(crate) fn agent_chain(agents_ca: &SecretData, now: Timestamp) -> String {
    let text = |key: &str| String::from_utf8(agents_ca[key].clone()).unwrap();
    let (certificate, key) = (text(TLS_CERTIFICATE), KeyPair::from_pem(&text(TLS_KEY)).unwrap());
    let issuer = Issuer::from_ca_cert_pem(&certificate, key).unwrap();
    let agent: AgentRef = "acme/mx1".parse().unwrap();
    let mut params = CertificateParams::default();
    let uri = format!("spiffe://{}/tenant/{}/edge/{}", domain(), agent.tenant, agent.name);
    params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let second = |millis: i64| std::time::Duration::from_millis(millis.cast_unsigned());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + second(now.as_millis());
    params.not_after = epoch + second(now.as_millis() + AGENT_LIFE);
    params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().pem() + &certificate
}
