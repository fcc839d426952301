//! P1, P3, P7, P8 and P14 of the targets, each against Postfix, restic, borg or a bare loop, in turn on one machine.
//!
//! `make bench`, as root: Postfix starts only so, and only root may empty the kernel's caches.

mod accept;
mod chain;
mod pipeline;
mod size;

use std::path::PathBuf;

use anyhow::bail;
use clap::Parser;
use openarchive_bench::{machine, results, runs::PAIRS};

/// Measures and writes one table.
#[derive(Parser)]
struct Arguments {
    /// Only these: p1, p3, p7, p8, p14.
    only: Vec<String>,
    /// Pairs of runs of each comparison.
    #[arg(long, default_value_t = PAIRS)]
    pairs: usize,
    /// A file to write the table into as well.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Where to measure: a folder on the disk that is meant. Emptied of its own at the end.
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One line of the table.
struct Row {
    target: &'static str,
    what: String,
    /// Target, ours, theirs, ratio: as text.
    wanted: &'static str,
    ours: String,
    theirs: String,
    ratio: String,
    raw: String,
}

/// What each measurement gets.
struct Site {
    pairs: usize,
    folder: tempfile::TempDir,
}

type Measurement = fn(&Site) -> anyhow::Result<Vec<Row>>;

const MEASUREMENTS: [(&str, Measurement); 5] = [
    ("p1", accept::sessions),
    ("p3", accept::syncs),
    ("p7", pipeline::measure),
    ("p8", size::measure),
    ("p14", chain::measure),
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(unknown) =
        arguments.only.iter().find(|name| MEASUREMENTS.iter().all(|(known, _)| known != name))
    {
        bail!("there is no {unknown}: p1, p3, p7, p8, p14");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("needs root: Postfix starts only as root, and only root may drop the kernel's caches");
    }
    let folder = tempfile::Builder::new().prefix("oa-bench-").tempdir_in(&arguments.folder)?;
    let site = Site { pairs: arguments.pairs, folder };
    let mut rows = Vec::new();
    for (name, measure) in MEASUREMENTS {
        if arguments.only.is_empty() || arguments.only.iter().any(|only| only == name) {
            println!("{name} ..");
            for row in measure(&site)? {
                println!(
                    "  {}: {} against {}, ratio {} (wanted {})",
                    row.what, row.ours, row.theirs, row.ratio, row.wanted
                );
                rows.push(row);
            }
        }
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            vec![
                row.target.to_owned(),
                row.what,
                row.wanted.to_owned(),
                row.ours,
                row.theirs,
                row.ratio,
                row.raw,
            ]
        })
        .collect();
    let head = ["target", "what", "wanted", "ours", "theirs", "ratio", "every run, ours / theirs"];
    let text = format!(
        "{}- {} pairs of runs, one and the other in turn, medians; no mail lost, refused or different\n\n{}",
        machine::describe(),
        arguments.pairs,
        results::table(&head, &rows)
    );
    println!("{text}");
    if let Some(path) = &arguments.results {
        results::put(path, "Against other programs", &text)?;
    }
    Ok(())
}
