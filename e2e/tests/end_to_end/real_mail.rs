//! Real mail: through SMTP (converted to CRLF) and through import (as it is). `OPENARCHIVE_CORPUS_MAILS=all` takes all
//! 6,046 of the public SpamAssassin set and the test mail of other mail software, `further` only the latter; by default a
//! seeded 600 of the set.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use openarchive_domain::Digest;
use openarchive_e2e::{Agent, AgentOptions, Archive, eventually, skip};
use openarchive_testkit::{
    mailbox::{self, to_crlf},
    sample_mail::Numbers,
    smtp_client::SmtpClient,
};

const SAMPLE_MAILS: usize = 600;
/// Sets that `scripts/corpus.sh all` fetches besides, and how many mails each has at least.
const FURTHER_MAILS_MIN: [(&str, usize); 4] =
    [("bigbang", 279), ("crates", 133), ("debian", 500), ("flufl-bounce", 117)];

/// What it is called where it was fetched, and its bytes.
type Mail = (String, Vec<u8>);

fn corpus() -> Option<Vec<Mail>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/spam-assassin/package/data");
    if !folder.is_dir() {
        return None;
    }
    let mut mails = Vec::new();
    let mut names: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    names.sort();
    for name in names {
        let mut files: Vec<PathBuf> = fs::read_dir(&name)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "txt"))
            .collect();
        files.sort();
        mails.extend(files.iter().map(|file| read(file)));
    }
    assert_eq!(mails.len(), 6_046, "the corpus is whole");
    match std::env::var("OPENARCHIVE_CORPUS_MAILS").as_deref() {
        Ok("all") => {
            mails.extend(further_mails());
            return Some(mails);
        }
        Ok("further") => return Some(further_mails()),
        _ => {}
    }
    let mut numbers = Numbers::seeded(600);
    let mut chosen = BTreeSet::new();
    while chosen.len() < SAMPLE_MAILS {
        chosen.insert(numbers.below(mails.len()));
    }
    Some(mails.into_iter().enumerate().filter(|(n, _)| chosen.contains(n)).map(|(_, mail)| mail).collect())
}

/// What `scripts/corpus.sh all` fetched besides: mail that other programs are tested with, broken mail among it.
fn further_mails() -> Vec<Mail> {
    let mut all = Vec::new();
    for (set, mails_min) in FURTHER_MAILS_MIN {
        let mails = mails_of(set);
        eprintln!("real mail: {} of {set}", mails.len());
        assert!(mails.len() >= mails_min, "{set} is whole: `scripts/corpus.sh all` fetches it");
        all.extend(mails);
    }
    all
}

/// Each file of `mails` is one mail, each of `mboxes` holds many.
fn mails_of(set: &str) -> Vec<Mail> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/real-mail").join(set);
    let mut mails = Vec::new();
    for file in files(&folder.join("mails")) {
        mails.push((format!("{set}/{}", file.file_name().unwrap().display()), fs::read(&file).unwrap()));
    }
    for file in files(&folder.join("mboxes")) {
        let name = file.file_name().unwrap().display().to_string();
        let read = mailbox::read(&file).unwrap().into_iter().enumerate();
        mails.extend(read.map(|(number, mail)| (format!("{set}/{name}#{number}"), mail)));
    }
    mails
}

/// By name; none where there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn read(file: &Path) -> Mail {
    let set = file.parent().unwrap().file_name().unwrap();
    (format!("{}/{}", set.display(), file.file_name().unwrap().display()), fs::read(file).unwrap())
}

#[test]
fn real_mail_comes_out_with_the_sha256_it_went_in_with() {
    let Some(mails) = corpus() else {
        skip("no mail corpus: `make corpus` fetches it (npm)");
        return;
    };
    let archive = Archive::all();
    let mut agent = Agent::start_new(&archive, AgentOptions::default());

    let mut client = SmtpClient::connect(&agent.smtp()).unwrap();
    let mut expected: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    for (_, mail) in &mails {
        let mail = to_crlf(mail);
        let reply = client.send("corpus@example.org", &["archive@example.org".into()], &mail).unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
        expected.insert(Digest::of(&mail), mail);
    }
    drop(client);
    let refused = refused_for_bare_lf(&agent.smtp(), &mails);
    agent.wait_drained(600);
    let through_smtp = expected.len() as u64;
    archive.wait_searchable(through_smtp, 600);

    // As they are: a copy with LF is another message (evidence.md section 1).
    let folder = archive.scratch("corpus");
    fs::create_dir(&folder).unwrap();
    for (n, (_, mail)) in mails.iter().enumerate() {
        fs::write(folder.join(format!("{n:05}.eml")), mail).unwrap();
        expected.insert(Digest::of(mail), mail.clone());
    }
    agent.terminate();
    let imported = agent.command(&["import", folder.to_str().unwrap()]);
    assert_eq!(imported.code, 0, "{imported:?}");
    agent.start();
    agent.wait_drained(600);
    archive.wait_searchable(expected.len() as u64, 600);

    // A second run stores no new content and adds observations only.
    let first = completeness(&archive);
    agent.terminate();
    let again = agent.command(&["import", folder.to_str().unwrap()]);
    assert_eq!(again.code, 0, "{again:?}");
    agent.start();
    agent.wait_drained(600);
    assert_eq!(archive.count("*"), expected.len() as u64);
    // The agent writes its figures twice a second.
    let figures = eventually("each mail of the second run has its receipt", 30, || {
        let figures = agent.status()["sync"].clone();
        (figures["committed"].as_u64()? == mails.len() as u64).then_some(figures)
    });
    assert_eq!(figures["uploadedBytes"].as_u64(), Some(0), "{figures}");
    let second = completeness(&archive);
    let distinct = expected.len() as u64;
    let seats = 2 * mails.len() as u64;
    assert_eq!(first, Counts { stored: distinct, duplicate: seats - distinct, last_seq: seats });
    let seats = 3 * mails.len() as u64;
    assert_eq!(second, Counts { stored: distinct, duplicate: seats - distinct, last_seq: seats });

    for (digest, bytes) in &expected {
        let to = archive.scratch("one.eml");
        let got = archive.ctl(&["message", "get", &digest.to_string(), "-o", to.to_str().unwrap()]);
        assert_eq!(got.code, 0, "{digest}: {got:?}");
        assert_eq!(&fs::read(&to).unwrap(), bytes, "{digest}");
    }
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/refused-by-smtp.txt");
    fs::write(&list, refused.join("\n")).unwrap();
    // Written past the test's captured output, so that it is seen in every run.
    writeln!(
        std::io::stderr(),
        "real mail: {} mails, {} messages, byte-exact; as they are, SMTP refuses {} of them, each for bare LF: \
         .cache/refused-by-smtp.txt lists them",
        mails.len(),
        expected.len(),
        refused.len()
    )
    .unwrap();
    // mailbox::read is how the demo reads the same folder.
    assert_eq!(mailbox::read(&folder).unwrap().len(), mails.len());
}

/// Sends each mail with a bare LF as it is: names of those that were refused, which must be all of them.
fn refused_for_bare_lf(smtp: &str, mails: &[Mail]) -> Vec<String> {
    let bare = |mail: &[u8]| {
        mail.iter().zip([0].iter().chain(mail)).any(|(byte, before)| *byte == b'\n' && *before != b'\r')
    };
    let (mut refused, mut told) = (Vec::new(), 0);
    for (name, mail) in mails.iter().filter(|(_, mail)| bare(mail)) {
        let mut client = SmtpClient::connect(smtp).unwrap();
        match client.send("corpus@example.org", &["archive@example.org".into()], mail) {
            Ok(reply) => {
                assert_eq!(reply.code, 550, "{name}: {reply:?}");
                told += 1;
            }
            // The agent closes at the first bare LF; the reply is lost where more of the mail was still on its way.
            Err(error) => assert!(error.downcast_ref::<std::io::Error>().is_some(), "{name}: {error:?}"),
        }
        refused.push(name.clone());
    }
    assert!(told > refused.len() / 2, "{told} of {} refusals were read", refused.len());
    refused
}

/// What the one agent's numbers have become.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    stored: u64,
    duplicate: u64,
    last_seq: u64,
}

fn completeness(archive: &Archive) -> Counts {
    let rows = archive.ctl(&["completeness", "-o", "json"]).json();
    let row = &rows["rows"][0];
    assert_eq!(row["gaps"].as_array().map(Vec::len), Some(0), "{row}");
    // 64-bit numbers are strings in JSON.
    let number = |name: &str| {
        row[name].as_u64().or_else(|| row[name].as_str().and_then(|text| text.parse().ok())).unwrap()
    };
    Counts { stored: number("stored"), duplicate: number("duplicate"), last_seq: number("last_seq") }
}
