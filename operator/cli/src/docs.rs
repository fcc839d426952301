//! `docs`: the reference of every kind, from the schema that the API server enforces.

mod markdown;

use anyhow::Context;
use openarchive_operator_api::Kind;
use std::{fs, io::Write, path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this kind
    #[arg(long, value_parser = crate::crd::kind_of)]
    kind: Option<Kind>,
    /// Write a file for each kind into this folder
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    for kind in Kind::ALL.into_iter().filter(|kind| args.kind.is_none_or(|only| only == *kind)) {
        let page = markdown::page(kind);
        match &args.out {
            Some(folder) => {
                let file = folder.join(format!("{}.md", kind.name().to_lowercase()));
                fs::write(&file, page).with_context(|| file.display().to_string())?;
            }
            None => std::io::stdout().lock().write_all(page.as_bytes())?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
