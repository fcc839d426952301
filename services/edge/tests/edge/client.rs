//! A mail server, as far as these tests need one: says exactly the bytes it is told to.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use openarchive_edge::smtp::certificate::SELF_SIGNED_CERTIFICATE;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject},
};

pub(crate) const HOSTNAME: &str = "edge.test";

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
    tcp: TcpStream,
}

impl Client {
    /// Connects and reads the greeting.
    pub(crate) fn connect(address: SocketAddr) -> (Self, String) {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut client = Self { stream: BufReader::new(Box::new(tcp.try_clone().unwrap())), tcp };
        let greeting = client.reply();
        (client, greeting)
    }

    /// Greeted and after EHLO.
    pub(crate) fn ready(address: SocketAddr) -> Self {
        let (mut client, greeting) = Self::connect(address);
        assert!(greeting.starts_with("220 "), "{greeting}");
        let reply = client.say("EHLO client.test\r\n");
        assert!(reply.starts_with("250"), "{reply}");
        client
    }

    /// STARTTLS, with the agent's self-signed certificate as the only one that is trusted.
    pub(crate) fn start_tls(self, data_dir: &Path) -> Self {
        self.start_tls_with(&CertificateDer::from_pem_file(data_dir.join(SELF_SIGNED_CERTIFICATE)).unwrap()).0
    }

    /// STARTTLS with this as the only authority that is believed; also says which certificate was shown.
    pub(crate) fn start_tls_with(self, authority: &CertificateDer<'_>) -> (Self, CertificateDer<'static>) {
        let mut client = self;
        assert_eq!(client.say("STARTTLS\r\n"), "220 2.0.0 ready to start TLS\n");
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let mut tls = ClientConnection::new(Arc::new(config), HOSTNAME.try_into().unwrap()).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut client.tcp).unwrap();
        }
        let shown = tls.peer_certificates().unwrap()[0].clone().into_owned();
        let stream = StreamOwned::new(tls, client.tcp.try_clone().unwrap());
        let mut client = Self { stream: BufReader::new(Box::new(stream)), tcp: client.tcp };
        let reply = client.say("EHLO client.test\r\n");
        assert!(reply.starts_with("250") && !reply.contains("STARTTLS"), "{reply}");
        (client, shown)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// One reply with all its lines, without CR; "" if the connection is closed.
    pub(crate) fn reply(&mut self) -> String {
        self.try_reply().unwrap_or_default()
    }

    /// `None` if the connection is closed.
    pub(crate) fn try_reply(&mut self) -> Option<String> {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("no reply within 30 s; so far {reply:?}")
                }
                Err(_) => return None,
            }
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            reply.push_str(&line.replace("\r\n", "\n"));
            if is_last {
                return Some(reply);
            }
        }
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.send(bytes);
        self.reply()
    }

    /// Whether the server has closed the connection and said nothing more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.try_reply().is_none()
    }

    /// MAIL, RCPT and DATA, up to the `354`.
    pub(crate) fn begin_mail(&mut self) {
        self.send("MAIL FROM:<from@example.com>\r\nRCPT TO:<to@example.com>\r\nDATA\r\n");
        for expected in ["250", "250", "354"] {
            let reply = self.reply();
            assert!(reply.starts_with(expected), "{reply}");
        }
    }

    /// `None` if the connection breaks before the mail is answered.
    pub(crate) fn try_mail(&mut self, content: &[u8]) -> Option<String> {
        let stream = self.stream.get_mut();
        stream.write_all(b"MAIL FROM:<from@example.com>\r\nRCPT TO:<to@example.com>\r\nDATA\r\n").ok()?;
        for _ in 0..3 {
            self.try_reply()?;
        }
        let stream = self.stream.get_mut();
        stream.write_all(&stuffed(content)).ok()?;
        stream.write_all(b".\r\n").ok()?;
        self.try_reply()
    }

    /// The answer to the last chunk of a mail with this content, sent by BDAT in chunks of this many bytes.
    pub(crate) fn chunked_mail(&mut self, content: &[u8], chunk_bytes: usize) -> String {
        self.send("MAIL FROM:<from@example.com> BODY=BINARYMIME\r\nRCPT TO:<to@example.com>\r\n");
        for _ in 0..2 {
            let reply = self.reply();
            assert!(reply.starts_with("250"), "{reply}");
        }
        for chunk in content.chunks(chunk_bytes) {
            self.send(format!("BDAT {}\r\n", chunk.len()));
            self.send(chunk);
            assert_eq!(self.reply(), format!("250 2.0.0 {} octets received\n", chunk.len()));
        }
        self.say("BDAT 0 LAST\r\n")
    }

    /// The answer to a mail with this content.
    pub(crate) fn mail(&mut self, content: &[u8]) -> String {
        self.begin_mail();
        self.send(stuffed(content));
        self.say(".\r\n")
    }
}

/// A journal report (Exchange Server 2007 and later) that carries `mail`.
pub(crate) fn report_of(mail: &[u8]) -> Vec<u8> {
    let head = "X-MS-Journal-Report:\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"_report_\"\r\n\r\n\
        --_report_\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nSender: alice@example.org\r\nSubject: s\r\n\
        Message-Id: <1@example.org>\r\nTo: bob@example.org\r\nBcc: carol@example.org\r\n\r\n--_report_\r\n\
        Content-Type: message/rfc822\r\n\r\n";
    [head.as_bytes(), mail, b"\r\n--_report_--\r\n"].concat()
}

/// What a mail server writes for this content: each leading dot twice.
pub(crate) fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut at_line_start = true;
    for byte in content {
        if at_line_start && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        at_line_start = *byte == b'\n';
    }
    out
}

/// Bytes that do not compress, in lines, from a seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut out = Vec::with_capacity(length);
    while out.len() + 78 < length {
        for _ in 0..76 {
            out.push(b' ' + (next() % 94) as u8);
        }
        out.extend_from_slice(b"\r\n");
    }
    while out.len() + 2 < length {
        out.push(b'x');
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The writing half of a connection in clear, for another thread.
pub(crate) struct Writer(TcpStream);

impl Writer {
    /// Whether the connection still takes it.
    pub(crate) fn write_byte(&mut self, byte: u8) -> bool {
        self.0.write_all(&[byte]).is_ok()
    }
}

impl Client {
    pub(crate) fn writer(&self) -> Writer {
        Writer(self.tcp.try_clone().unwrap())
    }
}
