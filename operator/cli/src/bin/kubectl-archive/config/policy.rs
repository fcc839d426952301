//! `config policy`: the public key by which exports of this archive are known.

use openarchive_operator_controller::core::read_log_policy;
use std::process::ExitCode;

use crate::{cluster, text};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ArchiveCore
    name: String,
}

pub(crate) async fn run(cluster: &cluster::Args, args: &Args) -> anyhow::Result<ExitCode> {
    let way = cluster.connect().await?.reach(&args.name).await?;
    text::say(&read_log_policy(&way.core).await?)?;
    Ok(ExitCode::SUCCESS)
}
