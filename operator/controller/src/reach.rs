//! What somebody must know who calls the services of an archive as the operator does.

use openarchive_operator_api::ArchiveCore;

use crate::{
    Halt,
    archive::{core_addresses, operator_secret, validate},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// `HOST:PORT` of trust, storage and ingest, as they are called inside the cluster.
    pub addresses: [String; 3],
    /// Name of the Secret of the operator's certificate: trust and storage let nobody else read configurations.
    pub secret: String,
}

impl Reach {
    /// `archive` was read from a cluster.
    pub fn of(archive: &ArchiveCore) -> Result<Self, Halt> {
        let valid = validate(archive, &[])?;
        Ok(Self { addresses: core_addresses(&valid), secret: operator_secret(&valid) })
    }
}
