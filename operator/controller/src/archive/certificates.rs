//! Certificates of an archive: read what stands, issue what is missing or old, exchange the authority in its three steps.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use openarchive_domain::{Digest, Timestamp};
use openarchive_operator_api::{CertificateStatus, FIELD_MANAGER};
use openarchive_operator_pki::{
    Action, Agents, AuthorityState, Found, Identity, LeafSpec, Plan, SecretData, Target, TrustDomain,
    Waiting, Wanted, Written, carry_out, plan, report,
};
use openarchive_topology::Role;

use super::{
    ValidArchive,
    build::{ALL, Names},
    validate::{START_ORDER, Shape},
};
use crate::{Context, Halt, Reason, agents::listener_certificate, objects::named};

/// The authority is exchanged in four writes, and one that ended in mid-exchange in a few more; beyond that something else
/// writes, too.
const AUTHORITY_WRITES_MAX: usize = 8;
/// Name of the leaf with which the operator calls the archive's services.
pub(crate) const OPERATOR: &str = "operator";
/// Component of the Secret of the agents' intermediate.
pub(crate) const AGENTS_CA: &str = "agents-ca";
const AUTHORITY: &str = "ca";

/// What stands at the end of the step.
pub(crate) struct Certificates {
    /// As they are to stand. None has an owner: certificates are replaced, keys of authorities never made again.
    pub secrets: Vec<Secret>,
    pub reports: Vec<CertificateStatus>,
    /// SHA-256 of the agents' intermediate, as digests are written.
    pub agents_ca_fingerprint: String,
    /// Data of the operator's own leaf.
    pub operator: SecretData,
    /// An exchange of the authority waits for this.
    pub waiting: Option<String>,
    pub look_again_at: Timestamp,
}

/// What the plan must know of what runs.
pub(crate) struct Running {
    /// Whether an agent may have a certificate that the intermediate signed.
    pub has_agents: bool,
    /// The intermediate that every running trust process has loaded, and since when.
    pub trust_signs_with: Option<(Digest, Timestamp)>,
    /// Value of the annotation that asks for another authority.
    pub request: Option<String>,
    /// Agents in the cluster whose listeners show a certificate of the archive's authority.
    pub listening_agents: Vec<String>,
}

pub(crate) async fn certificates(
    context: &Context,
    archive: &ValidArchive,
    live: &[Secret],
    running: &Running,
) -> Result<Certificates, Halt> {
    let stuck = |message: String| Halt::terminal(Reason::CertificateAuthority, message);
    let domain: TrustDomain =
        archive.domain.parse().map_err(|error| stuck(format!("spec.domain: {error}")))?;
    let leaves = leaves(archive, &running.listening_agents)?;
    let agents = if running.has_agents {
        Agents::Enrolled { trust_signs_with: running.trust_signs_with }
    } else {
        Agents::None
    };
    let wanted = Wanted { domain: &domain, leaves: &leaves, agents, request: running.request.as_deref() };
    let mut found = found(archive, &leaves, live);
    let now = context.clock.now();
    let mut randomness = Randomness::new(leaves.len())?;
    let mut random = || randomness.next();
    let mut authority = read_authority(archive, live);
    for _ in 0..AUTHORITY_WRITES_MAX {
        let stored = AuthorityState::load(authority.as_ref().map(secret_data).as_ref(), &found);
        let state = if let Some(state) = stored.map_err(|error| stuck(error.to_string()))? {
            state
        } else {
            let state = AuthorityState::create(&domain, wanted.request, now, &mut random);
            let state = state.map_err(|error| stuck(error.to_string()))?;
            authority = Some(store_authority(context, archive, None, &state).await?);
            state
        };
        let Plan { actions, waiting, look_again_at } = plan(now, &state, &wanted, &found);
        let mut is_exchanged = false;
        for action in &actions {
            let written = carry_out(action, &state, &wanted, &found, now, &mut random);
            match written.map_err(|error| stuck(error.to_string()))? {
                Written::Authority(state) => {
                    authority = Some(store_authority(context, archive, authority.as_ref(), &state).await?);
                    is_exchanged = true;
                }
                Written::Secret { target: Target::AgentsCa, data } => found.agents_ca = Some(data),
                Written::Secret { target: Target::Leaf(name), data } => {
                    tracing::info!(archive = archive.name, leaf = name, "a certificate is issued");
                    found.leaves.insert(name, data);
                }
            }
            if matches!(action, Action::Authority(_)) {
                break;
            }
        }
        if is_exchanged {
            continue;
        }
        return finish(archive, &state, &found, &leaves, waiting, look_again_at);
    }
    Err(stuck("the certificate authority's Secret changes faster than it can be exchanged".to_owned()))
}

fn finish(
    archive: &ValidArchive,
    state: &AuthorityState,
    found: &Found,
    leaves: &[LeafSpec],
    waiting: Option<Waiting>,
    look_again_at: Timestamp,
) -> Result<Certificates, Halt> {
    let names = Names(archive);
    let missing = || Halt::terminal(Reason::CertificateAuthority, "a certificate was planned and not made");
    let mut secrets = Vec::new();
    let mut reports = Vec::new();
    let authority = secret(&names, names.of(AUTHORITY), AUTHORITY, state.to_secret_data());
    reports.extend(reported(&authority, "ca.crt"));
    let leaves_found = leaves.iter().map(|spec| (spec.name(), format!("{}-tls", spec.name())));
    for (leaf, name) in leaves_found {
        let data = found.leaves.get(leaf).ok_or_else(missing)?;
        secrets.push(secret(&names, names.of(&name), leaf, data.clone()));
    }
    let agents_ca = found.agents_ca.clone().ok_or_else(missing)?;
    secrets.push(secret(&names, names.of(AGENTS_CA), AGENTS_CA, agents_ca));
    reports.extend(secrets.iter().filter_map(|secret| reported(secret, "tls.crt")));
    let agents_ca = reports.last().map(|report| report.fingerprint.clone()).ok_or_else(missing)?;
    let operator = found.leaves.get(OPERATOR).cloned().ok_or_else(missing)?;
    Ok(Certificates {
        secrets,
        reports,
        agents_ca_fingerprint: agents_ca,
        operator,
        waiting: waiting.map(words),
        look_again_at,
    })
}

fn words(waiting: Waiting) -> String {
    match waiting {
        Waiting::FilesRead { until } => format!("every process to read its new files, until {until}"),
        Waiting::TrustRestart => "trust to start with the new intermediate".to_owned(),
        Waiting::AgentsRenew { until } => {
            format!("agents to renew their certificates, until {until} at the latest")
        }
    }
}

/// Serial numbers of the certificates of one pass. Drawn before the pass, so that nothing in it can fail for want of them.
struct Randomness(Vec<[u8; 16]>);

/// Certificates that one pass may make beside leaves, each of which it may make twice: an authority, its cross certificates,
/// the intermediate.
const CERTIFICATES_MAX: usize = 16;

impl Randomness {
    fn new(leaves: usize) -> Result<Self, Halt> {
        let mut drawn = vec![[0; 16]; CERTIFICATES_MAX + 2 * leaves];
        for bytes in &mut drawn {
            getrandom::fill(bytes).map_err(|error| Halt::Transient {
                reason: Reason::CertificateAuthority,
                what: "the system gives no random bytes".to_owned(),
                source: anyhow::anyhow!("{error}"),
            })?;
        }
        Ok(Self(drawn))
    }

    /// Repeats the first when all are used, which a pass cannot do.
    fn next(&mut self) -> [u8; 16] {
        if self.0.len() > 1 {
            self.0.pop().unwrap_or_default()
        } else {
            self.0.first().copied().unwrap_or_default()
        }
    }
}

/// The leaf under which the service `role` is called.
pub(crate) fn leaf_of(archive: &ValidArchive, role: Role) -> Result<LeafSpec, Halt> {
    let name = match archive.shape {
        Shape::Standalone(_) => ALL,
        Shape::Distributed(_) => role.name(),
    };
    let found = leaves(archive, &[])?.into_iter().find(|leaf| leaf.name() == name);
    found.ok_or_else(|| Halt::terminal(Reason::InvalidSpec, format!("the archive has no service {name}")))
}

/// A leaf for each process that the archive runs, the operator's, and one for each agent's listeners.
fn leaves(archive: &ValidArchive, listening_agents: &[String]) -> Result<Vec<LeafSpec>, Halt> {
    let invalid = |error: openarchive_operator_pki::SpecError| {
        Halt::terminal(Reason::InvalidSpec, format!("spec.exposure: {error}"))
    };
    let mut leaves = vec![
        LeafSpec::new(OPERATOR, Identity::Service(Role::Operator), Vec::<String>::new()).map_err(invalid)?,
    ];
    match archive.shape {
        Shape::Standalone(_) => {
            let mut names = dns_names(archive, ALL);
            names.extend(outer_names(archive, Role::Ingest));
            names.extend(outer_names(archive, Role::Gateway));
            leaves.push(LeafSpec::new(ALL, Identity::All, names).map_err(invalid)?);
        }
        Shape::Distributed(_) => {
            for role in START_ORDER {
                let mut names = dns_names(archive, role.name());
                names.extend(outer_names(archive, role));
                leaves.push(LeafSpec::new(role.name(), Identity::Service(role), names).map_err(invalid)?);
            }
        }
    }
    for agent in listening_agents {
        let (name, dns_names) = listener_certificate(agent, &archive.namespace);
        leaves.push(LeafSpec::new(name, Identity::Listener, dns_names).map_err(invalid)?);
    }
    Ok(leaves)
}

fn dns_names(archive: &ValidArchive, component: &str) -> Vec<String> {
    let short = Names(archive).of(component);
    vec![short.clone(), format!("{short}.{}.svc", archive.namespace)]
}

fn outer_names(archive: &ValidArchive, role: Role) -> Vec<String> {
    let exposure = match role {
        Role::Ingest => archive.exposure.ingest.as_ref(),
        Role::Gateway => archive.exposure.gateway.as_ref(),
        _ => None,
    };
    let public = format!("{}-public", role.name());
    exposure.map_or_else(Vec::new, |exposure| {
        let mut names = exposure.hostnames.clone();
        names.extend(dns_names(archive, &public));
        names
    })
}

fn found(archive: &ValidArchive, leaves: &[LeafSpec], live: &[Secret]) -> Found {
    let names = Names(archive);
    let read = |name: String| named(live, &name).map(secret_data);
    let leaves = leaves
        .iter()
        .filter_map(|spec| Some((spec.name().to_owned(), read(names.of(&format!("{}-tls", spec.name())))?)));
    Found { leaves: leaves.collect(), agents_ca: read(names.of(AGENTS_CA)) }
}

fn read_authority(archive: &ValidArchive, live: &[Secret]) -> Option<Secret> {
    named(live, &Names(archive).of(AUTHORITY)).cloned()
}

/// Stored over the version that was read and no other: two operators never make two authorities.
async fn store_authority(
    context: &Context,
    archive: &ValidArchive,
    read: Option<&Secret>,
    state: &AuthorityState,
) -> Result<Secret, Halt> {
    let names = Names(archive);
    let mut secret = secret(&names, names.of(AUTHORITY), AUTHORITY, state.to_secret_data());
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &archive.namespace);
    let name = secret.name_any();
    let stored = match read {
        None => {
            let parameters =
                PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            api.create(&parameters, &secret).await
        }
        Some(read) => {
            secret.metadata.resource_version = read.resource_version();
            api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&secret)).await
        }
    };
    stored.map_err(|error| Halt::kubernetes(format!("store Secret {name}"), error))
}

fn secret(names: &Names<'_>, name: String, component: &str, data: SecretData) -> Secret {
    let data: BTreeMap<String, ByteString> =
        data.into_iter().map(|(key, value)| (key, ByteString(value))).collect();
    Secret { metadata: names.kept(name, component), data: Some(data), ..Secret::default() }
}

/// Name of the Secret of the operator's own leaf.
pub(crate) fn operator_secret(archive: &ValidArchive) -> String {
    Names(archive).of(&format!("{OPERATOR}-tls"))
}

pub(crate) fn secret_data(secret: &Secret) -> SecretData {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn reported(secret: &Secret, key: &str) -> Option<CertificateStatus> {
    let pem = &secret.data.as_ref()?.get(key)?.0;
    let name = secret.name_any();
    let report = report(&name, pem).ok()?;
    Some(CertificateStatus {
        name,
        not_after: report.not_after.to_string(),
        fingerprint: report.fingerprint.to_string(),
    })
}
