//! What an agent begins with: a one-time token, the authorities by which ingest shows itself, and the keys of its logs.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use openarchive_domain::Timestamp;
use openarchive_operator_api::ExposureType;
use openarchive_operator_pki::{ExternalAgent, LeafSpec, SecretData, external_bundle};
use openarchive_topology::{GRPC_PORT, Role};

use super::{
    build::{AUTHORITIES, Believed, LOG_POLICY, bundle_name, owned},
    core::{Enrolment, enrolment},
    dereference::World,
    validate::{Place, ValidAgent},
};
use crate::{
    Context, Halt, Reason,
    archive::{ValidArchive, build::Names, leaf_of, secret_data},
    core::Core,
    objects::named,
};

/// On a bundle: until when its token lets the agent in, RFC 3339.
const ANNOTATION_TOKEN_EXPIRES: &str = "openarchive.dev/token-expires";
/// An agent elsewhere that has not enrolled gets another token when its own ends sooner.
const TOKEN_LEFT_MIN: Duration = Duration::from_hours(24);
/// An agent in the cluster that does not run gets another token a day after its own: it may have lost its volume, and its key
/// with it.
const TOKEN_LEFT_MIN_IN_CLUSTER: Duration = Duration::from_hours(6 * 24);
const TOKEN: &str = "token";

/// The bundle as it is to stand. `is_in`: the agent needs no token; `None` while nobody can tell.
pub(super) async fn bundle(
    context: &Context,
    agent: &ValidAgent,
    world: &World,
    core: Option<&Core>,
    is_in: Option<bool>,
) -> Result<Secret, Halt> {
    let authorities = authorities(world)?;
    let name = bundle_name(&agent.name);
    // Before a token is made that could not be handed over.
    let way_in = match agent.place {
        Place::InCluster { .. } => None,
        Place::External => Some(way_in(context, &world.valid).await?),
    };
    // One of an agent that had this name before is no way in: its token was for that one.
    let is_its_own = |secret: &&Secret| secret.owner_references().contains(&agent.owner);
    let kept = named(&world.live.secrets, &name).filter(is_its_own).and_then(read);
    let left = kept
        .as_ref()
        .and_then(|kept| kept.expires_at.parse::<Timestamp>().ok())
        .map_or(0, |end| end.as_millis() - context.clock.now().as_millis());
    let left_min = match agent.place {
        Place::InCluster { .. } => TOKEN_LEFT_MIN_IN_CLUSTER,
        Place::External => TOKEN_LEFT_MIN,
    };
    let is_short = left < i64::try_from(left_min.as_millis()).unwrap_or(i64::MAX);
    let enrolled = match (kept, core) {
        (Some(kept), _) if is_in != Some(false) || !is_short => kept,
        (_, Some(core)) => enrolment(core, &agent.identity).await?,
        (Some(kept), None) => kept,
        (None, None) => {
            return Err(waiting(Reason::CoreUnreachable, format!("archive {} to run", world.valid.name)));
        }
    };
    let data = match &way_in {
        None => SecretData::from([
            (AUTHORITIES.to_owned(), authorities.clone()),
            (LOG_POLICY.to_owned(), enrolled.log_policy.clone().into_bytes()),
            (TOKEN.to_owned(), format!("{}\n", enrolled.token).into_bytes()),
        ]),
        Some(WayIn { host, port, ingest }) => external_bundle(&ExternalAgent {
            agent: &agent.identity,
            host,
            port: *port,
            ingest,
            log_policy: enrolled.log_policy.as_bytes(),
            token: &enrolled.token,
            authorities,
        })
        .map_err(|error| Halt::terminal(Reason::InvalidSpec, error.to_string()))?,
    };
    let mut metadata = owned(agent, &world.valid, name);
    metadata.annotations =
        Some(BTreeMap::from([(ANNOTATION_TOKEN_EXPIRES.to_owned(), enrolled.expires_at.clone())]));
    let data = data.into_iter().map(|(key, value)| (key, ByteString(value)));
    Ok(Secret { metadata, data: Some(data.collect()), ..Secret::default() })
}

/// What an agent that drains checks its archive by: as it has it already, as its bundle says, or as the archive says.
pub(super) async fn believed(agent: &ValidAgent, world: &World, core: &Core) -> Result<Believed, Halt> {
    let authorities = String::from_utf8_lossy(authorities(world)?).into_owned();
    let configured =
        world.live.config_maps.first().and_then(|map| map.data.as_ref()?.get(LOG_POLICY).cloned());
    let kept = || Some(read(named(&world.live.secrets, &bundle_name(&agent.name))?)?.log_policy);
    let log_policy = match configured.or_else(kept) {
        Some(log_policy) => log_policy,
        None => enrolment(core, &agent.identity).await?.log_policy,
    };
    Ok(Believed { authorities, log_policy })
}

/// PEM: every authority by which ingest may show itself.
fn authorities(world: &World) -> Result<&Vec<u8>, Halt> {
    let operator = world.operator.as_ref();
    operator.and_then(|secret| secret.get("ca.crt")).ok_or_else(|| {
        waiting(Reason::RolloutPending, format!("the certificates of archive {}", world.valid.name))
    })
}

/// Until when the bundle's token lets its agent in.
pub(super) fn expires_at(bundle: &Secret) -> Option<&str> {
    bundle.annotations().get(ANNOTATION_TOKEN_EXPIRES).map(String::as_str)
}

/// `None` for a bundle that lacks something: another one is made.
fn read(secret: &Secret) -> Option<Enrolment> {
    let expires_at = expires_at(secret)?.to_owned();
    let data = secret_data(secret);
    let text = |key: &str| String::from_utf8(data.get(key)?.clone()).ok();
    let (token, log_policy) = (text(TOKEN)?.trim_end().to_owned(), text(LOG_POLICY)?);
    (!token.is_empty() && !log_policy.is_empty()).then_some(Enrolment { token, expires_at, log_policy })
}

/// How an agent elsewhere reaches ingest.
struct WayIn {
    host: String,
    port: u16,
    ingest: LeafSpec,
}

async fn way_in(context: &Context, archive: &ValidArchive) -> Result<WayIn, Halt> {
    let not_exposed = || {
        let message = format!(
            "archive {} is not exposed for agents outside: give it spec.exposure.ingest with a host name",
            archive.name
        );
        Halt::terminal(Reason::InvalidSpec, message)
    };
    let exposure = archive.exposure.ingest.as_ref().ok_or_else(not_exposed)?;
    let host = exposure.hostnames.first().ok_or_else(not_exposed)?.clone();
    let port = match exposure.type_ {
        ExposureType::NodePort => node_port(context, archive).await?,
        ExposureType::ClusterIP | ExposureType::LoadBalancer => GRPC_PORT,
    };
    Ok(WayIn { host, port, ingest: leaf_of(archive, Role::Ingest)? })
}

/// The port that the cluster gave on every node.
async fn node_port(context: &Context, archive: &ValidArchive) -> Result<u16, Halt> {
    use k8s_openapi::api::core::v1::Service;
    let name = Names(archive).of(&format!("{}-public", Role::Ingest.name()));
    let api: kube::Api<Service> = kube::Api::namespaced(context.client.clone(), &archive.namespace);
    let service = api.get_opt(&name).await;
    let service = service.map_err(|error| Halt::kubernetes(format!("get Service {name}"), error))?;
    let port = service.and_then(|service| service.spec?.ports?.first()?.node_port);
    port.and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| waiting(Reason::RolloutPending, format!("Service {name} to have a port on the nodes")))
}

fn waiting(reason: Reason, message: String) -> Halt {
    Halt::waiting(reason, message, crate::RESYNC_AFTER)
}
