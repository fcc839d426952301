//! What processes used, by /proc.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, bail, ensure};

/// Most memory that a process ever had in RAM, in KiB (VmHWM).
pub fn peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Time that this thread has been on a processor, in nanoseconds.
pub fn thread_cpu_nanos() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("the kernel keeps no schedstat")?;
    text.split(' ').next().and_then(|field| field.parse().ok()).context("schedstat has another form")
}

/// Runs a command and answers the processor time that it and its children used, in seconds: user and system.
pub fn cpu_seconds(command: &mut Command) -> anyhow::Result<f64> {
    let mut timed = Command::new("bash");
    timed.args(["-c", "TIMEFORMAT='%U %S'; time \"$@\" >/dev/null 2>&1", "timed"]);
    timed.arg(command.get_program()).args(command.get_args());
    timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = timed.output()?;
    ensure!(output.status.success(), "{} fails", name(command));
    let text = String::from_utf8_lossy(&output.stderr);
    let times = text.lines().last().context("bash tells no time")?;
    times.split(' ').map(|time| time.parse::<f64>().map_err(anyhow::Error::from)).sum()
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Runs a command that must end well.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", name(command)))?;
    if !output.status.success() {
        bail!("{}: {}", name(command), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Bytes of all files under a folder.
pub fn bytes_under(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}

/// Empties the disk's queue and the kernel's caches, so that each run begins alike. Needs root for the caches.
pub fn settle() -> anyhow::Result<()> {
    run(&mut Command::new("sync"))?;
    if rustix::process::geteuid().is_root() {
        fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the kernel's caches")?;
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    Ok(())
}
