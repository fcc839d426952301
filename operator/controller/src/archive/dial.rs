//! The operator's way to the services of an archive.

use openarchive_operator_pki::SecretData;
use openarchive_topology::{GRPC_PORT, Role};

use super::{ValidArchive, build::address};
use crate::{Context, Halt, Reason, core::Core};

/// Channels to trust, storage and ingest, with the operator's leaf in `operator`. Nothing is connected yet when it answers.
pub(crate) fn dial(context: &Context, archive: &ValidArchive, operator: &SecretData) -> Result<Core, Halt> {
    let name = format!("{}/{}", archive.namespace, archive.name);
    context.dialler.core(&name, operator, core_addresses(archive)).map_err(|source| Halt::Transient {
        reason: Reason::CoreUnreachable,
        what: "the archive cannot be called".to_owned(),
        source,
    })
}

/// HOST:PORT of trust, storage and ingest.
pub(crate) fn core_addresses(archive: &ValidArchive) -> [String; 3] {
    [Role::Trust, Role::Storage, Role::Ingest].map(|role| at(archive, role))
}

/// HOST:PORT of ingest, for agents in the cluster.
pub(crate) fn ingest_address(archive: &ValidArchive) -> String {
    at(archive, Role::Ingest)
}

fn at(archive: &ValidArchive, role: Role) -> String {
    let (host, port) = address(archive, role, GRPC_PORT);
    format!("{host}:{port}")
}
