//! What is done to mail that is archived: holds, quarantine, shredding, expiry.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use openarchive_domain::{Digest, Timestamp};
use uuid::Uuid;

use super::ListArguments;

#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Keep mail, whatever its retention class says, until the hold is released
    Set(HoldSetArguments),
    /// List holds, oldest first
    List(HoldListArguments),
    /// Release a hold
    Release(HoldReleaseArguments),
}

#[derive(Debug, Args)]
pub(crate) struct HoldSetArguments {
    /// Hold what this query finds now; what comes later and would match needs a hold of its own
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["ids", "file"], required_unless_present_any = ["ids", "file"])]
    pub(crate) query: Option<String>,
    /// Mails to hold: `sha256:` and 64 hex digits, as `search` shows them
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<Digest>,
    /// File of ids to hold, one on each line; `-` is the standard input
    #[arg(long = "ids", value_name = "FILE", conflicts_with = "ids")]
    pub(crate) file: Option<PathBuf>,
    /// Why, for people; at most 2,000 bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// What the hold is to be called: 1 to 63 of a-z, 0-9 and -, no personal data; made up if absent
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct HoldListArguments {
    /// Only holds that this mail is under
    #[arg(long, value_name = "ID")]
    pub(crate) message: Option<Digest>,
    /// Released ones, too
    #[arg(long)]
    pub(crate) released: bool,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct HoldReleaseArguments {
    /// The hold's name, as `hold list` shows it
    #[arg(value_name = "HOLD")]
    pub(crate) hold: String,
    /// Why, for people; at most 2,000 bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List mail that did not fit its peer's journal mode, oldest first
    List(QuarantineListArguments),
    /// Take a mail off that list: somebody has looked at it
    Release(QuarantineReleaseArguments),
}

#[derive(Debug, Args)]
pub(crate) struct QuarantineListArguments {
    /// Most mails
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Go on where a list ended: `next_after` of its JSON
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<u64>,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct QuarantineReleaseArguments {
    /// `sha256:` and 64 hex digits, as `quarantine list` shows it
    pub(crate) id: Digest,
    /// Why, for people; at most 2,000 bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ShredArguments {
    #[command(subcommand)]
    pub(crate) command: Option<ShredCommand>,
    /// Mails to shred, at most 100, all or none: `sha256:` and 64 hex digits
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<Digest>,
    /// Why, for people; at most 2,000 bytes
    #[arg(long, value_name = "TEXT", required = true)]
    pub(crate) reason: Option<String>,
    /// Id of the order (a UUID), to send again one whose answer was lost; made up if absent
    #[arg(long, value_name = "ORDER")]
    pub(crate) order: Option<Uuid>,
    /// Do not ask whether it is meant
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShredCommand {
    /// Show how far an order is
    Show(ShredShowArguments),
    /// Fetch the certificate that a mail was shredded
    Certificate(ShredCertificateArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ShredShowArguments {
    /// The order's id, as `shred` said it
    #[arg(value_name = "ORDER")]
    pub(crate) order: Uuid,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ShredCertificateArguments {
    /// The mail: `sha256:` and 64 hex digits
    pub(crate) id: Digest,
    /// Where to write the certificate; `-` is the standard output
    #[arg(short = 'o', long = "output", short_alias = 'O', value_name = "FILE.json")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyShredArguments {
    /// The certificate, as `shred certificate` wrote it
    #[arg(value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// Whom to trust (C2SP tlog-policy); the archive's first start wrote one to DIR/trust.policy
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Proof of the mail from before it was shredded (`archivectl proof`): shows that it was this mail. Without it the
    /// exit code is 4
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExpiryCommand {
    /// Write a plan: which mail's time is over, and what keeps it nevertheless. Changes nothing
    Plan(ExpiryPlanArguments),
    /// Shred what a plan says, and nothing else; a plan that no longer holds is refused
    Run(ExpiryRunArguments),
    /// Let shredding and expiry go on after a rebuild, once somebody has looked at what was restored
    Resume(ExpiryResumeArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ExpiryPlanArguments {
    /// Where to write the plan; `-` is the standard output
    #[arg(short = 'o', long = "output", short_alias = 'O', value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// What expires by then instead of now (YYYY-MM-DDTHH:MM:SS.mmmZ); a plan of a time to come cannot be run
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// Only mail whose id sorts behind this one: where a full plan ended
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<Digest>,
    /// Most mails
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct ExpiryRunArguments {
    /// The plan, as `expiry plan` wrote it
    #[arg(value_name = "FILE")]
    pub(crate) plan: PathBuf,
    /// Do not ask whether it is meant
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ExpiryResumeArguments {
    /// Why, for people; at most 2,000 bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) list: ListArguments,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::arguments::{Arguments, Command};

    fn parse(line: &str) -> Option<Command> {
        let id = format!("sha256:{}", "ab".repeat(32));
        let line = line.replace("ID", &id).replace("ORDER", "0195f1e2-7b7c-7000-8000-000000000000");
        let words = std::iter::once("archivectl").chain(line.split(' '));
        Arguments::try_parse_from(words).ok().map(|arguments| arguments.command)
    }

    #[test]
    fn a_hold_names_its_mail_in_exactly_one_way_and_says_why() {
        for good in [
            "hold set --query x --reason r",
            "hold set ID ID --reason r --name case-1",
            "hold set --ids f --reason r",
        ] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "hold set --reason r",
            "hold set --query x",
            "hold set --query x ID --reason r",
            "hold set --query x --ids f --reason r",
            "hold set sha256:12 --reason r",
            "hold release case-1",
            "quarantine release ID",
            "expiry resume",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn shred_orders_unless_it_is_asked_to_show() {
        for (line, shows) in [
            ("shred ID ID --reason r", false),
            ("shred ID --reason r --yes", false),
            ("shred show ORDER", true),
            ("shred certificate ID -o f.json", true),
        ] {
            let Some(Command::Shred(shred)) = parse(line) else { unreachable!("{line}") };
            assert_eq!(shred.command.is_some(), shows, "{line}");
        }
        for bad in ["shred", "shred ID", "shred --reason r", "shred show ID", "shred certificate ID"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
