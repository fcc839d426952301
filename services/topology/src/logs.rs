use crate::{Caller, Role};

/// A kind of log of the ledger: whoever may call trust's methods may use them on these logs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// As in the log's origin: `ARCHIVE/TENANT/NAME/EPOCH`.
    pub name: &'static str,
    pub appenders: &'static [Role],
    /// Of leaves, checkpoints and proofs.
    pub readers: &'static [Role],
}

/// Every kind of log.
pub const STREAMS: &[Stream] = &[
    Stream {
        name: "evidence",
        appenders: &[Role::Ingest, Role::Storage],
        readers: &[Role::Ingest, Role::Storage, Role::Gateway],
    },
    Stream { name: "audit", appenders: &[Role::Gateway], readers: &[Role::Gateway] },
    Stream { name: "config", appenders: &[Role::Operator], readers: &[Role::Operator] },
];

fn stream(name: &str) -> Option<&'static Stream> {
    STREAMS.iter().find(|stream| stream.name == name)
}

/// Whether `caller` may append to logs of this kind.
pub fn may_append(name: &str, caller: Caller) -> bool {
    stream(name).is_some_and(|stream| is_one_of(stream.appenders, caller))
}

/// Whether `caller` may read leaves, checkpoints and proofs of logs of this kind.
pub fn may_read(name: &str, caller: Caller) -> bool {
    stream(name).is_some_and(|stream| is_one_of(stream.readers, caller))
}

fn is_one_of(roles: &[Role], caller: Caller) -> bool {
    roles.iter().any(|role| Caller::Role(*role) == caller)
}
