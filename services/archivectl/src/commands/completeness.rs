use super::given;
use crate::{
    answers::{self, Completeness, CompletenessRow, Gap},
    api::Api,
    arguments::CompletenessArguments,
    failure::Failure,
    output,
    table::table,
};

/// Gaps that a table names; the rest is counted.
const GAPS_SHOWN_MAX: usize = 5;

/// Fails with [`Failure::Verification`] where mail is missing, after the answer is written: the exit code is for cron.
pub(crate) fn run(api: &Api, arguments: &CompletenessArguments) -> Result<(), Failure> {
    let asked = given([("agent", arguments.agent.clone()), ("day", arguments.day.clone())]);
    let answer = api.get("/api/v1/completeness/", &asked)?;
    let found: Completeness = answers::read(&answer)?;
    let written = output::answer(&answer, arguments.list.format, || Ok(rows(&found.rows)));
    if found.rows.iter().any(|row| !row.gaps.is_empty()) {
        // Also where nobody reads the answer any more.
        let line = "mail is missing: these agents gave out numbers that the archive does not have";
        return Err(Failure::Verification(line.to_owned()));
    }
    written?;
    output::remark("complete: no number is missing");
    Ok(())
}

fn rows(rows: &[CompletenessRow]) -> String {
    let names = [
        "AGENT",
        "INSTANCE",
        "EPOCH",
        "FIRST",
        "LAST",
        "STORED",
        "DUPLICATE",
        "QUARANTINED",
        "PENDING",
        "MISSING",
    ];
    let cells = rows.iter().map(|row| {
        [
            row.agent.clone(),
            row.instance.clone(),
            row.agent_epoch.clone(),
            row.first_seq.to_string(),
            row.last_seq.to_string(),
            row.stored.to_string(),
            row.duplicate.to_string(),
            row.quarantined.to_string(),
            row.pending.to_string(),
            gaps(&row.gaps),
        ]
    });
    table(names, cells)
}

fn gaps(gaps: &[Gap]) -> String {
    if gaps.is_empty() {
        return "none".to_owned();
    }
    let range = |gap: &Gap| {
        if gap.first == gap.last { gap.first.to_string() } else { format!("{}-{}", gap.first, gap.last) }
    };
    let mut text = gaps.iter().take(GAPS_SHOWN_MAX).map(range).collect::<Vec<_>>().join(", ");
    if gaps.len() > GAPS_SHOWN_MAX {
        text.push_str(&format!(" and {} more", gaps.len() - GAPS_SHOWN_MAX));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_numbers_are_named() {
        let row = |agent: &str, gaps: serde_json::Value| {
            json!({
                "agent": agent, "instance": "018bcfe5-687b-7fff-bfff-ffffffffffff", "agent_epoch": "7",
                "first_seq": 1, "last_seq": 60, "announced_seq": 61,
                "stored": 40, "duplicate": 10, "quarantined": 1, "pending": 1, "gaps": gaps,
            })
        };
        let gap = |first: u8, last: u8| json!({ "first": first, "last": last });
        let answer = json!({ "rows": [
            row("mx1", json!([])),
            row("mx2", json!([gap(3, 3), gap(5, 9)])),
            row("mx3", json!([gap(1, 1), gap(3, 3), gap(5, 5), gap(7, 7), gap(9, 9), gap(11, 12)])),
        ] });
        let found: Completeness = answers::read(&answer).unwrap();
        insta::assert_snapshot!(rows(&found.rows), @r"
        AGENT  INSTANCE                              EPOCH  FIRST  LAST  STORED  DUPLICATE  QUARANTINED  PENDING  MISSING
        mx1    018bcfe5-687b-7fff-bfff-ffffffffffff  7      1      60    40      10         1            1        none
        mx2    018bcfe5-687b-7fff-bfff-ffffffffffff  7      1      60    40      10         1            1        3, 5-9
        mx3    018bcfe5-687b-7fff-bfff-ffffffffffff  7      1      60    40      10         1            1        1, 3, 5, 7, 9 and 1 more
        ");
    }
}
