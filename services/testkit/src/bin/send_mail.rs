//! Sends mail files to an SMTP server with STARTTLS, as a mail server's journal would.

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use openarchive_domain::Digest;
use openarchive_testkit::{mailbox, smtp_client::SmtpClient};

/// Sends every mail of PATH (EML file, folder of EML files, Maildir, mbox) over STARTTLS. Lines are sent with CRLF, as
/// SMTP demands. Prints how many were accepted; exits 1 if the server refused one.
#[derive(Parser)]
struct Arguments {
    /// HOST:PORT of the server.
    server: String,
    path: PathBuf,
    /// PEM file with the certificate to trust, for the name `localhost`.
    #[arg(long)]
    ca: PathBuf,
    #[arg(long, default_value = "journal@example.org")]
    from: String,
    #[arg(long, default_value = "archive@example.org")]
    to: Vec<String>,
    /// Write the SHA-256 of each accepted mail, as it was sent, one a line.
    #[arg(long)]
    digests: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let roots = fs::read_to_string(&arguments.ca)
        .with_context(|| format!("cannot read {}", arguments.ca.display()))?;
    let mails = mailbox::read(&arguments.path)?;
    let style = ProgressStyle::with_template("  sending  {bar:40} {pos}/{len}  {per_sec}")?;
    let bar = ProgressBar::new(mails.len() as u64).with_style(style);
    let mut client = SmtpClient::connect(&arguments.server)?.start_tls(&roots)?;
    let mut digests = Vec::new();
    let mut refused = 0;
    for mail in &mails {
        let mail = mailbox::to_crlf(mail);
        let reply = client.send(&arguments.from, &arguments.to, &mail)?;
        if reply.code == 250 {
            writeln!(digests, "{}", Digest::of(&mail))?;
        } else {
            refused += 1;
            bar.println(format!("  refused: {} {}", reply.code, reply.lines.join(" ")));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    client.quit()?;
    if let Some(path) = arguments.digests {
        fs::write(&path, digests).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("accepted {} of {}", mails.len() - refused, mails.len());
    if refused > 0 {
        bail!("{refused} mails were refused");
    }
    Ok(())
}
