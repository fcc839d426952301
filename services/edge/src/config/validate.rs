//! From the file's shape to a configuration that cannot be wrong in itself.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use ipnet::IpNet;
use openarchive_mail::limits::MESSAGE_BYTES_MAX;

use super::{CertificateSource, Config, CoreConfig, HIGH_WATER_BYTES, Intake, Limits, ListenerConfig, file};
use crate::smtp::{
    Peer, PeerLimits, RATE_PER_MINUTE_MAX,
    session::{Protocol, StartTls},
};

/// RFC 2033 section 5: LMTP must not be spoken on SMTP's own port.
const SMTP_PORT: u16 = 25;

pub(super) struct Invalid {
    pub(super) key: String,
    pub(super) problem: String,
    pub(super) remedy: &'static str,
}

fn invalid<T>(
    key: impl Into<String>,
    problem: impl Into<String>,
    remedy: &'static str,
) -> Result<T, Invalid> {
    Err(Invalid { key: key.into(), problem: problem.into(), remedy })
}

pub(super) fn validate(file: file::File, folder: &Path) -> Result<Config, Invalid> {
    let file::File { data_dir, hostname, drain, admin, core, listeners, buffer, limits } = file;
    if listeners.is_empty() {
        return invalid("listeners", "there is none", "give at least one, so that mail can come in");
    }
    let mut names = BTreeSet::new();
    let listeners = listeners
        .into_iter()
        .enumerate()
        .map(|(index, one)| {
            if !names.insert(one.name.clone()) {
                let problem = format!("{:?} is the name of two listeners", one.name);
                return invalid(format!("listeners[{index}].name"), problem, "give each its own");
            }
            listener(one, index, folder)
        })
        .collect::<Result<_, _>>()?;
    let high_water_bytes = buffer.high_water.map_or(HIGH_WATER_BYTES, |size| size.0);
    if high_water_bytes == 0 {
        return invalid(
            "buffer.highWater",
            "0 takes no mail at all",
            "give what the disk can hold, such as 8GiB",
        );
    }
    Ok(Config {
        data_dir: folder.join(data_dir),
        hostname: host_name(hostname)?,
        core: core.map(|core| core_config(core, folder)).transpose()?,
        listeners,
        high_water_bytes,
        limits: checked_limits(&limits)?,
        intake: if drain { Intake::Draining } else { Intake::Open },
        admin: admin.map(|text| admin_address(&text)).transpose()?,
    })
}

fn admin_address(text: &str) -> Result<SocketAddr, Invalid> {
    text.parse().or_else(|_| {
        invalid("admin", format!("{text:?} is no address with a port"), "write one such as 127.0.0.1:9464")
    })
}

fn core_config(core: file::Core, folder: &Path) -> Result<CoreConfig, Invalid> {
    if !core.address.starts_with("https://") {
        return invalid(
            "core.address",
            format!("{:?} is not an https URL", core.address),
            "write https://HOST:PORT",
        );
    }
    Ok(CoreConfig {
        address: core.address,
        ca: folder.join(core.ca),
        certificate: folder.join(core.certificate),
        key: folder.join(core.key),
        log_policy: folder.join(core.log_policy),
    })
}

fn listener(listener: file::Listener, index: usize, folder: &Path) -> Result<ListenerConfig, Invalid> {
    let key = |field: &str| format!("listeners[{index}].{field}");
    let file::Listener { name, address, port, protocol, start_tls, peers } = listener;
    if name.trim().is_empty() {
        return invalid(key("name"), "it is empty", "write one such as journal; logs and status name it");
    }
    let ip = match address {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(text) => match text.parse() {
            Ok(ip) => ip,
            Err(_) => {
                return invalid(
                    key("address"),
                    format!("{text:?} is no IP address"),
                    "write one such as 0.0.0.0 or ::",
                );
            }
        },
    };
    let protocol = match protocol.as_deref() {
        None | Some("smtp") => Protocol::Smtp,
        Some("lmtp") if port == SMTP_PORT => {
            return invalid(
                key("port"),
                "25 is for SMTP, not for LMTP (RFC 2033)",
                "write another such as 2424",
            );
        }
        Some("lmtp") => Protocol::Lmtp,
        Some(text) => {
            return invalid(key("protocol"), format!("{text:?} is no protocol"), "write smtp or lmtp");
        }
    };
    let certificate = match (start_tls.certificate, start_tls.key) {
        (Some(certificate), Some(key)) => {
            CertificateSource::Given { certificate: folder.join(certificate), key: folder.join(key) }
        }
        (None, None) => CertificateSource::SelfSigned,
        _ => return invalid(key("startTLS"), "certificate and key belong together", "give both or neither"),
    };
    if peers.is_empty() {
        return invalid(key("peers"), "nobody could deliver", "list the mail servers that journal here");
    }
    let peers = peers
        .into_iter()
        .enumerate()
        .map(|(place, one)| peer(&one, &key(&format!("peers[{place}]"))))
        .collect::<Result<_, _>>()?;
    let start_tls = if start_tls.required { StartTls::Required } else { StartTls::Offered };
    let address = SocketAddr::new(ip, port);
    Ok(ListenerConfig { name, address, protocol, start_tls, certificate, peers })
}

fn peer(peer: &file::Peer, key: &str) -> Result<Peer, Invalid> {
    let Ok(mode) = peer.journal_mode.parse() else {
        let problem = format!("{:?} is no journal mode", peer.journal_mode);
        let remedy = "write plain, jrn-plus, x-envelope-to or exchange-report";
        return invalid(format!("{key}.journalMode"), problem, remedy);
    };
    if peer.cidrs.is_empty() {
        return invalid(format!("{key}.cidrs"), "it matches nobody", "list networks such as 192.0.2.0/24");
    }
    let cidrs = peer
        .cidrs
        .iter()
        .map(|text| {
            let network: Option<IpNet> =
                text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            network.map_or_else(
                || {
                    invalid(
                        format!("{key}.cidrs"),
                        format!("{text:?} is no network"),
                        "write one such as 192.0.2.0/24",
                    )
                },
                Ok,
            )
        })
        .collect::<Result<_, _>>()?;
    Ok(Peer { cidrs, mode, limits: peer_limits(&peer.limits, &format!("{key}.limits"))? })
}

fn peer_limits(limits: &file::PeerLimits, key: &str) -> Result<PeerLimits, Invalid> {
    let default = PeerLimits::default();
    if limits.connections == Some(0) {
        return invalid(format!("{key}.connections"), "0 lets nobody in", "give at least 1");
    }
    let rate = |field: &str, given: Option<u32>| match given {
        Some(number) if !(1..=RATE_PER_MINUTE_MAX).contains(&number) => invalid(
            format!("{key}.{field}"),
            format!("{number} a minute is no rate that can be held"),
            "give 1 to 100000, or leave it out for no limit",
        ),
        given => Ok(given),
    };
    Ok(PeerLimits {
        connections_max: limits.connections.unwrap_or(default.connections_max),
        connections_per_minute: rate("connectionsPerMinute", limits.connections_per_minute)?,
        mails_per_minute: rate("mailsPerMinute", limits.mails_per_minute)?,
    })
}

fn host_name(given: Option<String>) -> Result<String, Invalid> {
    // Where the system does not say, a greeting needs some name all the same.
    let name = given.unwrap_or_else(|| {
        fs::read_to_string("/proc/sys/kernel/hostname")
            .map_or_else(|_| "localhost".to_owned(), |n| n.trim().to_owned())
    });
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if name.is_empty() || name.len() > 255 || !name.bytes().all(plain) {
        return invalid("hostname", format!("{name:?} is no host name"), "write one such as mx1.example.com");
    }
    Ok(name)
}

fn checked_limits(limits: &file::Limits) -> Result<Limits, Invalid> {
    let default = Limits::default();
    let message_bytes_max = limits.message_size.map_or(default.message_bytes_max, |size| size.0);
    if message_bytes_max == 0 || message_bytes_max > MESSAGE_BYTES_MAX {
        return invalid("limits.messageSize", format!("{message_bytes_max} bytes"), "give 1 byte to 150MiB");
    }
    let connections_max = limits.connections.unwrap_or(default.connections_max);
    if connections_max == 0 {
        return invalid("limits.connections", "0 lets nobody in", "give at least 1");
    }
    let seconds = |key: &str, given: Option<u64>, default: Duration| match given {
        Some(0) => invalid(key, "0 seconds is no time at all", "give at least 1"),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Ok(default),
    };
    Ok(Limits {
        message_bytes_max,
        connections_max,
        command_timeout: seconds(
            "limits.commandTimeoutSeconds",
            limits.command_timeout_seconds,
            default.command_timeout,
        )?,
        body_timeout: seconds(
            "limits.bodyTimeoutSeconds",
            limits.body_timeout_seconds,
            default.body_timeout,
        )?,
        tls_handshake_timeout: default.tls_handshake_timeout,
    })
}
