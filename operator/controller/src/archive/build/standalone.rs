//! Profile Standalone: one StatefulSet of `openarchive all`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec},
        core::v1::{ConfigMap, PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use openarchive_operator_api::StandaloneSpec;
use openarchive_topology::{GRPC_PORT, REST_PORT};

use super::{
    ALL, Ground, Volume, config_file,
    metadata::{Names, labels},
    pod::{self, Mount, PodPlan, Source},
    services,
};
use crate::{archive::ValidArchive, objects::Objects};

/// Claim of the volume that holds everything.
const CLAIM: &str = "data";
const PORTS: [(&str, u16); 3] = [("grpc", GRPC_PORT), ("rest", REST_PORT), pod::ADMIN];

pub(super) fn build(archive: &ValidArchive, spec: &StandaloneSpec, ground: &Ground) -> Objects {
    let names = Names(archive);
    let config = config_file::standalone(archive);
    let config_map = ConfigMap {
        metadata: names.owned(names.of("config"), ALL),
        data: Some(BTreeMap::from([(pod::CONFIG_FILE.to_owned(), config.clone())])),
        ..ConfigMap::default()
    };
    let mut exposed = services::exposed(archive, |_| ALL);
    exposed.insert(0, services::headless(archive, ALL, &PORTS));
    Objects {
        service_accounts: vec![services::account(archive, ALL)],
        config_maps: vec![config_map],
        services: exposed,
        stateful_sets: vec![stateful_set(archive, spec, ground, config)],
        ..Objects::default()
    }
}

fn stateful_set(
    archive: &ValidArchive,
    spec: &StandaloneSpec,
    ground: &Ground,
    config: String,
) -> StatefulSet {
    let names = Names(archive);
    let volume = ground
        .volume
        .clone()
        .unwrap_or_else(|| Volume { size: spec.size.clone(), storage_class: spec.storage_class.clone() });
    let template = pod::template(PodPlan {
        labels: labels(&archive.name, ALL),
        service_account: names.of(ALL),
        container: "openarchive",
        image: image(ground, &archive.version),
        args: vec![
            ALL.to_owned(),
            "--config".to_owned(),
            format!("{}/{}", pod::CONFIG_FOLDER, pod::CONFIG_FILE),
        ],
        ports: PORTS.to_vec(),
        resources: spec.resources.clone(),
        config,
        mounts: vec![
            Mount { name: "config", path: pod::CONFIG_FOLDER, source: Source::ConfigMap(names.of("config")) },
            Mount { name: "tls", path: pod::TLS_FOLDER, source: Source::Secret(names.of("all-tls")) },
            Mount {
                name: "agents-ca",
                path: pod::AGENTS_CA_FOLDER,
                source: Source::Secret(names.of("agents-ca")),
            },
            Mount { name: CLAIM, path: pod::DATA_FOLDER, source: Source::Claim },
            Mount { name: "tmp", path: pod::TMP_FOLDER, source: Source::Scratch },
        ],
        probed: true,
        restart_policy: None,
        agents_ca: Some(ground.agents_ca.clone()),
    });
    StatefulSet {
        metadata: names.owned(names.of(ALL), ALL),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(!archive.stopped)),
            service_name: Some(names.of(ALL)),
            selector: names.selector(ALL),
            template,
            volume_claim_templates: Some(vec![claim(CLAIM, &volume)]),
            // Said, and so watched: with any other the volume would go with the object, and the mail with it.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// Without an owner: a volume outlives its archive.
pub(crate) fn claim(name: &str, volume: &Volume) -> PersistentVolumeClaim {
    let requests = BTreeMap::from([("storage".to_owned(), Quantity(volume.size.clone()))]);
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: volume.storage_class.clone(),
            resources: Some(VolumeResourceRequirements { requests: Some(requests), limits: None }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// The archive's image of a version.
pub(super) fn image(ground: &Ground, version: &str) -> String {
    pod::image(&ground.image_registry, "openarchive", version)
}
