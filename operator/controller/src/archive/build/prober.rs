//! The prober: two small pods that try to connect to each other, over an edge of the graph and beside it. It is no service of
//! the archive: nothing waits for it, and it waits for nothing.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{ConfigMap, PodSpec, ResourceRequirements, TopologySpreadConstraint},
    },
    apimachinery::pkg::api::resource::Quantity,
};
use openarchive_topology::{Endpoint, HEALTH_PORT};

use super::{
    Ground, config_file,
    metadata::{Names, labels},
    pod::{self, Mount, PodPlan, Source},
    services, standalone,
};
use crate::{archive::ValidArchive, objects::Objects};

pub(super) const PROBER: &str = Endpoint::Prober.name();
/// Where each prober listens though no edge of the graph leads there.
pub(super) const DENY_CANARY_PORT: u16 = 9999;
/// One alone has nobody to try.
const REPLICAS: i32 = 2;
/// Bytes of memory and thousandths of a CPU that a prober asks for, and what it may take at most.
const MEMORY: (&str, &str) = ("32Mi", "128Mi");
const CPU: &str = "5m";

/// Where the archive's probers answer: every one that is ready, by one name.
pub(crate) fn address(archive: &ValidArchive) -> String {
    format!("{}:{HEALTH_PORT}", host(archive))
}

fn host(archive: &ValidArchive) -> String {
    format!("{}.{}.svc", Names(archive).of(PROBER), archive.namespace)
}

pub(super) fn add(archive: &ValidArchive, ground: &Ground, objects: &mut Objects) {
    let names = Names(archive);
    let config = config_file::prober(&host(archive));
    objects.service_accounts.push(services::account(archive, PROBER));
    objects.config_maps.push(ConfigMap {
        metadata: names.owned(config_map(archive), PROBER),
        data: Some(BTreeMap::from([(pod::CONFIG_FILE.to_owned(), config.clone())])),
        ..ConfigMap::default()
    });
    objects.services.push(services::headless(archive, PROBER, &[pod::ADMIN]));
    objects.deployments.push(deployment(archive, ground, config));
}

fn config_map(archive: &ValidArchive) -> String {
    Names(archive).of("prober-config")
}

fn deployment(archive: &ValidArchive, ground: &Ground, config: String) -> Deployment {
    let names = Names(archive);
    let mut template = pod::template(PodPlan {
        labels: labels(&archive.name, PROBER),
        service_account: names.of(PROBER),
        container: "openarchive",
        image: standalone::image(ground, &archive.version),
        args: vec![
            PROBER.to_owned(),
            "--config".to_owned(),
            format!("{}/{}", pod::CONFIG_FOLDER, pod::CONFIG_FILE),
        ],
        ports: vec![pod::ADMIN, ("canary", DENY_CANARY_PORT)],
        resources: Some(resources()),
        config,
        mounts: vec![Mount {
            name: "config",
            path: pod::CONFIG_FOLDER,
            source: Source::ConfigMap(config_map(archive)),
        }],
        probed: true,
        restart_policy: None,
        agents_ca: None,
    });
    let spread = TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        // On one node they say less, and still more than nothing.
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(names.selector(PROBER)),
        ..TopologySpreadConstraint::default()
    };
    template.spec =
        template.spec.map(|spec| PodSpec { topology_spread_constraints: Some(vec![spread]), ..spec });
    Deployment {
        metadata: names.owned(names.of(PROBER), PROBER),
        spec: Some(DeploymentSpec {
            replicas: Some(if archive.stopped { 0 } else { REPLICAS }),
            selector: names.selector(PROBER),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn resources() -> ResourceRequirements {
    let quantity = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
    ResourceRequirements {
        requests: Some([quantity("cpu", CPU), quantity("memory", MEMORY.0)].into()),
        limits: Some([quantity("memory", MEMORY.1)].into()),
        ..ResourceRequirements::default()
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use openarchive_operator_api::ArchiveCore;
    use serde_json::{Value, json};

    use super::*;
    use crate::archive::{build::build, gate::gate, validate};

    fn archive(profile: &str, stopped: bool) -> ValidArchive {
        let mut object = json!({
            "apiVersion": "openarchive.dev/v1alpha1", "kind": "ArchiveCore",
            "metadata": {"name": "main", "namespace": "mail", "uid": "1"},
            "spec": {
                "domain": "archive.example.org", "tenants": [{"name": "acme"}], "profile": profile,
                "version": "0.1.0", "retention": {"default": "10y-received-forbidden"},
                "operation": {"stopped": stopped},
            },
        });
        if profile == "Distributed" {
            object["spec"]["database"] = json!({"adminSecretRef": {"name": "database"}});
            object["spec"]["objectStore"] = json!({
                "endpoint": "https://s3.storage.svc", "bucket": "mail", "keyBucket": "mail-keys", "secretRef": {"name": "s3"},
            });
        }
        let archive: ArchiveCore = serde_json::from_value(object).unwrap();
        validate(&archive, &[]).unwrap()
    }

    fn built(archive: &ValidArchive) -> Objects {
        let ground = Ground {
            image_registry: String::new(),
            agents_ca: String::new(),
            secrets: Vec::new(),
            volume: None,
        };
        build(archive, &ground)
    }

    #[test]
    fn both_profiles_have_a_prober_that_nothing_holds_back_and_none_while_they_are_stopped() {
        for profile in ["Standalone", "Distributed"] {
            for (stopped, replicas) in [(false, 2), (true, 0)] {
                let objects = built(&archive(profile, stopped));
                // Nothing is in the cluster yet, so every service waits for the migration.
                let (open, held) = gate(&objects, &Objects::default());
                let open: Vec<_> = open.into_iter().map(ResourceExt::name_any).collect();
                assert_eq!(open, ["main-prober"], "{profile}");
                assert!(held.iter().all(|(component, _)| component != PROBER), "{profile}");
                let deployment = objects.deployments.iter().find(|one| one.name_any() == "main-prober");
                assert_eq!(deployment.unwrap().spec.as_ref().unwrap().replicas, Some(replicas), "{profile}");
            }
        }
    }

    #[test]
    fn it_is_configured_to_try_every_other_by_the_name_under_which_the_operator_asks() {
        let archive = archive("Standalone", false);
        assert_eq!(address(&archive), "main-prober.mail.svc:9090");
        let objects = built(&archive);
        let map = objects.config_maps.iter().find(|map| map.name_any() == "main-prober-config").unwrap();
        let config: Value = serde_json::from_str(&map.data.as_ref().unwrap()[pod::CONFIG_FILE]).unwrap();
        let expected = json!({
            "listen": {"admin": "0.0.0.0:9090"},
            "prober": {"canary": "0.0.0.0:9999", "peers": ["main-prober.mail.svc"]},
        });
        assert_eq!(config, expected);
    }
}
