//! Something made of files, made again when they have changed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use openarchive_domain::Digest;
use tracing::{info, warn};

use super::{TlsError, pem::Pem};

/// The files are looked at this often at most, and only when a connection begins.
pub const TLS_CHECK_SECONDS: u64 = 1;

type Make<T> = fn(&[Pem]) -> Result<T, TlsError>;

pub(super) struct Reloading<T> {
    sources: Vec<(&'static str, PathBuf)>,
    make: Make<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    current: Arc<T>,
    /// Of what [`Self::current`] was made.
    contents: Digest,
    /// Why the files of now are not in use, once that has been logged.
    refused: Option<String>,
    check_at: Instant,
}

impl<T> Reloading<T> {
    pub(super) fn load(sources: Vec<(&'static str, PathBuf)>, make: Make<T>) -> Result<Self, TlsError> {
        let (files, contents) = read(&sources)?;
        let current = Arc::new(make(&files)?);
        let state = State { current, contents, refused: None, check_at: next_check(Instant::now()) };
        Ok(Self { sources, make, state: Mutex::new(state) })
    }

    pub(super) fn current(&self) -> Arc<T> {
        self.current_at(Instant::now())
    }

    /// Reads a few small files once in [`TLS_CHECK_SECONDS`]. Contents are compared, not times: a file that is written
    /// twice within a clock tick, or restored with its old time, is seen too.
    pub(super) fn current_at(&self, now: Instant) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= state.check_at {
            state.check_at = next_check(now);
            self.check(&mut state);
        }
        state.current.clone()
    }

    fn check(&self, state: &mut State<T>) {
        let changed = read(&self.sources).and_then(|(files, contents)| {
            if contents == state.contents { Ok(None) } else { Ok(Some(((self.make)(&files)?, contents))) }
        });
        match changed {
            Ok(None) => state.refused = None,
            Ok(Some((made, contents))) => {
                info!("the TLS files have changed; new connections use them");
                *state = State { current: Arc::new(made), contents, refused: None, check_at: state.check_at };
            }
            Err(error) => {
                let why = error.to_string();
                if state.refused.as_ref() != Some(&why) {
                    warn!(%error, "the TLS files have changed and cannot be used; the earlier ones stay in use");
                    state.refused = Some(why);
                }
            }
        }
    }
}

fn next_check(now: Instant) -> Instant {
    now + Duration::from_secs(TLS_CHECK_SECONDS)
}

fn read(sources: &[(&'static str, PathBuf)]) -> Result<(Vec<Pem>, Digest), TlsError> {
    let files = sources.iter().map(|(what, path)| Pem::read(what, path.clone()));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let digests: Vec<u8> = files.iter().flat_map(|file| *Digest::of(&file.bytes).as_bytes()).collect();
    Ok((files, Digest::of(&digests)))
}
