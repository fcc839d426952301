use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use openarchive_operator_api::{
    LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_NAME, MANAGED_BY, PART_OF,
};

use crate::archive::ValidArchive;

/// Names and labels of an archive's objects.
pub(crate) struct Names<'a>(pub &'a ValidArchive);

impl Names<'_> {
    /// `NAME-COMPONENT`.
    pub(crate) fn of(&self, component: &str) -> String {
        format!("{}-{component}", self.0.name)
    }

    /// Metadata of an object that goes with its archive.
    pub(crate) fn owned(&self, name: String, component: &str) -> ObjectMeta {
        ObjectMeta { owner_references: Some(vec![self.0.owner.clone()]), ..self.kept(name, component) }
    }

    /// Metadata of an object that stays when its archive goes.
    pub(crate) fn kept(&self, name: String, component: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.0.namespace.clone()),
            labels: Some(labels(&self.0.name, component)),
            ..ObjectMeta::default()
        }
    }

    pub(crate) fn selector(&self, component: &str) -> LabelSelector {
        LabelSelector { match_labels: Some(selector(&self.0.name, component)), ..LabelSelector::default() }
    }
}

/// By which pods are selected. Never changes: selectors are immutable.
pub(crate) fn selector(archive: &str, component: &str) -> BTreeMap<String, String> {
    let pairs = [(LABEL_NAME, PART_OF), (LABEL_INSTANCE, archive), (LABEL_COMPONENT, component)];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Labels of every object of a component.
pub(crate) fn labels(archive: &str, component: &str) -> BTreeMap<String, String> {
    let mut labels = selector(archive, component);
    labels.insert(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned());
    labels
}
