//! What changed between two snapshots, for people: by object and by place within it.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    object_id::ObjectId,
    place::{item, member, shown, text},
    snapshot::Snapshot,
};

/// The changes from one snapshot to another: those of the snapshot itself first, then by object. `Display` is a stable
/// text for people; it holds what the configuration holds, addresses included, and no value of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Digests of the two.
    pub from: String,
    pub to: String,
    pub changes: Vec<Change>,
}

/// One place that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// None for the snapshot's own fields, the spec among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectId>,
    /// Like `spec.template.spec.containers[name="trust"].image`; empty for a whole object.
    pub place: String,
    #[serde(flatten)]
    pub what: What,
}

/// How it differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "camelCase")]
pub enum What {
    Added { to: Value },
    Removed { from: Value },
    Changed { from: Value, to: Value },
}

/// Compares two snapshots, ordinarily of one object. What always differs (the link to the snapshot before) and what
/// follows from the history (skipped generations) is left out.
pub fn diff(from: &Snapshot, to: &Snapshot) -> Diff {
    let mut changes = Vec::new();
    values(None, "", &own_fields(from), &own_fields(to), &mut changes);
    let (before, after) = (by_id(from), by_id(to));
    let ids: BTreeSet<&ObjectId> = before.keys().chain(after.keys()).collect();
    for id in ids {
        // Absent is null: no object is.
        let side =
            |objects: &BTreeMap<ObjectId, &Value>| objects.get(id).map_or(Value::Null, |o| (*o).clone());
        let what = match (side(&before), side(&after)) {
            (Value::Null, to) => What::Added { to },
            (from, Value::Null) => What::Removed { from },
            (from, to) => {
                values(Some(id), "", &from, &to, &mut changes);
                continue;
            }
        };
        changes.push(Change { object: Some(id.clone()), place: String::new(), what });
    }
    Diff { from: from.digest().to_string(), to: to.digest().to_string(), changes }
}

fn own_fields(snapshot: &Snapshot) -> Value {
    let mac = snapshot.secrets_mac();
    json!({
        "object": snapshot.subject().to_string(),
        "uid": snapshot.uid(),
        "generation": snapshot.generation(),
        "deleted": snapshot.is_deletion(),
        "operatorVersion": snapshot.operator_version(),
        "clientDeclaredManager": snapshot.client_declared_manager(),
        "secretsMac": { "key": mac.key, "version": mac.version },
        "spec": snapshot.spec(),
    })
}

fn by_id(snapshot: &Snapshot) -> BTreeMap<ObjectId, &Value> {
    snapshot.objects().iter().filter_map(|object| Some((ObjectId::of(object)?, object))).collect()
}

fn values(object: Option<&ObjectId>, place: &str, from: &Value, to: &Value, changes: &mut Vec<Change>) {
    if from == to {
        return;
    }
    if let (Value::Object(from), Value::Object(to)) = (from, to) {
        let keys: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
        for key in keys {
            side_by_side(object, &member(place, key), from.get(key), to.get(key), changes);
        }
        return;
    }
    if let (Value::Array(from), Value::Array(to)) = (from, to) {
        if let (Some(before), Some(after)) = (by_name(from), by_name(to)) {
            let found = changes.len();
            let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
            for name in names {
                let place = format!("{place}[name={}]", text(&Value::from(name)));
                side_by_side(object, &place, before.get(name).copied(), after.get(name).copied(), changes);
            }
            if changes.len() > found {
                return;
            }
            // The same items in another order: order can matter, so the lists are shown below.
        } else {
            for position in 0..from.len().max(to.len()) {
                let place = item(place, position);
                side_by_side(object, &place, from.get(position), to.get(position), changes);
            }
            return;
        }
    }
    let what = What::Changed { from: from.clone(), to: to.clone() };
    changes.push(Change { object: object.cloned(), place: place.to_owned(), what });
}

fn side_by_side(
    object: Option<&ObjectId>,
    place: &str,
    from: Option<&Value>,
    to: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    let what = match (from, to) {
        (Some(from), Some(to)) => return values(object, place, from, to, changes),
        (Some(from), None) => What::Removed { from: from.clone() },
        (None, Some(to)) => What::Added { to: to.clone() },
        (None, None) => return,
    };
    changes.push(Change { object: object.cloned(), place: place.to_owned(), what });
}

/// Lists like those of containers and ports, whose items have names of their own: an item that was put in front does
/// not make all others look changed.
fn by_name(items: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    let named: BTreeMap<&str, &Value> =
        items.iter().map(|item| Some((item.get("name")?.as_str()?, item))).collect::<Option<_>>()?;
    (named.len() == items.len() && !items.is_empty()).then_some(named)
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "--- {}\n+++ {}", self.from, self.to)?;
        if self.changes.is_empty() {
            return writeln!(f, "no difference");
        }
        let mut shown_object = None;
        for Change { object, place, what } in &self.changes {
            let whole = place.is_empty();
            if let Some(id) = object {
                if !whole && shown_object != Some(id) {
                    writeln!(f, "{}", shown(&id.to_string()))?;
                }
                if whole {
                    let sign = if matches!(what, What::Added { .. }) { '+' } else { '-' };
                    writeln!(f, "{sign} {}", shown(&id.to_string()))?;
                    continue;
                }
                f.write_str("  ")?;
            }
            shown_object = object.as_ref();
            match what {
                What::Added { to } => writeln!(f, "+ {place}: {}", text(to))?,
                What::Removed { from } => writeln!(f, "- {place}: {}", text(from))?,
                What::Changed { from, to } => writeln!(f, "~ {place}: {} -> {}", text(from), text(to))?,
            }
        }
        Ok(())
    }
}
