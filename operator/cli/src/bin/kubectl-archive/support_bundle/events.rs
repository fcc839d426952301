//! Events of the objects that the bundle tells of.

use k8s_openapi::{api::core::v1::Event, jiff::Timestamp};
use serde_json::{Value, json};
use std::{cmp::Reverse, collections::BTreeSet};

use super::personal::without;
use crate::cluster::Cluster;

/// The newest so many.
const EVENTS_MAX: usize = 1_000;

pub(super) async fn read(cluster: &Cluster, seen: &BTreeSet<(String, String)>) -> anyhow::Result<Value> {
    let mut events: Vec<Event> = cluster.list("").await?;
    events.retain(|event| {
        let about = &event.involved_object;
        let (Some(kind), Some(name)) = (&about.kind, &about.name) else { return false };
        seen.contains(&(kind.clone(), name.clone()))
    });
    Ok(Value::Array(newest(events).iter().map(describe).collect()))
}

fn newest(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| Reverse(last_time(event)));
    events.truncate(EVENTS_MAX);
    events
}

fn last_time(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let at = event.event_time.as_ref().map(|time| time.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    series.map(|time| time.0).or(last).or(at).or(created)
}

fn describe(event: &Event) -> Value {
    let about = &event.involved_object;
    let source = event.source.as_ref().and_then(|source| source.component.clone());
    json!({
        "kind": about.kind,
        "name": about.name,
        "type": event.type_,
        "reason": event.reason.as_deref().map(without),
        "action": event.action.as_deref().map(without),
        "note": event.message.as_deref().map(without),
        "controller": event.reporting_component.clone().filter(|name| !name.is_empty()).or(source),
        "count": event.series.as_ref().and_then(|series| series.count).or(event.count),
        "last": last_time(event).map(|time| time.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(second: i64) -> Event {
        Event { last_timestamp: Some(Time(Timestamp::from_second(second).unwrap())), ..Event::default() }
    }

    #[test]
    fn the_newest_events_are_kept_newest_first() {
        let seconds = |count: usize| -> Vec<i64> {
            let events = (0..count).map(|second| at(i64::try_from(second).unwrap())).collect();
            newest(events).iter().map(|event| event.last_timestamp.as_ref().unwrap().0.as_second()).collect()
        };
        assert_eq!(seconds(3), [2, 1, 0]);
        assert_eq!(seconds(EVENTS_MAX).len(), EVENTS_MAX);
        let kept = seconds(EVENTS_MAX + 1);
        assert_eq!((kept.len(), kept.last()), (EVENTS_MAX, Some(&1)));
    }
}
