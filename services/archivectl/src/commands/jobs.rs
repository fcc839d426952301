use serde_json::json;

use super::given;
use crate::{
    answers::{self, Job, Jobs},
    api::Api,
    arguments::{JobsListArguments, RetryArguments},
    failure::Failure,
    output,
    table::table,
};

pub(crate) fn list(api: &Api, arguments: &JobsListArguments) -> Result<(), Failure> {
    let asked = given([("state", arguments.state.map(|state| state.as_str().to_owned()))]);
    let answer = api.get("/api/v1/jobs/", &asked)?;
    let found: Jobs = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || Ok(rows(&found.listed)))?;
    output::remark(&format!("{} ready, {} running, {} dead", found.ready, found.running, found.dead));
    Ok(())
}

pub(crate) fn retry(api: &Api, arguments: &RetryArguments) -> Result<(), Failure> {
    let id = arguments.id;
    api.post(&format!("/api/v1/jobs/{id}/retry"), &json!({}))?;
    output::say(&format!("job {id} is ready again"))
}

fn rows(jobs: &[Job]) -> String {
    let rows = jobs.iter().map(|job| {
        [
            job.id.to_string(),
            job.kind.clone(),
            job.state.clone(),
            job.attempts.to_string(),
            job.run_at.clone(),
            job.last_error.clone(),
        ]
    });
    table(["ID", "KIND", "STATE", "ATTEMPTS", "RUNS AT", "LAST ERROR"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_a_line_with_why_it_failed() {
        let answer = json!({ "ready": 0, "running": 0, "dead": 1, "jobs": [{
            "id": 12, "kind": "index", "state": "dead", "attempts": 10, "last_error": "the index\nrefuses it",
            "run_at": "2024-03-01T08:00:00.000Z", "created_at": "2024-03-01T07:00:00.000Z",
        }] });
        let found: Jobs = answers::read(&answer).unwrap();
        insta::assert_snapshot!(rows(&found.listed), @r"
        ID  KIND   STATE  ATTEMPTS  RUNS AT                   LAST ERROR
        12  index  dead   10        2024-03-01T08:00:00.000Z  the index�refuses it
        ");
    }
}
