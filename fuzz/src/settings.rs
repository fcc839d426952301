//! What people write, and who they say they are.

use std::{fmt::Display, fs, str::FromStr};

use openarchive_domain::{AgentName, AgentRef, Digest, RetentionClass, Tenant, Timestamp};
use openarchive_edge::config::Config;
use openarchive_index::{
    analyser::{TOKEN_BYTES_MAX, analyse},
    highlight::{FRAGMENTS_MAX, MailText, highlight},
    query::{QUERY_BYTES_MAX, Query},
};
use openarchive_rpc::PeerIdentity;

/// A query, and behind the first line feed a text that it may be found in. What is written reads back as the same
/// query; what is marked lies in the text.
pub(crate) fn query(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (query, text) = text.split_once('\n').unwrap_or((&text, ""));
    check_tokens(text);
    match Query::parse(query) {
        Ok(parsed) => {
            assert!(query.len() <= QUERY_BYTES_MAX);
            let written = parsed.to_string();
            // The canonical form may be longer than what people may send.
            if written.len() <= QUERY_BYTES_MAX {
                assert_eq!(Query::parse(&written).as_ref(), Ok(&parsed), "{query:?} is written {written:?}");
            }
            let mail = MailText { subject: query.to_owned(), body: text.to_owned(), ..MailText::default() };
            let fragments = highlight(&parsed, &mail);
            assert!(fragments.len() <= FRAGMENTS_MAX);
            for fragment in fragments {
                let characters = fragment.text.chars().count();
                let mut from = 0;
                for found in fragment.matches {
                    assert!(from <= found.start && found.start < found.end && found.end <= characters);
                    from = found.end;
                }
            }
        }
        Err(error) => assert!(!error.caret(query).is_empty() && !error.to_string().is_empty()),
    }
}

/// Tokens stand for places of the text, in order, numbered without gaps.
fn check_tokens(text: &str) {
    for (position, token) in analyse(text).iter().enumerate() {
        assert_eq!(token.position, position);
        assert!(!token.text.is_empty() && token.text.len() <= TOKEN_BYTES_MAX);
        assert!(text.get(token.start..token.end).is_some_and(|source| !source.is_empty()), "{token:?}");
    }
}

/// Names, classes and times are read in one writing only; a digest may stand without its prefix.
pub(crate) fn names(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    check_name::<Tenant>(text);
    check_name::<AgentName>(text);
    check_name::<AgentRef>(text);
    check_name::<RetentionClass>(text);
    check_name::<Timestamp>(text);
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
}

fn check_name<T: FromStr + Display>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string(), text);
    }
}

/// An agent's configuration is read or refused with words; it makes no more of itself than was written.
pub(crate) fn agent_config(input: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join("agent.yaml");
    if fs::write(&path, input).is_err() {
        return;
    }
    match Config::load(&path) {
        Ok(config) => {
            assert!(!config.listeners.is_empty() && config.listeners.len() <= input.len());
            assert!(config.limits.message_bytes_max > 0 && config.high_water_bytes > 0);
        }
        Err(error) => assert!(error.to_string().len() <= 16 * input.len() + 1024, "{error}"),
    }
}

/// Whoever a certificate names is in the archive's own domain; whatever else it is, it names nobody.
pub(crate) fn certificate(input: &[u8]) {
    const DOMAIN: &str = "archive.test";
    if let Ok(identity) = PeerIdentity::of_certificate(input, DOMAIN) {
        let (service, agent) = (b"spiffe://archive.test/service/", b"spiffe://archive.test/tenant/");
        let named = |uri: &[u8]| input.windows(uri.len()).any(|window| window == uri);
        match identity {
            PeerIdentity::Service(_) => assert!(named(service)),
            PeerIdentity::Agent(agent_identity) => {
                assert!(named(agent));
                let name = agent_identity.agent.to_string();
                assert!(name.parse::<AgentRef>().is_ok_and(|agent| agent == agent_identity.agent));
            }
            PeerIdentity::Anonymous => assert_eq!(0, 1, "a certificate that names nobody was taken"),
        }
    }
}
