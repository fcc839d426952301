use serde_json::json;

use super::{given, mails};
use crate::{
    answers::{self, ExpiryOrder, ExpiryPlan, ExpiryRun, Released},
    api::Api,
    arguments::{ExpiryPlanArguments, ExpiryResumeArguments, ExpiryRunArguments},
    confirmation::confirm,
    failure::Failure,
    file, output,
    table::table,
    terminal,
};

/// Longest plan that is read, in bytes: 10,000 mails and to spare.
const PLAN_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(crate) fn plan(api: &Api, arguments: &ExpiryPlanArguments) -> Result<(), Failure> {
    let asked = given([
        ("at", arguments.at.map(|at| at.to_string())),
        ("after", arguments.after.map(|after| after.to_string())),
        ("limit", arguments.limit.map(|limit| limit.to_string())),
    ]);
    let answer = api.get("/api/v1/expiry/plan", &asked)?;
    let made: ExpiryPlan = answers::read(&answer)?;
    let in_a_file = file::write(&arguments.output, &made.plan)?;
    let (expiring, kept) = (u64::from(made.expiring), u64::from(made.lines.saturating_sub(made.expiring)));
    let are = if kept == 1 { "is" } else { "are" };
    output::remark(&format!("{} expire, {} {are} kept by a hold or a lock", mails(expiring), mails(kept)));
    if in_a_file {
        let path = arguments.output.display();
        output::remark(&format!("the plan is in {path}: read it, then `archivectl expiry run {path}`"));
    }
    if let Some(next) = &made.next {
        output::remark(&format!("the plan is full: --after {} goes on", terminal::line(next)));
    }
    if let Some(since) = &made.suspended_at {
        let since = terminal::line(since);
        output::remark(&format!(
            "expiry is suspended since {since}: look at the holds, then `archivectl expiry resume`"
        ));
    }
    Ok(())
}

/// Reads the plan before it asks anybody.
pub(crate) fn run(
    connect: impl FnOnce() -> Result<Api, Failure>,
    arguments: &ExpiryRunArguments,
) -> Result<(), Failure> {
    let path = arguments.plan.display();
    let plan = String::from_utf8(file::read(&arguments.plan, PLAN_BYTES_MAX)?)
        .map_err(|_| Failure::other(format!("{path} is no text: is it the right file?")))?;
    if !arguments.yes {
        confirm(&format!("this destroys for ever the mails that {path} lists as expiring"))?;
    }
    let answer = connect()?.post("/api/v1/expiry/runs", &json!({ "plan": plan }))?;
    let done: ExpiryRun = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || Ok(rows(&done.orders)))?;
    output::remark(&format!("ordered to be shredded, as the plan says: {}", mails(done.messages.into())));
    Ok(())
}

fn rows(orders: &[ExpiryOrder]) -> String {
    let rows = orders
        .iter()
        .map(|order| [order.shred.clone(), order.leaf_index.to_string(), order.messages.to_string()]);
    table(["ORDER", "LEAF", "MAILS"], rows)
}

pub(crate) fn resume(api: &Api, arguments: &ExpiryResumeArguments) -> Result<(), Failure> {
    let answer = api.post("/api/v1/expiry/resume", &json!({ "reason": arguments.reason }))?;
    let done: Released = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || {
        Ok(format!("shredding and expiry go on (leaf {} of the evidence log)\n", done.leaf_index))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_shows_its_orders() {
        let answer = json!({ "messages": 130, "orders": [
            { "shred": "0195f1e2-7b7c-7000-8000-000000000000", "leaf_index": 12, "messages": 100 },
            { "shred": "0195f1e2-7b7c-7000-8000-000000000001", "leaf_index": 13, "messages": 30 },
        ] });
        let run: ExpiryRun = answers::read(&answer).unwrap();
        insta::assert_snapshot!(rows(&run.orders), @r"
        ORDER                                 LEAF  MAILS
        0195f1e2-7b7c-7000-8000-000000000000  12    100
        0195f1e2-7b7c-7000-8000-000000000001  13    30
        ");
    }
}
