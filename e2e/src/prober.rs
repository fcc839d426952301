use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Network, eventually, free_port, program};

/// Longest wait for a verdict: a round begins every three seconds, and takes a few where nothing answers.
const SECONDS: u64 = 30;

const LOG: &str = "log";

/// A running prober. Ends when it is dropped.
pub struct Prober<'a> {
    address: Ipv4Addr,
    listed: u16,
    process: Child,
    /// Where it is, if not in the network of this process.
    network: Option<&'a Network>,
    folder: TempDir,
}

impl<'a> Prober<'a> {
    /// Returns before it answers.
    pub fn start(address: Ipv4Addr, ports: (u16, u16), peers: &[Ipv4Addr]) -> anyhow::Result<Self> {
        Self::start_in(None, address, ports, peers)
    }

    /// In a network of its own, or in this process's. Returns before it answers.
    pub fn start_in(
        network: Option<&'a Network>,
        address: Ipv4Addr,
        (listed, canary): (u16, u16),
        peers: &[Ipv4Addr],
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("prober.yaml");
        let text = json!({
            "listen": {"admin": format!("{address}:{listed}")},
            "prober": {"canary": format!("{address}:{canary}"), "peers": peers},
        });
        fs::write(&config, text.to_string())?;
        let openarchive = program("openarchive");
        let mut command =
            network.map_or_else(|| Command::new(&openarchive), |network| network.command(&openarchive));
        let process = command
            .args(["prober", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join(LOG))?)
            .spawn()?;
        Ok(Self { address, listed, process, network, folder })
    }

    /// The body of a good answer.
    pub fn get(&self, path: &str) -> Option<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = match self.network {
            None => self.talk(&request).ok()?,
            Some(network) => self.talk_in(network, &request).ok()?,
        };
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
    }

    fn talk(&self, request: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((self.address, self.listed))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The same by a process inside.
    fn talk_in(&self, network: &Network, request: &str) -> io::Result<String> {
        let talk =
            format!("exec 3<>/dev/tcp/{}/{} && printf %s \"$1\" >&3 && cat <&3", self.address, self.listed);
        let output = network.command("bash").args(["-c", &talk, "bash", request]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits for a verdict for this reason.
    pub fn says(&self, verdict: &str, reason: &str) -> Value {
        eventually(&format!("{verdict}: {reason}"), SECONDS, || {
            let said: Value = serde_json::from_str(&self.get("/verdict")?).ok()?;
            let is_it = said["verdict"] == verdict && said["reason"].as_str()?.contains(reason);
            is_it.then_some(said)
        })
    }
}

impl Drop for Prober<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
            eprintln!("the prober at {} said:\n{log}", self.address);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Free on every address of the list.
pub fn common_port(addresses: &[Ipv4Addr]) -> u16 {
    loop {
        let port = free_port();
        if addresses.iter().all(|address| TcpListener::bind((*address, port)).is_ok()) {
            return port;
        }
    }
}
