//! Profile Distributed: a Deployment for each service (a StatefulSet where it has a volume), and the Job that migrates the
//! database before any of them starts.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
        batch::v1::{Job, JobSpec},
        core::v1::ConfigMap,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use openarchive_topology::{GRPC_PORT, REST_PORT, Role};
use sha2::{Digest, Sha256};

use super::{
    Ground, config_file,
    metadata::{Names, labels},
    pod::{self, Mount, PodPlan, Source},
    services, standalone,
};
use crate::{
    archive::{
        ValidArchive,
        given_secrets::logs_in,
        validate::{Distributed, Sized},
    },
    objects::Objects,
};

/// Component of the Job that migrates the database.
pub(crate) const MIGRATE: &str = "migrate";
/// Tries of the migrate Job before a person must look.
const MIGRATE_TRIES: i32 = 4;

pub(super) fn build(archive: &ValidArchive, spec: &Distributed, ground: &Ground) -> Objects {
    let names = Names(archive);
    let config = config_file::distributed(archive, spec);
    let config_map = |component: &str, name: &str, text: String| ConfigMap {
        metadata: names.owned(names.of(name), component),
        data: Some(BTreeMap::from([(pod::CONFIG_FILE.to_owned(), text)])),
        ..ConfigMap::default()
    };
    let mut objects = Objects {
        service_accounts: vec![services::account(archive, MIGRATE)],
        config_maps: vec![
            config_map("config", "config", config.clone()),
            config_map(MIGRATE, "migrate-config", config_file::migrate()),
        ],
        services: services::exposed(archive, Role::name),
        jobs: vec![migrate(archive, spec, ground)],
        ..Objects::default()
    };
    for (role, size) in &spec.services {
        objects.service_accounts.push(services::account(archive, role.name()));
        objects.services.push(services::headless(archive, role.name(), &ports(*role)));
        objects.deployments.push(deployment(archive, spec, ground, (*role, size), &config));
        if size.replicas > 1 {
            objects.disruption_budgets.push(disruption_budget(archive, *role));
        }
    }
    objects
}

fn ports(role: Role) -> [(&'static str, u16); 2] {
    let own = if role == Role::Gateway { ("rest", REST_PORT) } else { ("grpc", GRPC_PORT) };
    [own, pod::ADMIN]
}

fn deployment(
    archive: &ValidArchive,
    spec: &Distributed,
    ground: &Ground,
    (role, size): (Role, &Sized),
    config: &str,
) -> Deployment {
    let names = Names(archive);
    let component = role.name();
    let template = pod::template(PodPlan {
        labels: labels(&archive.name, component),
        service_account: names.of(component),
        container: "openarchive",
        image: standalone::image(ground, &archive.version),
        args: vec![
            component.to_owned(),
            "--config".to_owned(),
            format!("{}/{}", pod::CONFIG_FOLDER, pod::CONFIG_FILE),
        ],
        ports: ports(role).to_vec(),
        resources: size.resources.clone(),
        config: config.to_owned(),
        mounts: mounts(archive, spec, role),
        probed: true,
        restart_policy: None,
        agents_ca: (role == Role::Trust).then(|| ground.agents_ca.clone()),
    });
    // Two signers would fence each other, and two writers would break one index: the old one ends before the new one starts.
    let alone = matches!(role, Role::Trust | Role::Index) && size.replicas == 1;
    Deployment {
        metadata: names.owned(names.of(component), component),
        spec: Some(DeploymentSpec {
            replicas: Some(if archive.stopped { 0 } else { size.replicas }),
            selector: names.selector(component),
            strategy: alone
                .then(|| DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn mounts(archive: &ValidArchive, spec: &Distributed, role: Role) -> Vec<Mount> {
    let names = Names(archive);
    let secret =
        |name: &'static str, path, secret: String| Mount { name, path, source: Source::Secret(secret) };
    let mut mounts = vec![
        Mount { name: "config", path: pod::CONFIG_FOLDER, source: Source::ConfigMap(names.of("config")) },
        secret("tls", pod::TLS_FOLDER, names.of(&format!("{}-tls", role.name()))),
        Mount { name: "data", path: pod::DATA_FOLDER, source: Source::Scratch },
        Mount { name: "tmp", path: pod::TMP_FOLDER, source: Source::Scratch },
    ];
    if logs_in(role) {
        mounts.push(secret("database", pod::DATABASE_FOLDER, names.of(&format!("{}-database", role.name()))));
    }
    if matches!(role, Role::Storage | Role::Trust) {
        let object_store = spec.object_store.secret_ref.name.clone();
        mounts.push(secret("object-store", pod::OBJECT_STORE_FOLDER, object_store));
    }
    if role == Role::Trust {
        mounts.push(secret("agents-ca", pod::AGENTS_CA_FOLDER, names.of("agents-ca")));
        mounts.push(secret("keys", pod::KEYS_FOLDER, names.of("keys")));
    }
    let search = spec.search.as_ref().and_then(|search| search.elasticsearch.secret_ref.as_ref());
    if let (Role::Index, Some(search)) = (role, search) {
        mounts.push(secret("search", pod::SEARCH_FOLDER, search.name.clone()));
    }
    mounts
}

/// A Job's template cannot be changed: its name carries what it does.
fn migrate(archive: &ValidArchive, spec: &Distributed, ground: &Ground) -> Job {
    let names = Names(archive);
    let image = standalone::image(ground, &archive.version);
    let digest = hex::encode(Sha256::digest(format!("{image} {}", spec.database.admin_secret_ref.name)));
    let template = pod::template(PodPlan {
        labels: labels(&archive.name, MIGRATE),
        service_account: names.of(MIGRATE),
        container: MIGRATE,
        image,
        args: vec![
            MIGRATE.to_owned(),
            "--config".to_owned(),
            format!("{}/{}", pod::CONFIG_FOLDER, pod::CONFIG_FILE),
        ],
        ports: Vec::new(),
        resources: None,
        config: config_file::migrate(),
        mounts: vec![
            Mount {
                name: "config",
                path: pod::CONFIG_FOLDER,
                source: Source::ConfigMap(names.of("migrate-config")),
            },
            Mount {
                name: "database",
                path: pod::DATABASE_FOLDER,
                source: Source::Secret(spec.database.admin_secret_ref.name.clone()),
            },
            Mount {
                name: "passwords",
                path: "/etc/openarchive-passwords",
                source: Source::Secret(names.of("database-passwords")),
            },
            Mount { name: "tmp", path: pod::TMP_FOLDER, source: Source::Scratch },
        ],
        probed: false,
        restart_policy: Some("Never"),
        agents_ca: None,
    });
    let name = names.of(&format!("{MIGRATE}-{}", digest.get(..10).unwrap_or(&digest)));
    Job {
        metadata: names.owned(name, MIGRATE),
        spec: Some(JobSpec { backoff_limit: Some(MIGRATE_TRIES), template, ..JobSpec::default() }),
        status: None,
    }
}

fn disruption_budget(archive: &ValidArchive, role: Role) -> PodDisruptionBudget {
    let names = Names(archive);
    let LabelSelector { match_labels, .. } = names.selector(role.name());
    PodDisruptionBudget {
        metadata: names.owned(names.of(role.name()), role.name()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector { match_labels, ..LabelSelector::default() }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
