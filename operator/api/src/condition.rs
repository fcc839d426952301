//! Conditions as kstatus reads them (sigs.k8s.io/cli-utils, kstatus): `Ready`, `Reconciling`, `Stalled`.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// The conditions that the operator writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// Everything is as the specification says, and works.
    Ready,
    /// The operator is at work, or waits for something that will come by itself.
    Reconciling,
    /// Somebody has to change something.
    Stalled,
    /// The archive takes mail and answers.
    Available,
    /// The applied configuration stands in the ledger.
    AuditRecorded,
    /// Every certificate is there and will not run out within the renewal time.
    CertificatesValid,
    /// Somebody else changed what the operator applied.
    Drifted,
    /// The prober saw that network policies are enforced.
    EnforcementVerified,
}

impl ConditionType {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Available => "Available",
            Self::AuditRecorded => "AuditRecorded",
            Self::CertificatesValid => "CertificatesValid",
            Self::Drifted => "Drifted",
            Self::EnforcementVerified => "EnforcementVerified",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    pub const fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Sets one condition. The time of its last transition changes only with its status. The order is kept; new ones come last.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    status: ConditionStatus,
    (reason, message): (&str, &str),
    observed_generation: Option<i64>,
    now: Timestamp,
) {
    let old = conditions.iter_mut().find(|condition| condition.type_ == type_.name());
    let unchanged = old.as_ref().filter(|old| old.status == status.name());
    let condition = Condition {
        type_: type_.name().to_owned(),
        status: status.name().to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation,
        last_transition_time: unchanged.map_or(Time(now), |old| old.last_transition_time.clone()),
    };
    match old {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

/// Reads conditions of an object's status.
pub trait Conditions {
    fn of_type(&self, type_: ConditionType) -> Option<&Condition>;

    fn is_true(&self, type_: ConditionType) -> bool {
        self.of_type(type_).is_some_and(|condition| condition.status == ConditionStatus::True.name())
    }
}

impl Conditions for [Condition] {
    fn of_type(&self, type_: ConditionType) -> Option<&Condition> {
        self.iter().find(|condition| condition.type_ == type_.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_of_a_transition_changes_only_with_the_status() {
        let mut conditions = Vec::new();
        let mut set = |status, reason, generation, second| {
            set_condition(
                &mut conditions,
                ConditionType::Ready,
                status,
                (reason, ""),
                Some(generation),
                at(second),
            );
            let condition = conditions.of_type(ConditionType::Ready).unwrap().clone();
            (condition.reason, condition.observed_generation.unwrap(), condition.last_transition_time.0)
        };
        assert_eq!(set(ConditionStatus::False, "A", 1, 10), ("A".to_owned(), 1, at(10)));
        assert_eq!(set(ConditionStatus::False, "B", 2, 20), ("B".to_owned(), 2, at(10)));
        assert_eq!(set(ConditionStatus::True, "C", 2, 30), ("C".to_owned(), 2, at(30)));
        assert!(conditions.is_true(ConditionType::Ready));
        assert_eq!(conditions.len(), 1);
    }
}
