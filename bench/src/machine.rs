//! Where and with what figures were measured.

use std::{fs, process::Command};

use openarchive_domain::{Clock, SystemClock};

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("not there").to_owned()
}

/// A list for `RESULTS.md`: date, machine, versions.
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ':', ' ']);
    let memory = read("/proc/meminfo");
    let caches = if rustix::process::geteuid().is_root() {
        "dropped before each run"
    } else {
        "warm: only root may drop them"
    };
    let commit = first_line("git", &["describe", "--always", "--dirty"]);
    format!(
        "- {date}, commit {commit}\n- {cores} cores, {model}, {memory}, Linux {kernel}; caches {caches}\n\
         - {rust}; release profile\n- Postfix {postfix}; {restic}; {borg}\n",
        date = &SystemClock.now().to_string()[..10],
        cores = std::thread::available_parallelism().map_or(0, usize::from),
        memory = memory.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "),
        kernel = read("/proc/sys/kernel/osrelease").trim(),
        rust = first_line("rustc", &["--version"]),
        postfix = first_line("postconf", &["-d", "-h", "mail_version"]),
        restic = first_line("restic", &["version"]),
        borg = first_line("borg", &["--version"]),
    )
}
