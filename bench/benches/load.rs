//! Many agents against one archive, all as processes on this machine: mails a second, how long until a mail is accepted,
//! proven and found, and the most memory that each process ever had.
//!
//! `make load AGENTS=100`.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Parser;
use openarchive_bench::{
    archive::{Chain, Counter, drive},
    corpus::Corpus,
    gate, machine,
    processes::peak_kib,
    results,
    runs::{median, percentile, shown},
    sender::Pace,
};
use openarchive_e2e::{Agent, AgentOptions, Archive, Cluster};
use openarchive_testkit::{sample_mail::Numbers, smtp_client::SmtpClient};

/// Drives agents against an archive of its own and tells what it took.
#[derive(Parser)]
struct Arguments {
    /// Agents, each a process.
    #[arg(long, default_value_t = 100)]
    agents: usize,
    /// Mails, of all agents together.
    #[arg(long, default_value_t = 5000)]
    mails: usize,
    /// SMTP sessions, spread over the agents; by default one an agent.
    #[arg(long)]
    sessions: Option<usize>,
    /// Bytes of a mail, from and to.
    #[arg(long, num_args = 2, default_values_t = [77_000, 103_000])]
    sizes: Vec<usize>,
    /// Every role a process of its own (two replicas of some), over a database without fsync: for memory, not for speed.
    #[arg(long)]
    separate: bool,
    /// A file to write the figures into as well.
    #[arg(long)]
    results: Option<PathBuf>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

const TENANT: &str = "default";

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let [least, most] = arguments.sizes[..] else { anyhow::bail!("--sizes takes two numbers") };
    ensure!(least < most && arguments.agents > 0 && arguments.mails > 0, "nothing to send");
    println!("makes {} mails of {least} to {most} bytes", arguments.mails);
    let mails: Vec<Vec<u8>> = Corpus::new(14, 70).of_sizes(least, most).take(arguments.mails).collect();
    let sessions = arguments.sessions.unwrap_or(arguments.agents);
    let (chain, memory, how) = if arguments.separate {
        let (chain, memory) = separate(arguments.agents, sessions, &mails)?;
        (
            chain,
            memory,
            "each role a process, two replicas of some, database without fsync, gate: every mail out as it went in",
        )
    } else {
        let (chain, memory) = together(arguments.agents, sessions, &mails)?;
        (
            chain,
            memory,
            "`openarchive all`, database with fsync, gate: every mail out as it went in, fsck clean",
        )
    };
    let text = report(&arguments, sessions, how, &chain, &memory);
    println!("{text}");
    if let Some(path) = &arguments.results {
        let heading = format!(
            "Load of {} agents{}",
            arguments.agents,
            if arguments.separate { ", separate roles" } else { "" }
        );
        results::put(path, &heading, &text)?;
    }
    Ok(())
}

/// The name of a process, and the most memory it ever had, in KiB.
type Memory = Vec<(String, u64)>;

fn agent_options(number: usize) -> AgentOptions {
    AgentOptions { name: format!("{TENANT}/mx{number}"), ..AgentOptions::default() }
}

fn together(agents: usize, sessions: usize, mails: &[Vec<u8>]) -> anyhow::Result<(Chain, Memory)> {
    let mut archive = Archive::all();
    let agents: Vec<Agent> =
        (0..agents).map(|number| Agent::start_new(&archive, agent_options(number))).collect();
    println!("{} agents run; sends", agents.len());
    let chain = drive(&agents, sessions, mails, &Counter::of_archive(&archive)?, Pace::Unbounded)?;
    let mut memory = vec![("openarchive all".to_owned(), peak(archive.pid())?)];
    memory.extend(memory_of(&agents)?);
    memory.push(("agent with one mail of 100 MiB in transit".to_owned(), large_mail(&archive)?));
    drop(agents);
    println!("checks every mail");
    let mut digests = chain.sent.digests.clone();
    digests.push(openarchive_domain::Digest::of(&one_large_mail()));
    archive.wait_searchable(digests.len() as u64, 120);
    gate::check(&mut archive, &digests)?;
    Ok((chain, memory))
}

fn separate(agents: usize, sessions: usize, mails: &[Vec<u8>]) -> anyhow::Result<(Chain, Memory)> {
    let cluster = Cluster::start(&[TENANT])?;
    let replicas = cluster.ingest().len();
    let start = |number: usize| -> anyhow::Result<Agent> {
        let mut agent = Agent::in_cluster(&cluster, number % replicas, agent_options(number))?;
        agent.start();
        Ok(agent)
    };
    let agents = (0..agents).map(start).collect::<anyhow::Result<Vec<Agent>>>()?;
    println!("{} agents run; sends", agents.len());
    let chain = drive(&agents, sessions, mails, &Counter::of_cluster(&cluster, TENANT)?, Pace::Unbounded)?;
    let mut memory = Vec::new();
    for (index, role, replica) in cluster.services() {
        memory.push((format!("{role} {replica}"), peak(cluster.pid(index))?));
    }
    memory.extend(memory_of(&agents)?);
    drop(agents);
    println!("checks every mail");
    gate::check_separate(&cluster, TENANT, &chain.sent.digests)?;
    Ok((chain, memory))
}

fn peak(pid: u32) -> anyhow::Result<u64> {
    peak_kib(pid).with_context(|| format!("process {pid} has gone"))
}

fn memory_of(agents: &[Agent]) -> anyhow::Result<Memory> {
    let peaks = agents.iter().map(|agent| peak(agent.pid())).collect::<anyhow::Result<Vec<u64>>>()?;
    let largest = peaks.iter().copied().max().unwrap_or_default();
    Ok(vec![("largest agent".to_owned(), largest)])
}

/// An attachment of 100 MiB, nothing of which compresses or repeats.
fn one_large_mail() -> Vec<u8> {
    let mut mail = b"Subject: large\r\nContent-Type: application/octet-stream; name=large\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n"
        .to_vec();
    let content = Numbers::seeded(100).bytes(100 * 1024 * 1024 * 73 / 100);
    mail.extend_from_slice(openarchive_testkit::sample_mail::wrapped(&content, 76).as_bytes());
    mail
}

fn large_mail(archive: &Archive) -> anyhow::Result<u64> {
    let agent = Agent::start_new(archive, agent_options(100_000));
    let mut client = SmtpClient::connect(&agent.smtp())?;
    let reply = client.send("a@example.org", &["b@example.com".to_owned()], &one_large_mail())?;
    ensure!(reply.code == 250, "{reply:?}");
    agent.wait_drained(120);
    peak(agent.pid())
}

fn report(arguments: &Arguments, sessions: usize, how: &str, chain: &Chain, memory: &Memory) -> String {
    let Chain { sent, proven, searchable, to_found } = chain;
    let milliseconds = |seconds: f64| format!("{} ms", shown(seconds * 1000.0));
    let seconds = |seconds: f64| format!("{} s", shown(seconds));
    let of_sending = |time: &std::time::Duration| shown(time.as_secs_f64() / sent.took.as_secs_f64());
    let mails = sent.latencies.len() as f64;
    let rows = [
        ("mails", format!("{mails}, {} MB", sent.bytes / 1_000_000)),
        ("agents, SMTP sessions", format!("{}, {sessions}", arguments.agents)),
        ("accepted", format!("{} mails/s", shown(sent.mails_per_second()))),
        ("sending to `250`, p50", milliseconds(median(&sent.latencies))),
        ("sending to `250`, p99", milliseconds(percentile(&sent.latencies, 99))),
        ("all proven to their agents", format!("{} of the sending time", of_sending(proven))),
        ("all found", format!("{} of the sending time", of_sending(searchable))),
        ("whole chain", format!("{} mails/s", shown(mails / searchable.as_secs_f64()))),
        ("`250` to found, p50", seconds(median(to_found))),
        ("`250` to found, p99", seconds(percentile(to_found, 99))),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(what, value)| vec![what.to_owned(), value]).collect();
    let memory: Vec<Vec<String>> =
        memory.iter().map(|(process, kib)| vec![process.clone(), format!("{} MiB", kib / 1024)]).collect();
    format!(
        "{}- {how}\n\n{}\n{}",
        machine::describe(),
        results::table(&["what", "figure"], &rows),
        results::table(&["process", "most memory ever"], &memory)
    )
}
