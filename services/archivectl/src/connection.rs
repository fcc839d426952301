//! Which archive, with which token, under whose certificate: from the command line, or from a data folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use reqwest::Url;
use serde::Deserialize;

use crate::{arguments::ArchiveArguments, failure::Failure};

/// Largest token, endpoints or certificate file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where to call, and as whom.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) url: Url,
    pub(crate) token: String,
    /// PEM certificates of the only authorities to trust; the system's if there are none.
    pub(crate) authorities: Option<Vec<u8>>,
}

/// `endpoints.json` of a data folder, written by a running archive.
#[derive(Debug, Deserialize)]
struct Endpoints {
    gateway: String,
}

impl Connection {
    /// What stands on the command line or in the environment goes before what a data folder says.
    pub(crate) fn of(arguments: &ArchiveArguments) -> Result<Self, Failure> {
        let in_data = |name: &str| arguments.data.as_ref().map(|folder| folder.join(name));
        let url = match (&arguments.url, &arguments.data) {
            (Some(url), _) => url.clone(),
            (None, Some(folder)) => running_gateway(folder)?,
            (None, None) => {
                return Err(Failure::other(
                    "which archive? Name it: --url URL with --token-file FILE, or --data DIR",
                ));
            }
        };
        let Some(token_file) = arguments.token_file.clone().or_else(|| in_data("api-token")) else {
            return Err(Failure::other("no API token: name the file that holds it with --token-file FILE"));
        };
        let token = read(&token_file)?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::other(format!("{} holds no API token", token_file.display())));
        }
        let authorities = match (&arguments.ca, in_data("tls/ca.pem")) {
            (Some(path), _) => Some(read(path)?),
            // With an address of its own, a data folder without an authority may lend only its token.
            (None, Some(path)) if arguments.url.is_none() || path.is_file() => Some(read(&path)?),
            _ => None,
        };
        Ok(Self { url: parse_url(&url)?, token, authorities })
    }
}

fn running_gateway(folder: &Path) -> Result<String, Failure> {
    let path = folder.join("endpoints.json");
    let bytes = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::other(format!(
            "cannot read {}: is the archive running over this folder? `openarchive dev --data DIR` starts one",
            path.display()
        )),
        _ => Failure::file("cannot read", &path, &error),
    })?;
    let endpoints: Result<Endpoints, _> = serde_json::from_slice(&bytes);
    endpoints.map(|endpoints| endpoints.gateway).map_err(|error| {
        Failure::other(format!("{} is damaged ({error}): start the archive again", path.display()))
    })
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let failure = |error: &io::Error| Failure::file("cannot read", path, error);
    let length = fs::metadata(path).map_err(|error| failure(&error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(Failure::other(format!("{} has {length} bytes: is it the right file?", path.display())));
    }
    fs::read(path).map_err(|error| failure(&error))
}

/// https; or http to this very machine, where nobody listens in on the token.
fn parse_url(text: &str) -> Result<Url, Failure> {
    let url: Url = text.parse().map_err(|error| {
        Failure::other(format!("{text} is no address ({error}): write https://HOST:PORT"))
    })?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(Failure::other(format!("{text} would show the API token to the network: use https"))),
    }
}

/// Whether an address is on this very machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(folder: &Path) -> ArchiveArguments {
        ArchiveArguments { url: None, token_file: None, ca: None, data: Some(folder.to_owned()) }
    }

    #[test]
    fn a_data_folder_gives_address_token_and_authority_and_the_command_line_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("tls")).unwrap();
        file("endpoints.json", r#"{"gateway": "https://localhost:4443", "ingest": "x", "pid": 1}"#);
        file("api-token", "oa_secret\n");
        file("tls/ca.pem", "PEM");
        file("other-token", "oa_other");
        let found = Connection::of(&arguments(folder.path())).unwrap();
        assert_eq!((found.url.as_str(), found.token.as_str()), ("https://localhost:4443/", "oa_secret"));
        assert_eq!(found.authorities.as_deref(), Some(b"PEM".as_slice()));
        let overridden = ArchiveArguments {
            url: Some("http://127.0.0.1:1".to_owned()),
            token_file: Some(folder.path().join("other-token")),
            ..arguments(folder.path())
        };
        let found = Connection::of(&overridden).unwrap();
        assert_eq!((found.url.as_str(), found.token.as_str()), ("http://127.0.0.1:1/", "oa_other"));
        file("api-token", " \n");
        assert!(Connection::of(&arguments(folder.path())).unwrap_err().to_string().contains("no API token"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let nothing = ArchiveArguments { url: None, token_file: None, ca: None, data: None };
        assert!(Connection::of(&nothing).unwrap_err().to_string().contains("--data DIR"));
        let no_token = ArchiveArguments { url: Some("https://a.test".to_owned()), ..nothing };
        assert!(Connection::of(&no_token).unwrap_err().to_string().contains("--token-file FILE"));
        let folder = tempfile::tempdir().unwrap();
        let stopped = Connection::of(&arguments(folder.path())).unwrap_err();
        assert!(stopped.to_string().contains("openarchive dev --data"), "{stopped}");
    }

    #[test]
    fn a_token_does_not_travel_in_clear() {
        for good in
            ["https://archive.example.com", "http://localhost:80", "http://127.0.0.1:8080", "http://[::1]:1"]
        {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for bad in
            ["http://archive.example.com", "http://10.0.0.1", "ftp://localhost", "archive.example.com", ""]
        {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }
}
