//! Mail that an archive does not have of an agent, as a metric.

use openarchive_operator_api::InstanceStatus;
use openarchive_telemetry::metrics;

/// Says how many are missing in all buffers of an agent together; `key` is NAMESPACE/NAME. One that misses none is not
/// shown: there are more agents than a metric takes.
pub(super) fn show(key: &str, instances: &[InstanceStatus]) {
    let missing = instances.iter().fold(0_i64, |sum, one| sum.saturating_add(one.gaps));
    if missing > 0 {
        metrics::OPERATOR_MISSING_MAILS.set([key], missing as f64);
    } else {
        forget(key);
    }
}

/// The metric of an agent that is gone.
pub(crate) fn forget(key: &str) {
    metrics::OPERATOR_MISSING_MAILS.remove([key]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &str) -> Option<String> {
        let head = format!("openarchive_operator_missing_mails{{agent=\"{key}\"}} ");
        metrics::render().lines().find_map(|line| line.strip_prefix(&head).map(str::to_owned))
    }

    #[test]
    fn an_agent_whose_mail_is_missing_is_shown_until_it_is_not_or_the_agent_is_gone() {
        let of = |gaps: i64| InstanceStatus {
            instance: "018bcfe5-687b-7fff-bfff-ffffffffffff".to_owned(),
            epoch: "7".to_owned(),
            version: "0.1.0".to_owned(),
            last_receipt_index: None,
            gaps,
        };
        show("mail/whole", &[of(0), of(0)]);
        show("mail/mx", &[of(2), of(0), of(3)]);
        show("mail/gone", &[of(i64::MAX), of(1)]);
        assert_eq!(shown("mail/whole"), None);
        assert!(shown("mail/mx").is_some_and(|value| value.starts_with('5')));
        assert!(shown("mail/gone").is_some());
        show("mail/mx", &[of(0)]);
        forget("mail/gone");
        assert_eq!((shown("mail/mx"), shown("mail/gone")), (None, None));
    }
}
