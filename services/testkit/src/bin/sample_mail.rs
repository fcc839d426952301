//! Writes sample mail as EML files.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use openarchive_testkit::sample_mail::sample_mail;

/// Writes COUNT made-up mails, the same for the same seed, as DIR/0000.eml and so on.
#[derive(Parser)]
struct Arguments {
    dir: PathBuf,
    #[arg(long, default_value_t = 60)]
    count: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    fs::create_dir_all(&arguments.dir).with_context(|| format!("cannot make {}", arguments.dir.display()))?;
    for (n, mail) in sample_mail(arguments.seed, arguments.count).iter().enumerate() {
        fs::write(arguments.dir.join(format!("{n:04}.eml")), &mail.bytes).context("cannot write a mail")?;
    }
    println!("{} mails in {}", arguments.count, arguments.dir.display());
    Ok(())
}
