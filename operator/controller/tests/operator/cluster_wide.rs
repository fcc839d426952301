//! As the chart installs it by default: one operator for every namespace, with a ClusterRole. In a cluster of its own, where it
//! meets no other operator.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{
    core::v1::Secret,
    rbac::v1::{ClusterRole, ClusterRoleBinding, RoleRef, Subject},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use openarchive_domain::SystemClock;
use openarchive_operator_api::{ArchiveCore, NetworkPolicySet, crds};
use openarchive_operator_cluster::Cluster;
use openarchive_operator_controller::{core::DialOverrides, rbac::rules};
use tokio::time::{Duration, Instant, sleep};

use crate::{
    life::enforced,
    support::{Site, WAIT, bare_site, has, metadata, standalone},
};

const ROLE: &str = "openarchive-system:openarchive-operator";

/// The rights of the table, in every namespace.
async fn grant(operator: &Site) {
    let parameters = PostParams::default();
    let role = ClusterRole { metadata: metadata(ROLE), rules: Some(rules()), ..ClusterRole::default() };
    Api::<ClusterRole>::all(operator.admin.clone()).create(&parameters, &role).await.unwrap();
    let binding = ClusterRoleBinding {
        metadata: metadata(ROLE),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: ROLE.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: "openarchive-operator".to_owned(),
            namespace: Some(operator.namespace.clone()),
            ..Subject::default()
        }]),
    };
    Api::<ClusterRoleBinding>::all(operator.admin.clone()).create(&parameters, &binding).await.unwrap();
    // The authorizer watches bindings: they count some moments later.
    let all: Api<ArchiveCore> = Api::all(operator.operator_client().await);
    let begun = Instant::now();
    while all.list(&ListParams::default()).await.is_err() {
        assert!(begun.elapsed() < WAIT, "the binding does not count");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn one_operator_with_a_cluster_role_keeps_archives_of_one_name_apart() {
    let Some(cluster) = Cluster::start().await.unwrap() else { return };
    cluster.apply_crds(&crds()).await.unwrap();
    let mut operator = bare_site(cluster.clone(), "openarchive-system").await;
    grant(&operator).await;
    let begun = operator.mark();
    let client = operator.operator_client().await;
    operator.start_over(None, client, DialOverrides::default(), Arc::new(SystemClock)).await;

    let sites = [bare_site(cluster.clone(), "one").await, bare_site(cluster, "other").await];
    for site in &sites {
        site.apply::<ArchiveCore>(standalone("main")).await;
    }
    let mut authorities = Vec::new();
    for site in &sites {
        site.until::<ArchiveCore>("main", "is ready", has("Ready", "True")).await;
        site.until::<NetworkPolicySet>("main", "is enforced", enforced).await;
        authorities.push(site.api::<Secret>().get("main-ca").await.unwrap().data.unwrap());
    }
    assert_ne!(authorities[0], authorities[1]);

    let mark = operator.quiet().await;
    let [one, other] = &sites;
    one.api::<ArchiveCore>().delete("main", &DeleteParams::background()).await.unwrap();
    one.until::<ArchiveCore>("main", "is gone", |archive: Option<&ArchiveCore>| archive.is_none()).await;
    one.until::<NetworkPolicySet>("main", "is gone", |set: Option<&NetworkPolicySet>| set.is_none()).await;
    operator.quiet().await;
    let mut writes = operator.writes_since(mark);
    writes.retain(|request| request.namespace == other.namespace);
    assert_eq!(writes, [], "the archive of the other namespace is written to");

    operator.stop().await;
    let requests = operator.requests_since(begun);
    let refused: BTreeSet<_> = requests.iter().filter(|one| one.code == 403).map(|one| &one.right).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let written: BTreeSet<_> =
        requests.iter().filter(|one| one.right.writes()).map(|one| one.namespace.as_str()).collect();
    assert_eq!(written, BTreeSet::from(["one", "other"]));
}
