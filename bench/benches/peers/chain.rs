//! P14: SMTP, buffer, store, verified receipt, found: agent and core on the same machine.

use openarchive_bench::{
    archive::{Counter, drive},
    corpus::Corpus,
    gate,
    processes::settle,
    runs::{median, raw, shown},
};
use openarchive_e2e::{Agent, AgentOptions, Archive};

use crate::{Row, Site};

const MAILS: usize = 3000;
const SESSIONS: usize = 20;

pub(crate) fn measure(site: &Site) -> anyhow::Result<Vec<Row>> {
    let (mut rates, mut drained) = (Vec::new(), Vec::new());
    for run in 0..site.pairs {
        let corpus = Corpus::new(1400 + run as u64, 70).of_sizes(77_000, 103_000);
        let mails: Vec<Vec<u8>> = corpus.take(MAILS).collect();
        settle()?;
        let mut archive = Archive::all();
        let agents = [Agent::start_new(&archive, AgentOptions::default())];
        let chain = drive(&agents, SESSIONS, &mails, &Counter::of_archive(&archive)?)?;
        rates.push(MAILS as f64 / chain.searchable.as_secs_f64());
        drained.push(chain.proven.as_secs_f64() / chain.sent.took.as_secs_f64());
        drop(agents);
        gate::check(&mut archive, &chain.sent.digests)?;
    }
    let row = |what: &str, wanted, values: &[f64]| Row {
        target: "P14",
        what: format!("{what}; one agent, 20 sessions, 77 to 103 KB, `openarchive all` beside it"),
        wanted,
        ours: shown(median(values)),
        theirs: "-".to_owned(),
        ratio: shown(median(values)),
        raw: raw(values),
    };
    Ok(vec![
        row("mails/s from SMTP to found", ">= 290", &rates),
        row("time until all are proven, of the sending time", "<= 1.3", &drained),
    ])
}
