//! Runs and their medians.

/// Pairs of runs of each comparison, by default.
pub const PAIRS: usize = 5;

/// The value below which `percent` of the sorted values lie.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or(f64::NAN)
}

pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// Runs one and the other in turn, A B A B, so that what changes on the machine changes for both.
pub fn in_turn(
    pairs: usize,
    mut ours: impl FnMut() -> anyhow::Result<f64>,
    mut theirs: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        a.push(ours()?);
        b.push(theirs()?);
    }
    Ok((a, b))
}

/// Values as they are shown beside their median.
pub fn raw(values: &[f64]) -> String {
    values.iter().map(|value| shown(*value)).collect::<Vec<_>>().join(" ")
}

/// Three significant figures, more before the point.
pub fn shown(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_values_that_were_measured() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_string(), "2");
        let hundred: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 99).to_string(), "99");
        assert_eq!(percentile(&hundred, 100).to_string(), "99");
        assert!(median(&[]).is_nan());
        assert_eq!(raw(&[1234.5, 12.34, 1.234, 0.1234]), "1234 12.3 1.23 0.123");
    }

    #[test]
    fn runs_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let run = |name: &'static str| {
            order.borrow_mut().push_str(name);
            Ok(1.0)
        };
        let (ours, theirs) = in_turn(2, || run("a"), || run("b")).unwrap();
        assert_eq!((ours.len(), theirs.len(), order.into_inner().as_str()), (2, 2, "abab"));
    }
}
