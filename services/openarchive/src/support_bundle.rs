//! `openarchive support-bundle`: what somebody needs who is to help and may see nothing.
//!
//! Only what is listed here goes in, each thing by itself: nothing is copied and then cleaned. Settings are written from
//! what the program understood of them, never from the file's text, where a password may stand in the wrong place.

mod fetch;
mod logs;
mod objects;
mod pack;
mod settings;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use openarchive_domain::{Clock, SystemClock, Timestamp};
use openarchive_topology::Role;
use serde_json::{Value, json};

use crate::{
    archive_file::ArchiveFile,
    config::{Environment, RoleConfig},
    doctor::{self, Verdict},
};

/// What the bundle is about.
pub(crate) enum About {
    /// A data folder of `openarchive dev` or `all`, running or not.
    Data(PathBuf),
    /// One role of an archive of separate services.
    Role(Role, PathBuf),
}

/// A file of the bundle.
struct Entry {
    name: &'static str,
    text: String,
}

impl Entry {
    fn json(name: &'static str, value: &Value) -> Self {
        Self { name, text: format!("{value:#}\n") }
    }
}

/// Writes a `.tar.gz` to `out`, which must not be there yet; only its owner may read it.
pub(crate) async fn run(about: &About, log_files: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    if out.exists() {
        bail!("{} is there already: choose another name", out.display());
    }
    let made_at = SystemClock.now();
    let mut entries = vec![Entry { name: "README.txt", text: readme(made_at) }];
    entries.push(Entry::json("program.json", &program(about, made_at)));
    entries.extend(match about {
        About::Data(root) => of_data_folder(root).await?,
        About::Role(role, config) => of_role(*role, config).await,
    });
    if !log_files.is_empty() {
        entries.push(Entry { name: "log-tails.txt", text: logs::tails(log_files)? });
    }
    let bytes = pack::tar_gz(&entries, made_at).context("cannot pack the bundle")?;
    pack::write_new(out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}: {} bytes", out.display(), bytes.len());
    for Entry { name, text } in &entries {
        println!("  {name}  {} bytes", text.len());
    }
    println!("Read it before you send it: `tar -xzf {}`", out.display());
    Ok(())
}

fn readme(made_at: Timestamp) -> String {
    format!(
        "Support bundle of an OpenArchive, made {made_at}.\n\n\
         program.json      versions, machine, names (never values) of settings in the environment\n\
         settings.json     what the program understood of its configuration; paths, never what stands in the files\n\
         doctor.json       one role: what `openarchive doctor` found\n\
         readiness.json    one role: what /readyz answers\n\
         metrics.txt       one role: what /metrics answers (docs/metrics.md)\n\
         health.json       a data folder whose archive runs: which parts answer\n\
         jobs.json         the same: jobs by state, and why dead ones failed\n\
         objects.json      where objects are local files: how many, how large, the size of each log\n\
         log-tails.txt     only the program's own lines of the log files that were given\n\n\
         Not in here: mail and anything of it, addresses, search queries, keys, certificates, passwords, tokens,\n\
         database contents, logs of PostgreSQL. Names of tenants, hosts and folders are in here.\n"
    )
}

fn program(about: &About, made_at: Timestamp) -> Value {
    let kernel = |file: &str| fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let mut variables: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("OPENARCHIVE"))
        .collect();
    variables.sort();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "schema_version_needed": openarchive_schema::VERSION,
        "about": match about {
            About::Data(_) => "a data folder",
            About::Role(role, _) => role.name(),
        },
        "made_at": made_at.to_string(),
        "operating_system": format!("{} {}", kernel("ostype").trim(), kernel("osrelease").trim()),
        "architecture": std::env::consts::ARCH,
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": memory.lines().next().unwrap_or_default(),
        "variables_set": variables,
    })
}

async fn of_data_folder(root: &Path) -> anyhow::Result<Vec<Entry>> {
    let archive = ArchiveFile::open(root)?;
    let mut entries = vec![
        Entry::json("settings.json", &settings::of_archive(&archive)),
        Entry::json("objects.json", &objects::of_folder(&root.join("objects"))),
    ];
    entries.extend(fetch::of_running(root).await);
    Ok(entries)
}

/// Whatever cannot be had is left out and said so: a bundle is wanted most where things do not work.
async fn of_role(role: Role, path: &Path) -> Vec<Entry> {
    let environment = Environment::of_process();
    let findings: Vec<Value> =
        doctor::examine(role, path, &environment, &SystemClock).await.iter().map(finding).collect();
    let mut entries = vec![Entry::json("doctor.json", &Value::Array(findings))];
    let Ok(config) = RoleConfig::load(role, path, &environment) else {
        entries.push(Entry::json("settings.json", &json!({ "unreadable": ASK_DOCTOR })));
        return entries;
    };
    entries.push(Entry::json("settings.json", &settings::of_role(&config)));
    if let Some(folder) = &config.objects {
        entries.push(Entry::json("objects.json", &objects::of_folder(folder)));
    }
    entries.extend(fetch::of_admin(config.admin).await);
    entries
}

const ASK_DOCTOR: &str = "the configuration cannot be used; `openarchive doctor` says why";

/// What is wrong with a configuration may quote it, and what stands there may be a password in the wrong place.
fn finding(found: &doctor::Finding) -> Value {
    let quotes = found.about == "config" && found.verdict == Verdict::Bad;
    json!({
        "verdict": found.verdict,
        "about": found.about,
        "what": if quotes { ASK_DOCTOR } else { &found.what },
        "remedy": found.remedy,
    })
}
