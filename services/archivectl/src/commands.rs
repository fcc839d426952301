//! One file for each thing that a person does.

mod agents;
mod audit;
mod completeness;
mod explain;
mod import;
mod jobs;
mod message;
mod proof;
mod search;
mod verify;

use crate::{
    api::Api,
    arguments::{Arguments, AuditCommand, Command, JobsCommand, MessageCommand},
    connection::Connection,
    exit_code::EXIT_OK,
    failure::Failure,
};

/// Answers the exit code.
pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let api = || Api::connect(Connection::of(&arguments.archive)?);
    match &arguments.command {
        Command::Verify(verify) => return verify::run(verify),
        Command::Import(import) => return import::run(&arguments.archive, import),
        Command::Search(search) if search.explain => explain::run(&api()?, search),
        Command::Search(search) => search::run(&api()?, search),
        Command::Message(MessageCommand::Get(get)) => message::get(api, get),
        Command::Message(MessageCommand::Show(show)) => message::show(&api()?, show),
        Command::Proof(proof) => proof::run(&api()?, proof),
        Command::Completeness(completeness) => completeness::run(&api()?, completeness),
        Command::Audit(AuditCommand::List(list)) => audit::run(&api()?, list),
        Command::Agents(agents) => agents::run(&api()?, agents),
        Command::Jobs(JobsCommand::List(list)) => jobs::list(&api()?, list),
        Command::Jobs(JobsCommand::Retry(retry)) => jobs::retry(&api()?, retry),
    }?;
    Ok(EXIT_OK)
}

/// Parameters that were given, for a query string.
fn given<const N: usize>(parameters: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
