//! One file for each thing that a person does.

mod agents;
mod audit;
mod completeness;
mod expiry;
mod explain;
mod holds;
mod import;
mod jobs;
mod message;
mod proof;
mod quarantine;
mod search;
mod shred;
mod verify;

use crate::{
    api::Api,
    arguments::{
        Arguments, AuditCommand, Command, ExpiryCommand, HoldCommand, JobsCommand, MessageCommand,
        QuarantineCommand,
    },
    connection::Connection,
    exit_code::EXIT_OK,
    failure::Failure,
};

/// Answers the exit code.
pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let api = || Api::connect(Connection::of(&arguments.archive)?);
    match &arguments.command {
        Command::Verify(verify) => return verify::run(verify),
        Command::VerifyShred(verify) => return verify::run_shred(verify),
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
        Command::Hold(HoldCommand::Set(set)) => holds::set(api, set),
        Command::Hold(HoldCommand::List(list)) => holds::list(&api()?, list),
        Command::Hold(HoldCommand::Release(release)) => holds::release(&api()?, release),
        Command::Quarantine(QuarantineCommand::List(list)) => quarantine::list(&api()?, list),
        Command::Quarantine(QuarantineCommand::Release(release)) => quarantine::release(&api()?, release),
        Command::Shred(shred) => shred::run(api, shred),
        Command::Expiry(ExpiryCommand::Plan(plan)) => expiry::plan(&api()?, plan),
        Command::Expiry(ExpiryCommand::Run(run)) => expiry::run(api, run),
        Command::Expiry(ExpiryCommand::Resume(resume)) => expiry::resume(&api()?, resume),
    }?;
    Ok(EXIT_OK)
}

/// Parameters that were given, for a query string.
fn given<const N: usize>(parameters: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A name as a piece of a path: nothing in it may lead to another one.
fn path_segment<'n>(name: &'n str, what: &str) -> Result<&'n str, Failure> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.bytes().all(plain) {
        Ok(name)
    } else {
        Err(Failure::other(format!("{what} is of a-z, 0-9 and -")))
    }
}

fn mails(count: u64) -> String {
    if count == 1 { "1 mail".to_owned() } else { format!("{count} mails") }
}
