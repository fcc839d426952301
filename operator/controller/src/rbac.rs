//! Every right that the operator needs, and why. The chart's roles are made from this table.

use k8s_openapi::api::rbac::v1::PolicyRule;

/// One right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    pub group: &'static str,
    pub resource: &'static str,
    pub verbs: &'static [&'static str],
    pub why: &'static str,
}

const BRING: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
) -> Right {
    Right { group, resource, verbs, why }
}

/// In the operator's namespace mode and cluster-wide alike: no right is on a cluster-scoped object.
pub const RIGHTS: &[Right] = &[
    right(
        "openarchive.dev",
        "archivecores",
        &["get", "list", "watch", "patch"],
        "what is specified; a finalizer, so that its deletion is recorded before it goes",
    ),
    right("openarchive.dev", "archivecores/status", &["patch"], "what was seen"),
    right(
        "openarchive.dev",
        "edgeagents",
        &["list", "watch", "patch"],
        "what is specified; a finalizer, so that an agent sends on what it holds and is revoked before it goes",
    ),
    right("openarchive.dev", "edgeagents/status", &["patch"], "what was seen"),
    right("openarchive.dev", "networkpolicysets", BRING, "each archive gets one of its own"),
    right("openarchive.dev", "networkpolicysets/status", &["patch"], "the auditor's document"),
    right("openarchive.dev", "retentionpolicies", &["list", "watch"], "what is specified"),
    right("openarchive.dev", "retentionpolicies/status", &["patch"], "what the archive answered"),
    right("", "configmaps", BRING, "configuration of the archive's processes"),
    right(
        "",
        "secrets",
        &["get", "list", "watch", "create", "patch"],
        "certificates and their keys; never deleted",
    ),
    right("", "serviceaccounts", BRING, "identities of pods"),
    right("", "services", BRING, "addresses"),
    right("", "pods", &["list"], "which pods no policy covers; what trust signs with"),
    right(
        "apps",
        "controllerrevisions",
        &["list", "create"],
        "configurations as they were applied; never changed",
    ),
    right("apps", "deployments", BRING, "services of profile Distributed"),
    right("apps", "statefulsets", BRING, "profile Standalone"),
    right("batch", "jobs", BRING, "the database is migrated"),
    right("events.k8s.io", "events", &["create", "patch"], "what was done, and why"),
    right("networking.k8s.io", "networkpolicies", BRING, "default deny, and the edges of the graph"),
    right("policy", "poddisruptionbudgets", BRING, "replicas are not drained all at once"),
];

/// The table as the rules of a Role or ClusterRole.
pub fn rules() -> Vec<PolicyRule> {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let rule = |right: &Right| PolicyRule {
        api_groups: Some(own(&[right.group])),
        resources: Some(own(&[right.resource])),
        verbs: own(right.verbs),
        ..PolicyRule::default()
    };
    RIGHTS.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_names_each_resource_once_and_gives_no_more_than_it_says() {
        let names: BTreeSet<_> = RIGHTS.iter().map(|right| (right.group, right.resource)).collect();
        assert_eq!(names.len(), RIGHTS.len());
        for right in RIGHTS {
            assert!(!right.verbs.contains(&"*") && !right.verbs.contains(&"update"), "{right:?}");
            assert!(!right.why.is_empty());
        }
        let secrets = RIGHTS.iter().find(|right| right.resource == "secrets").unwrap();
        assert!(!secrets.verbs.contains(&"delete"), "whoever deletes a key deletes mail");
    }
}
