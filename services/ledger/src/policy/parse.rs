use std::{collections::BTreeMap, str::FromStr};

use super::{Member, POLICY_BYTES_MAX, Policy, Quorum};
use crate::{
    cosignature::WitnessKey,
    note::{KeyError, Verifier},
};

/// A line that makes a file no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the policy: {kind}")]
pub struct PolicyError {
    /// From 1 on; the last one for what is missing from the whole file.
    pub line: usize,
    pub kind: PolicyErrorKind,
}

/// What is wrong with the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyErrorKind {
    #[error("the file is longer than {POLICY_BYTES_MAX} bytes")]
    TooLong,
    #[error("a control character other than tab and newline")]
    ControlCharacter,
    #[error("the file does not end in a newline")]
    NoNewline,
    #[error("a line begins with `log`, `witness`, `group`, `quorum` or #")]
    UnknownKeyword,
    #[error("too few or too many items")]
    Items,
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("a log or witness with this public key was listed before")]
    DuplicateKey,
    #[error("this name was defined before, or is the predefined `none`")]
    DuplicateName,
    #[error("a name that no line before defines")]
    UndefinedName,
    #[error("a name can be a member of one group only, once")]
    UsedTwice,
    #[error("the threshold is `all`, `any`, or a number from 1 to that of the members")]
    Threshold,
    #[error("a policy has exactly one quorum line")]
    Quorum,
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::parse(text.as_bytes())
    }
}

impl Policy {
    /// Reads a policy file. Octets beyond ASCII are opaque.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        let at = |line: usize| move |kind: PolicyErrorKind| PolicyError { line, kind };
        if file.len() > POLICY_BYTES_MAX {
            return Err(at(1)(PolicyErrorKind::TooLong));
        }
        let mut parser = Parser::default();
        let mut lines = 0;
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            lines += 1;
            let line = line.strip_suffix(b"\n").ok_or(at(lines)(PolicyErrorKind::NoNewline))?;
            parser.line(line).map_err(at(lines))?;
        }
        let Parser { logs, members, quorum, .. } = parser;
        let quorum = quorum.ok_or(at(lines.max(1))(PolicyErrorKind::Quorum))?;
        Ok(Self { logs, members, quorum })
    }
}

#[derive(Default)]
struct Parser {
    logs: Vec<Verifier>,
    members: Vec<Member>,
    names: BTreeMap<Vec<u8>, usize>,
    /// By member: whether a group already lists it.
    used: Vec<bool>,
    quorum: Option<Quorum>,
}

impl Parser {
    fn line(&mut self, line: &[u8]) -> Result<(), PolicyErrorKind> {
        if line.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err(PolicyErrorKind::ControlCharacter);
        }
        let items: Vec<&[u8]> =
            line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] | [b"log", key, _] => self.log(key),
            [b"witness", name, key] | [b"witness", name, key, _] => self.witness(name, key),
            [b"group", name, threshold, members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            [b"quorum", name] => self.quorum(name),
            [b"log" | b"witness" | b"group" | b"quorum", ..] => Err(PolicyErrorKind::Items),
            _ => Err(PolicyErrorKind::UnknownKeyword),
        }
    }

    fn log(&mut self, key: &[u8]) -> Result<(), PolicyErrorKind> {
        let key: Verifier = text(key)?.parse()?;
        if self.logs.iter().any(|log| log.public_key() == key.public_key()) {
            return Err(PolicyErrorKind::DuplicateKey);
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &[u8]) -> Result<(), PolicyErrorKind> {
        let key: WitnessKey = text(key)?.parse()?;
        let same = |member: &Member| matches!(member, Member::Witness { key: listed, .. } if listed.public_key() == key.public_key());
        if self.members.iter().any(same) {
            return Err(PolicyErrorKind::DuplicateKey);
        }
        self.define(name, Member::Witness { name: name.to_vec(), key })
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], listed: &[&[u8]]) -> Result<(), PolicyErrorKind> {
        let mut members = Vec::with_capacity(listed.len());
        for member in listed {
            let position = self.position(member)?;
            if std::mem::replace(&mut self.used[position], true) {
                return Err(PolicyErrorKind::UsedTwice);
            }
            members.push(position);
        }
        let threshold = match threshold {
            b"all" => members.len(),
            b"any" => 1,
            number => text(number)
                .ok()
                .and_then(|number| number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok())?)
                .filter(|number| (1..=members.len()).contains(number))
                .ok_or(PolicyErrorKind::Threshold)?,
        };
        self.define(name, Member::Group { name: name.to_vec(), threshold, members })
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), PolicyErrorKind> {
        if self.quorum.is_some() {
            return Err(PolicyErrorKind::Quorum);
        }
        let nobody = name == b"none";
        self.quorum = Some(if nobody { Quorum::Nobody } else { Quorum::Member(self.position(name)?) });
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), PolicyErrorKind> {
        if name == b"none" || self.names.contains_key(name) {
            return Err(PolicyErrorKind::DuplicateName);
        }
        self.names.insert(name.to_vec(), self.members.len());
        self.members.push(member);
        self.used.push(false);
        Ok(())
    }

    fn position(&self, name: &[u8]) -> Result<usize, PolicyErrorKind> {
        self.names.get(name).copied().ok_or(PolicyErrorKind::UndefinedName)
    }
}

/// A key is text: its name may hold any Unicode but spaces.
fn text(item: &[u8]) -> Result<&str, PolicyErrorKind> {
    std::str::from_utf8(item).map_err(|_| PolicyErrorKind::Key(KeyError::Form))
}
