use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use rustix::process::geteuid;

use crate::skip;

/// A network of its own, with a loopback device and no way out. Gone with this value and its last process.
pub struct Network {
    holder: Child,
}

impl Network {
    /// `None`: this user may not make one, which was printed.
    pub fn new() -> anyhow::Result<Option<Self>> {
        if !geteuid().is_root() {
            skip("a network of its own: only root can make one");
            return Ok(None);
        }
        // The shell becomes the holder. It ends by itself where nobody is left to end it.
        let hold = "ip link set lo up && echo up && exec sleep 600";
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", hold])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare does not start")?;
        let said = holder.stdout.take().context("its output is not read")?;
        let network = Self { holder };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        anyhow::ensure!(line == "up\n", "the loopback device is not up: is iproute2 installed?");
        Ok(Some(network))
    }

    /// `program`, to be run inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg(program);
        command
    }

    /// `ip ARGUMENTS`, inside.
    pub fn ip(&self, arguments: &str) -> anyhow::Result<()> {
        let ended = self.command("ip").args(arguments.split(' ')).status()?;
        anyhow::ensure!(ended.success(), "ip {arguments}: {ended}");
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
