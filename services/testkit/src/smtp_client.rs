//! A small blocking SMTP and LMTP client for tests and the demo: persistent sessions, STARTTLS, BDAT, exact bytes.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};

/// Longest wait for one reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A server's reply: its code and its lines' texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub lines: Vec<String>,
}

/// One SMTP or LMTP session.
pub struct SmtpClient {
    stream: BufReader<Stream>,
    hello: &'static str,
    /// What the server announced last: the lines of its answer to our hello.
    announced: Vec<String>,
}

impl SmtpClient {
    /// Connects, reads the greeting, says EHLO.
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        Self::connect_with(address, "EHLO sender.example.org")
    }

    /// As [`Self::connect`], for LMTP (RFC 2033).
    pub fn connect_lmtp(address: &str) -> anyhow::Result<Self> {
        Self::connect_with(address, "LHLO sender.example.org")
    }

    fn connect_with(address: &str, hello: &'static str) -> anyhow::Result<Self> {
        let socket =
            address.to_socket_addrs()?.next().with_context(|| format!("{address} has no address"))?;
        let stream = TcpStream::connect(socket).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_nodelay(true)?;
        let stream = BufReader::new(Stream::Plain(stream));
        let mut client = Self { stream, hello, announced: Vec::new() };
        client.expect_reply(220)?;
        client.say_hello()?;
        Ok(client)
    }

    fn say_hello(&mut self) -> anyhow::Result<()> {
        let reply = self.raw(format!("{}\r\n", self.hello).as_bytes())?;
        if reply.code != 250 {
            bail!("expected 250, the server says {reply:?}");
        }
        self.announced = reply.lines;
        Ok(())
    }

    /// Whether the server announced an extension (`CHUNKING`).
    pub fn announces(&self, keyword: &str) -> bool {
        let first = |line: &String| line.split(' ').next().is_some_and(|k| k.eq_ignore_ascii_case(keyword));
        self.announced.iter().skip(1).any(first)
    }

    /// STARTTLS, with the server's certificate checked against `roots` (PEM) for the name `localhost`; then EHLO.
    pub fn start_tls(self, roots: &str) -> anyhow::Result<Self> {
        self.start_tls_as(roots, "localhost")
    }

    /// As [`Self::start_tls`], for another name.
    pub fn start_tls_as(mut self, roots: &str, name: &str) -> anyhow::Result<Self> {
        self.command("STARTTLS", 220)?;
        if !self.stream.buffer().is_empty() {
            bail!("the server sent something after its reply to STARTTLS");
        }
        let Stream::Plain(tcp) = self.stream.into_inner() else { bail!("the session is already encrypted") };
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(roots.as_bytes()) {
            store.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned())?)?;
        let stream = BufReader::new(Stream::Tls(Box::new(StreamOwned::new(connection, tcp))));
        let mut client = Self { stream, hello: self.hello, announced: Vec::new() };
        client.say_hello()?;
        Ok(client)
    }

    /// Sends one mail and answers the reply to its end. Envelope commands are pipelined.
    pub fn send(&mut self, from: &str, to: &[String], message: &[u8]) -> anyhow::Result<Reply> {
        let mut commands = format!("MAIL FROM:<{from}> BODY=8BITMIME\r\n");
        for recipient in to {
            commands += &format!("RCPT TO:<{recipient}>\r\n");
        }
        commands += "DATA\r\n";
        self.stream.get_mut().write_all(commands.as_bytes())?;
        self.stream.get_mut().flush()?;
        let mail = self.reply()?;
        let recipients: Vec<Reply> = to.iter().map(|_| self.reply()).collect::<anyhow::Result<_>>()?;
        let data = self.reply()?;
        if data.code != 354 {
            let refused =
                std::iter::once(mail).chain(recipients).find(|reply| reply.code >= 400).unwrap_or(data);
            return Ok(refused);
        }
        self.stream.get_mut().write_all(&stuffed(message))?;
        self.stream.get_mut().flush()?;
        self.reply()
    }

    /// As [`Self::send`], over LMTP: a reply for each recipient that was taken.
    pub fn send_lmtp(&mut self, from: &str, to: &[String], message: &[u8]) -> anyhow::Result<Vec<Reply>> {
        let first = self.send(from, to, message)?;
        let more = if first.code == 250 { to.len() - 1 } else { 0 };
        std::iter::once(Ok(first)).chain((0..more).map(|_| self.reply())).collect()
    }

    /// Sends one mail by BDAT (RFC 3030) in chunks of at most `chunk_bytes`, all of it in one go, and answers the reply
    /// to each command.
    pub fn send_chunked(
        &mut self,
        from: &str,
        to: &[String],
        message: &[u8],
        chunk_bytes: usize,
    ) -> anyhow::Result<Vec<Reply>> {
        let mut bytes = format!("MAIL FROM:<{from}>\r\n").into_bytes();
        for recipient in to {
            bytes.extend_from_slice(format!("RCPT TO:<{recipient}>\r\n").as_bytes());
        }
        let chunks: Vec<&[u8]> = message.chunks(chunk_bytes).collect();
        for chunk in &chunks {
            bytes.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
        }
        bytes.extend_from_slice(b"BDAT 0 LAST\r\n");
        self.stream.get_mut().write_all(&bytes)?;
        self.stream.get_mut().flush()?;
        (0..2 + to.len() + chunks.len()).map(|_| self.reply()).collect()
    }

    /// Sends a line as it is and answers the reply.
    pub fn raw(&mut self, line: &[u8]) -> anyhow::Result<Reply> {
        self.stream.get_mut().write_all(line)?;
        self.stream.get_mut().flush()?;
        self.reply()
    }

    pub fn quit(mut self) -> anyhow::Result<()> {
        self.command("QUIT", 221)
    }

    fn command(&mut self, line: &str, code: u16) -> anyhow::Result<()> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.stream.get_mut().flush()?;
        self.expect_reply(code)
    }

    fn expect_reply(&mut self, code: u16) -> anyhow::Result<()> {
        let reply = self.reply()?;
        if reply.code == code { Ok(()) } else { bail!("expected {code}, the server says {reply:?}") }
    }

    /// Reads one reply, all its lines (RFC 5321 section 4.2.1).
    pub fn reply(&mut self) -> anyhow::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                bail!("the server closed the connection");
            }
            let line = line.trim_end();
            let (Some(code), text) =
                (line.get(..3).and_then(|c| c.parse().ok()), line.get(4..).unwrap_or(""))
            else {
                bail!("not an SMTP reply: {line:?}");
            };
            lines.push(text.to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
        }
    }
}

/// Dot-stuffing and the end of data (RFC 5321 section 4.5.2). Other bytes go as they are.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    let mut at_line_start = true;
    for &byte in message {
        if at_line_start && byte == b'.' {
            out.push(b'.');
        }
        out.push(byte);
        at_line_start = byte == b'\n';
    }
    if !message.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_dots_are_doubled_and_the_end_stands_on_its_own_line() {
        assert_eq!(stuffed(b".a\r\n..b\r\nc.\r\n"), b"..a\r\n...b\r\nc.\r\n.\r\n");
        assert_eq!(stuffed(b"a"), b"a\r\n.\r\n");
    }
}
