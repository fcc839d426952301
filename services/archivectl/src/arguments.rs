//! The command line, as clap reads it.

mod governance;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use openarchive_domain::{AgentName, Digest};

use crate::exit_code::EXIT_CODES_HELP;
pub(crate) use governance::{
    ExpiryCommand, ExpiryPlanArguments, ExpiryResumeArguments, ExpiryRunArguments, HoldCommand,
    HoldListArguments, HoldReleaseArguments, HoldSetArguments, QuarantineCommand, QuarantineListArguments,
    QuarantineReleaseArguments, ShredArguments, ShredCertificateArguments, ShredCommand, ShredShowArguments,
    VerifyShredArguments,
};

/// Search, read and prove archived mail; hold it, shred it, let it expire.
#[derive(Debug, Parser)]
#[command(name = "archivectl", version, after_help = EXIT_CODES_HELP)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which archive.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which archive")]
pub(crate) struct ArchiveArguments {
    /// Address of the gateway
    #[arg(long, global = true, env = "OPENARCHIVE_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// File that holds the API token
    #[arg(long, global = true, env = "OPENARCHIVE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate (PEM) of the only authority to trust, instead of the system's
    #[arg(long, global = true, env = "OPENARCHIVE_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Data folder of an archive on this machine: gives all three
    #[arg(long, global = true, env = "OPENARCHIVE_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find mail
    Search(SearchArguments),
    /// Read a mail
    #[command(subcommand)]
    Message(MessageCommand),
    /// Fetch the proof that a mail was archived (C2SP tlog-proof)
    Proof(ProofArguments),
    /// Verify a mail against its proof, offline
    Verify(VerifyArguments),
    /// Show whether mail is missing; the exit code is 3 if it is
    Completeness(CompletenessArguments),
    /// Show who read what
    #[command(subcommand)]
    Audit(AuditCommand),
    /// List the agents that have spoken to the archive; let one in, shut one out
    Agents(AgentsArguments),
    /// List and repeat the archive's own jobs
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Keep mail beyond its retention
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Look through mail that did not fit its peer's journal mode
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Destroy mail for ever where its class permits erasure; follow and certify it
    Shred(ShredArguments),
    /// Verify the certificate that a mail was shredded, offline
    VerifyShred(VerifyShredArguments),
    /// Destroy mail whose time is over, by a plan
    #[command(subcommand)]
    Expiry(ExpiryCommand),
    /// Take in EML files, folders, Maildirs and mboxes by way of an agent (runs `openarchive-edge import`)
    Import(ImportArguments),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ListArguments {
    /// Form of the output
    #[arg(short = 'o', long = "output", value_name = "FORM", default_value = "table")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct SearchArguments {
    /// Words, phrases, "words near each other"~5, fields (from: to: cc: bcc: participant: subject: body: attachment:
    /// message-id: agent:), dates (date: after: before:), sizes (size:>1mb), has:attachment, AND OR NOT; `*` finds
    /// every mail
    pub(crate) query: String,
    /// Most results
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// All results, however many
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Go on where a search ended: `next_cursor` of its JSON
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    /// Show pieces of each mail's text with the words that were found
    #[arg(long)]
    pub(crate) highlight: bool,
    /// Say how the query is understood instead of searching
    #[arg(long, conflicts_with_all = ["limit", "all", "cursor", "highlight"])]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// Fetch a mail's exact bytes
    Get(GetArguments),
    /// Show a mail's text; with `-o json` all that the archive says about it
    Show(ShowArguments),
}

#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    /// `sha256:` and 64 hex digits, as `search` shows it
    pub(crate) id: Digest,
    /// Where to write it; `-` is the standard output
    #[arg(short = 'o', long = "output", short_alias = 'O', value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// `sha256:` and 64 hex digits, as `search` shows it
    pub(crate) id: Digest,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ProofArguments {
    /// `sha256:` and 64 hex digits, as `search` shows it
    pub(crate) id: Digest,
    /// Where to write the proof; `-` is the standard output
    #[arg(short = 'o', long = "output", short_alias = 'O', value_name = "FILE.tlog-proof")]
    pub(crate) output: PathBuf,
    /// Prove the observation of this agent instead of the first
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Prove the observation of this number
    #[arg(long, value_name = "N")]
    pub(crate) seq: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The mail
    #[arg(value_name = "EML")]
    pub(crate) mail: PathBuf,
    /// Its proof
    #[arg(long, value_name = "FILE")]
    pub(crate) proof: PathBuf,
    /// Whom to trust (C2SP tlog-policy); the archive's first start wrote one to DIR/trust.policy
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CompletenessArguments {
    /// Only this agent
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Only what was accepted on this day (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) day: Option<String>,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List leaves of the audit log, newest last
    List(AuditListArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AuditListArguments {
    /// Leaves after this one; the newest if absent
    #[arg(long, value_name = "INDEX")]
    pub(crate) after: Option<u64>,
    /// Most leaves
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Show what the leaves were about (queries, ids of mail), which the log itself does not say
    #[arg(long)]
    pub(crate) objects: bool,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AgentsArguments {
    #[command(subcommand)]
    pub(crate) command: Option<AgentsCommand>,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// List the agents that have spoken to the archive
    List(ListArguments),
    /// Make a one-time token for `openarchive-edge enrol`; it is shown once
    Enrol(EnrolArguments),
    /// Refuse an agent for good, from its next call on; its name is not given again
    Revoke(RevokeArguments),
}

#[derive(Debug, Args)]
pub(crate) struct EnrolArguments {
    /// What the agent is to be called: 1 to 63 of a-z, 0-9 and -
    pub(crate) name: AgentName,
    /// How long the token may be used
    #[arg(long, value_name = "N", default_value = "24", value_parser = clap::value_parser!(u32).range(1..=168))]
    pub(crate) hours: u32,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArguments {
    /// The agent's name
    pub(crate) name: AgentName,
    /// Why, for people; at most 200 bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first
    List(JobsListArguments),
    /// Run a dead job again
    Retry(RetryArguments),
}

#[derive(Debug, Args)]
pub(crate) struct JobsListArguments {
    /// Only jobs in this state; all but done ones if absent
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<JobState>,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JobState {
    Ready,
    Running,
    Done,
    Dead,
}

impl JobState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RetryArguments {
    /// The job's number, as `jobs list` shows it
    pub(crate) id: i64,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The agent's configuration; with --data, that of the agent that `openarchive dev` runs
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// An EML file, an mbox, a Maildir, or a folder of EML files
    pub(crate) path: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn minus_o_is_a_form_where_lists_are_shown_and_a_file_where_content_is_fetched() {
        let id = format!("sha256:{}", "ab".repeat(32));
        let parse = |line: &[&str]| {
            let words = std::iter::once("archivectl").chain(line.iter().copied());
            Arguments::try_parse_from(words).map(|arguments| arguments.command)
        };
        let Command::Search(search) = parse(&["search", "x", "-o", "json"]).unwrap() else { unreachable!() };
        assert_eq!((search.list.format, search.limit), (Format::Json, 50));
        let Command::Proof(proof) = parse(&["proof", &id, "-o", "x.tlog-proof"]).unwrap() else {
            unreachable!()
        };
        assert_eq!(proof.output, PathBuf::from("x.tlog-proof"));
        for option in ["-o", "-O", "--output"] {
            let Command::Message(MessageCommand::Get(get)) =
                parse(&["message", "get", &id, option, "-"]).unwrap()
            else {
                unreachable!()
            };
            assert_eq!(get.output, Some(PathBuf::from("-")));
        }
        assert!(parse(&["proof", &id]).is_err());
        assert!(parse(&["search", "x", "-o", "yaml"]).is_err());
        assert!(parse(&["message", "get", "sha256:12"]).is_err());
        assert!(parse(&["search", "x", "--all", "--limit", "3"]).is_err());
        assert!(parse(&["search", "x", "--explain"]).is_ok());
        assert!(parse(&["search", "x", "--explain", "--highlight"]).is_err());
    }
}
