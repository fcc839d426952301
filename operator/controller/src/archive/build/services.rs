//! Services: headless ones for calls inside, which clients balance over; others for the world outside.

use k8s_openapi::{
    api::core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use openarchive_operator_api::{Exposure, ExposureType};
use openarchive_topology::{GRPC_PORT, REST_PORT, Role};

use super::metadata::{Names, selector};
use crate::archive::ValidArchive;

/// The headless Service of a component: every replica that is ready, by name.
pub(super) fn headless(archive: &ValidArchive, component: &str, ports: &[(&'static str, u16)]) -> Service {
    let names = Names(archive);
    Service {
        metadata: names.owned(names.of(component), component),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(selector(&archive.name, component)),
            ports: Some(ports.iter().map(port).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The Services through which agents and people come from elsewhere, as far as the archive is exposed.
pub(super) fn exposed(archive: &ValidArchive, component_of: impl Fn(Role) -> &'static str) -> Vec<Service> {
    let exposure = &archive.exposure;
    let wanted = [
        (Role::Ingest, &exposure.ingest, ("grpc", GRPC_PORT)),
        (Role::Gateway, &exposure.gateway, ("rest", REST_PORT)),
    ];
    let wanted =
        wanted.into_iter().filter_map(|(role, exposure, port)| Some((role, exposure.as_ref()?, port)));
    wanted.map(|(role, exposure, port)| outer(archive, component_of(role), role, exposure, port)).collect()
}

fn outer(
    archive: &ValidArchive,
    component: &str,
    role: Role,
    exposure: &Exposure,
    through: (&'static str, u16),
) -> Service {
    let names = Names(archive);
    let type_ = match exposure.type_ {
        ExposureType::ClusterIP => "ClusterIP",
        ExposureType::NodePort => "NodePort",
        ExposureType::LoadBalancer => "LoadBalancer",
    };
    let is_balanced = exposure.type_ == ExposureType::LoadBalancer && !exposure.allowed_cidrs.is_empty();
    // From outside the cluster the client's address must be seen, or network policies could not tell it apart.
    let is_outer = exposure.type_ != ExposureType::ClusterIP;
    Service {
        metadata: names.owned(names.of(&format!("{}-public", role.name())), component),
        spec: Some(ServiceSpec {
            type_: Some(type_.to_owned()),
            selector: Some(selector(&archive.name, component)),
            ports: Some(vec![port(&through)]),
            external_traffic_policy: is_outer.then(|| "Local".to_owned()),
            load_balancer_source_ranges: is_balanced.then(|| exposure.allowed_cidrs.clone()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn port((name, number): &(&'static str, u16)) -> ServicePort {
    ServicePort {
        name: Some((*name).to_owned()),
        port: i32::from(*number),
        target_port: Some(IntOrString::String((*name).to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

/// The identity of a component's pods. They have no token: nothing in them talks to the Kubernetes API.
pub(super) fn account(archive: &ValidArchive, component: &str) -> ServiceAccount {
    let names = Names(archive);
    ServiceAccount {
        metadata: names.owned(names.of(component), component),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
