use openarchive_operator_api::EdgeAgent;

use super::{
    build::{Ground, build},
    validate::validate,
};
use crate::{
    Halt,
    archive::{ValidArchive, ingest_address},
    objects::Objects,
    render::NO_UID,
};

/// The objects of one agent as it is first applied. Its bundle is made in the cluster.
pub(crate) fn render(
    agent: &EdgeAgent,
    archive: &ValidArchive,
    image_registry: &str,
) -> Result<Objects, Halt> {
    let mut agent = agent.clone();
    agent.metadata.uid.get_or_insert_with(|| NO_UID.to_owned());
    let ground = Ground {
        image_registry: image_registry.to_owned(),
        ingest: ingest_address(archive),
        volume: None,
        draining: None,
    };
    Ok(build(&validate(&agent, archive)?, archive, &ground))
}
