//! The custom resource definitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;
use serde_json::json;

use crate::{ArchiveCore, EdgeAgent, NetworkPolicySet, RetentionPolicy};

/// Of an object that no operator has seen yet. Without it kstatus takes an object that says nothing for finished.
const NOT_OBSERVED: i64 = -1;

/// The kinds of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ArchiveCore,
    EdgeAgent,
    NetworkPolicySet,
    RetentionPolicy,
}

impl Kind {
    pub const ALL: [Self; 4] =
        [Self::ArchiveCore, Self::EdgeAgent, Self::NetworkPolicySet, Self::RetentionPolicy];

    pub const fn name(self) -> &'static str {
        match self {
            Self::ArchiveCore => "ArchiveCore",
            Self::EdgeAgent => "EdgeAgent",
            Self::NetworkPolicySet => "NetworkPolicySet",
            Self::RetentionPolicy => "RetentionPolicy",
        }
    }

    pub const fn plural(self) -> &'static str {
        match self {
            Self::ArchiveCore => "archivecores",
            Self::EdgeAgent => "edgeagents",
            Self::NetworkPolicySet => "networkpolicysets",
            Self::RetentionPolicy => "retentionpolicies",
        }
    }

    /// The kind of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub fn crd(self) -> CustomResourceDefinition {
        let mut crd = match self {
            Self::ArchiveCore => ArchiveCore::crd(),
            Self::EdgeAgent => EdgeAgent::crd(),
            Self::NetworkPolicySet => NetworkPolicySet::crd(),
            Self::RetentionPolicy => RetentionPolicy::crd(),
        };
        for version in &mut crd.spec.versions {
            let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
            let properties = schema.and_then(|schema| schema.properties.as_mut());
            if let Some(status) = properties.and_then(|properties| properties.get_mut("status")) {
                status.default = Some(JSON(json!({"observedGeneration": NOT_OBSERVED})));
            }
        }
        crd
    }
}

/// Every definition, in the order of their names.
pub fn crds() -> Vec<CustomResourceDefinition> {
    Kind::ALL.into_iter().map(Kind::crd).collect()
}
