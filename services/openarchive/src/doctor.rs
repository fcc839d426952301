//! `openarchive doctor`: looks at everything a role will need, before it is needed, and says what to do.

mod calls;
mod certificate;
mod database;
mod folders;

#[cfg(test)]
mod tests;

use std::{path::Path, process::ExitCode};

use openarchive_domain::{Clock, SystemClock};
use openarchive_private_postgres::{Binaries, PostgresError, find_binaries};
use openarchive_topology::Role;
use serde::Serialize;

use crate::config::{AllConfig, Environment, RoleConfig};

/// How a look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Good,
    /// Works today; will not for long, or less safely than it should.
    Warning,
    Bad,
}

/// One look at one thing. Shows no secret.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    pub(crate) verdict: Verdict,
    /// What was looked at: `database`, `tls`, ...
    pub(crate) about: &'static str,
    pub(crate) what: String,
    /// Empty where nothing is to be done.
    pub(crate) remedy: String,
}

impl Finding {
    fn good(about: &'static str, what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, about, what: what.into(), remedy: String::new() }
    }

    fn bad(about: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, about, what: what.into(), remedy: remedy.into() }
    }

    fn warning(about: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, about, what: what.into(), remedy: remedy.into() }
    }
}

/// What a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Role(Role),
    /// Every role in one process.
    All,
}

/// Prints what was found. Exit 0 where nothing is bad, else 1.
pub(crate) async fn run(part: Part, config: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let findings = match part {
        Part::Role(role) => examine(role, config, &environment, &SystemClock).await,
        Part::All => examine_all(config, &environment, &SystemClock),
    };
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    if json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for Finding { verdict, about, what, remedy } in &findings {
            let sign = match verdict {
                Verdict::Good => "ok  ",
                Verdict::Warning => "WARN",
                Verdict::Bad => "BAD ",
            };
            println!("{sign}  {about:<10} {what}");
            if !remedy.is_empty() {
                println!("      {:<10} -> {remedy}", "");
            }
        }
        println!("doctor: {} looked at, {bad} bad", findings.len());
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every finding about one role, in the order in which a start would meet them.
pub(crate) async fn examine(
    role: Role,
    path: &Path,
    environment: &Environment,
    clock: &dyn Clock,
) -> Vec<Finding> {
    let config = match RoleConfig::load(role, path, environment) {
        Ok(config) => config,
        Err(error) => return vec![Finding::bad("config", error.to_string(), "")],
    };
    let mut findings =
        vec![Finding::good("config", format!("{} has what {} needs", path.display(), role.name()))];
    findings.extend(certificate::examine(role.name(), &config.archive.domain, &config.tls, clock));
    findings.extend(folders::examine(&config));
    let agents_ca = config.trust.as_ref().and_then(|trust| trust.agents_ca.as_ref());
    findings.extend(certificate::agents_ca(agents_ca));
    if let Some(url) = &config.database {
        findings.extend(database::examine(role, &config, url, clock).await);
    }
    findings.extend(calls::examine(&config).await);
    findings
}

/// Every finding about `openarchive all`, running or not.
fn examine_all(path: &Path, environment: &Environment, clock: &dyn Clock) -> Vec<Finding> {
    let config = match AllConfig::load(path, environment) {
        Ok(config) => config,
        Err(error) => return vec![Finding::bad("config", error.to_string(), "")],
    };
    let mut findings = vec![Finding::good("config", format!("{} has what all needs", path.display()))];
    findings.extend(certificate::examine("all", &config.archive.domain, &config.tls, clock));
    findings.extend(folders::examine_all(&config));
    findings.extend(certificate::agents_ca(config.agents_ca.as_ref()));
    findings.push(postgres(find_binaries()));
    findings
}

fn postgres(found: Result<Binaries, PostgresError>) -> Finding {
    found.map_or_else(
        |error| Finding::bad("postgres", error.to_string(), ""),
        |found| Finding::good("postgres", format!("its programs are {}", found.postgres.display())),
    )
}
