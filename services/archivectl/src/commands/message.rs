use std::{
    io::{self, Read, Write},
    path::Path,
};

use openarchive_domain::{Digest, DigestHasher};

use crate::{
    answers::{self, Message, Observation},
    api::{self, Api},
    arguments::{Format, GetArguments, ShowArguments},
    failure::Failure,
    output, terminal,
    whole_file::WholeFile,
};

const PIECE_BYTES: usize = 64 * 1024;

/// The mail's exact bytes. A file is there whole and under its digest, or not at all.
pub(crate) fn get(
    connect: impl FnOnce() -> Result<Api, Failure>,
    arguments: &GetArguments,
) -> Result<(), Failure> {
    let id = arguments.id;
    let file = arguments.output.as_deref().filter(|path| *path != Path::new("-"));
    if arguments.output.is_none() && output::is_terminal() {
        return Err(Failure::other(
            "a mail's raw bytes can steer a terminal: name a file with -o FILE, use `message show`, or insist with -o -",
        ));
    }
    let api = connect()?;
    let mut content = api.stream(&format!("/api/v1/archive/emails/{id}/eml"))?;
    match file {
        None => {
            let mut out = io::stdout().lock();
            copy(&mut content, &mut out, id, output::of_stdout)?;
            out.flush().map_err(|error| output::of_stdout(&error))
        }
        Some(path) => {
            let mut whole = WholeFile::create(path)?;
            copy(&mut content, &mut whole, id, |error| Failure::file("cannot write", path, error))?;
            whole.keep()
        }
    }
}

/// Copies content that must have the digest `id`.
fn copy(
    from: &mut impl Read,
    to: &mut impl Write,
    id: Digest,
    not_written: impl Fn(&io::Error) -> Failure,
) -> Result<(), Failure> {
    let mut hasher = DigestHasher::default();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(api::broke_off(&error)),
        };
        hasher.update(&piece[..length]);
        to.write_all(&piece[..length]).map_err(|error| not_written(&error))?;
    }
    let found = hasher.finish();
    if found == id {
        return Ok(());
    }
    Err(Failure::Verification(format!(
        "what the archive sent as {id} has the digest {found}: do not use it, and run `openarchive fsck` there"
    )))
}

/// What the archive says about the mail, then its text.
pub(crate) fn show(api: &Api, arguments: &ShowArguments) -> Result<(), Failure> {
    let id = arguments.id;
    let answer = api.get(&format!("/api/v1/archive/emails/{id}/"), &[])?;
    if arguments.list.format == Format::Json {
        return output::say(&terminal::json(&answer));
    }
    let text = api.text(&format!("/api/v1/archive/emails/{id}/text"), &[])?;
    output::say(&format!("{}\n{}", description(&answers::read(&answer)?), terminal::paragraphs(&text)))
}

fn description(message: &Message) -> String {
    let mut lines = vec![
        format!("ID: {}", message.id),
        format!("Archived: {}, {} bytes, kept as {}", message.archived_at, message.length, message.class),
    ];
    if !message.flags.is_empty() {
        lines.push(format!("Flags: {}", message.flags.join(", ")));
    }
    for Observation { agent, seq, state, envelope, occurred_at } in &message.observations {
        let to = envelope.to.iter().map(|to| format!("<{to}>")).collect::<Vec<_>>().join(", ");
        lines.push(format!(
            "Seen: {occurred_at} by {agent}, number {seq}, {state}, <{}> to {to}",
            envelope.from
        ));
    }
    lines.iter().map(|line| terminal::line(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_accepted_only_under_its_own_digest() {
        let mail = vec![7; PIECE_BYTES * 2 + 1];
        let check = |id, expected_exit: Option<u8>| {
            let mut out = Vec::new();
            let copied = copy(&mut mail.as_slice(), &mut out, id, |_| unreachable!());
            assert_eq!(copied.err().map(|failure| failure.exit_code()), expected_exit);
            assert_eq!(out, mail);
        };
        check(Digest::of(&mail), None);
        check(Digest::of(b"another"), Some(3));
    }

    #[test]
    fn a_mail_is_described_by_when_and_by_whom_it_was_seen() {
        let answer = serde_json::json!({
            "id": "sha256:aa", "length": 12, "class": "10y-received-forbidden", "flags": ["nul"],
            "archived_at": "2024-03-01T08:00:00.000Z",
            "observations": [{
                "agent": "mx1", "seq": 5, "state": "stored", "occurred_at": "2024-03-01T07:59:00.000Z",
                "envelope": { "from": "", "to": ["b@x.test", "\u{1b}[2J@x.test"], "mode": "plain", "peer": "::1" },
            }],
        });
        insta::assert_snapshot!(description(&answers::read(&answer).unwrap()), @r"
        ID: sha256:aa
        Archived: 2024-03-01T08:00:00.000Z, 12 bytes, kept as 10y-received-forbidden
        Flags: nul
        Seen: 2024-03-01T07:59:00.000Z by mx1, number 5, stored, <> to <b@x.test>, <�[2J@x.test>
        ");
    }
}
