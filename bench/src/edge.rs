//! An agent by itself: it accepts and buffers, and has no core to send to.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};
use openarchive_e2e::{eventually, program};
use serde_json::Value;

use crate::processes::run;

/// Stopped when dropped.
pub struct LoneEdge {
    process: Child,
    config: PathBuf,
    port: u16,
}

pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl LoneEdge {
    /// `wrapper` is a command that runs the agent, like `strace`; empty: nothing does.
    pub fn start(home: &Path, wrapper: &[&str]) -> anyhow::Result<Self> {
        fs::create_dir_all(home)?;
        let (port, config) = (free_port()?, home.join("agent.yaml"));
        fs::write(
            &config,
            format!(
                "dataDir: buffer\nhostname: localhost\nlisteners:\n  - name: journal\n    address: 127.0.0.1\n    \
                 port: {port}\n    peers:\n      - {{cidrs: [127.0.0.0/8], journalMode: plain}}\nbuffer: {{highWater: 64GiB}}\n"
            ),
        )?;
        let edge = program("openarchive-edge");
        let mut command = match wrapper {
            [] => Command::new(edge),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(edge);
                command
            }
        };
        command.args(["run", "--config"]).arg(&config);
        let log = fs::File::create(home.join("agent.log"))?;
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        eventually("the agent listens", 30, || TcpStream::connect(("127.0.0.1", port)).ok());
        Ok(Self { process, config, port })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Of the agent, or of what wraps it.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Fails unless exactly `mails` are in the buffer.
    pub fn check_kept(&self, mails: u64) -> anyhow::Result<()> {
        let mut command = Command::new(program("openarchive-edge"));
        let text = run(command.args(["status", "-o", "json", "--config"]).arg(&self.config))?;
        let status: Value = serde_json::from_str(&text)?;
        let kept = status["bufferedMessages"].as_u64().context("the agent's status has another form")?;
        ensure!(kept == mails, "{mails} mails were accepted, {kept} are there");
        Ok(())
    }
}

impl Drop for LoneEdge {
    fn drop(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        // A wrapper that is killed would leave the agent running.
        let wrapped = fs::read_to_string(children).unwrap_or_default();
        for pid in wrapped.split_whitespace().chain([self.process.id().to_string().as_str()]) {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
        let _ = self.process.wait();
    }
}
