//! Which objects stood at the end of an owner's last pass: one of them that is missing in the next one was deleted by somebody
//! else. Kept in memory: what goes while no operator runs is made anew, and not told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::ResourceExt;

use crate::objects::Kind;

/// Kind and name.
type Names = BTreeSet<(String, String)>;

#[derive(Debug, Default)]
pub(crate) struct Stood {
    /// By namespace and name of the owner; with its uid, for another one of that name begins anew.
    owners: Mutex<BTreeMap<(String, String), (String, Names)>>,
}

impl Stood {
    pub(crate) fn has<O: Kind>(&self, owner: &O, kind: &str, name: &str) -> bool {
        let (id, uid) = of(owner);
        self.owners().get(&id).is_some_and(|(whose, names)| {
            *whose == uid && names.contains(&(kind.to_owned(), name.to_owned()))
        })
    }

    /// These stand now, and no others.
    pub(crate) fn note<O: Kind>(&self, owner: &O, names: Names) {
        let (id, uid) = of(owner);
        self.owners().insert(id, (uid, names));
    }

    /// The owner goes.
    pub(crate) fn forget<O: Kind>(&self, owner: &O) {
        self.owners().remove(&of(owner).0);
    }

    fn owners(&self) -> MutexGuard<'_, BTreeMap<(String, String), (String, Names)>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of<O: Kind>(owner: &O) -> ((String, String), String) {
    let namespace = owner.namespace().unwrap_or_default();
    ((namespace, owner.name_any()), owner.uid().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    #[test]
    fn what_stood_is_remembered_of_one_owner_until_its_next_pass() {
        let owner = |uid: &str| {
            let mut owner = Service::default();
            owner.metadata.name = Some("mx".to_owned());
            owner.metadata.uid = Some(uid.to_owned());
            owner
        };
        let names = |name: &str| BTreeSet::from([("Service".to_owned(), name.to_owned())]);
        let stood = Stood::default();
        assert!(!stood.has(&owner("1"), "Service", "mx-edge"));
        stood.note(&owner("1"), names("mx-edge"));
        assert!(stood.has(&owner("1"), "Service", "mx-edge"));
        assert!(!stood.has(&owner("1"), "Secret", "mx-edge"));
        assert!(!stood.has(&owner("2"), "Service", "mx-edge"), "another one of that name");
        stood.note(&owner("1"), names("other"));
        assert!(!stood.has(&owner("1"), "Service", "mx-edge"), "it was removed as built no longer");
        stood.forget(&owner("1"));
        assert!(!stood.has(&owner("1"), "Service", "other"));
    }
}
