//! BDAT (RFC 3030). Postfix takes it and never sends it, so the client is ours: the same dialogues are held with Postfix
//! and with the agent, and must be answered with the same codes; and what Postfix took by BDAT is archived.

use openarchive_testkit::{sample_mail::Numbers, smtp_client::SmtpClient};

use super::*;

const BEGUN: &str = "MAIL FROM:<a@example.test>\r\nRCPT TO:<open@example.test>\r\n";

/// What a client sends after EHLO, all at once, and how many replies that is.
fn dialogues() -> Vec<(&'static str, String, usize)> {
    let mail = "Subject: chunks\r\n\r\nbody\r\n";
    let bytes = mail.len();
    vec![
        ("one chunk", format!("{BEGUN}BDAT {bytes} LAST\r\n{mail}NOOP\r\n"), 4),
        (
            "two chunks",
            format!("{BEGUN}BDAT 10\r\n{}BDAT {} LAST\r\n{}", &mail[..10], bytes - 10, &mail[10..]),
            4,
        ),
        ("an empty last chunk", format!("{BEGUN}BDAT {bytes}\r\n{mail}BDAT 0 LAST\r\n"), 4),
        ("two mails", format!("{BEGUN}BDAT {bytes} LAST\r\n{mail}{BEGUN}BDAT {bytes} LAST\r\n{mail}"), 6),
        ("no MAIL", "BDAT 6\r\nRSET\r\nNOOP\r\n".to_owned(), 2),
        ("no recipient", "MAIL FROM:<a@example.test>\r\nBDAT 6 LAST\r\nRSET\r\nRSET\r\n".to_owned(), 3),
        ("DATA after BDAT", format!("{BEGUN}BDAT 3\r\nabcDATA\r\n"), 4),
        ("RCPT between chunks", format!("{BEGUN}BDAT 3\r\nabcRCPT TO:<hidden@example.test>\r\n"), 4),
        ("RSET between chunks", format!("{BEGUN}BDAT 3\r\nabcRSET\r\n{BEGUN}BDAT {bytes} LAST\r\n{mail}"), 7),
        ("too large", format!("{BEGUN}BDAT 1000001 LAST\r\n{}RSET\r\nNOOP\r\n", "x".repeat(1_000_001)), 5),
    ]
}

/// The codes of the replies.
fn hold(address: &str, dialogue: &str, replies: usize) -> Vec<u16> {
    let mut client = SmtpClient::connect(address).unwrap();
    assert!(client.announces("CHUNKING"), "{address}");
    let first = client.raw(dialogue.as_bytes()).unwrap().code;
    let more = (1..replies).map(|_| client.reply().unwrap().code);
    std::iter::once(first).chain(more).collect()
}

#[test]
fn the_agent_answers_bdat_as_postfix_does_and_what_postfix_took_by_bdat_is_archived() {
    if must_skip() {
        return;
    }
    let archive = Archive::all();
    let plain = AgentOptions { message_size: "1000000", ..AgentOptions::default() };
    let agent = Agent::start_new(&archive, plain);
    let options =
        AgentOptions { name: "default/journal".into(), mode: PeerMode::JrnPlus, ..AgentOptions::default() };
    let journal = Agent::start_new(&archive, options);
    let home = home();
    let postfix = Postfix::start(home.path(), journal.options.port, &BY_BCC);
    for (what, dialogue, replies) in dialogues() {
        let expected = hold(&postfix.address(), &dialogue, replies);
        assert_eq!(hold(&agent.smtp(), &dialogue, replies), expected, "{what}");
    }

    let lines: Vec<_> =
        Numbers::seeded(7).bytes(100_000).chunks(35).map(|b| format!("{b:02x?}\r\n")).collect();
    let text = lines.concat();
    let mail = format!("From: a@example.test\r\nTo: open@example.test\r\nSubject: by chunks\r\n\r\n{text}");
    let to = ["open@example.test".to_owned(), "hidden@example.test".to_owned()];
    for address in [postfix.address(), agent.smtp()] {
        let mut client = SmtpClient::connect(&address).unwrap();
        let replies = client.send_chunked("a@example.test", &to, mail.as_bytes(), 100_000).unwrap();
        assert!(replies.iter().all(|reply| reply.code == 250), "{address}: {replies:?}");
    }
    let query = "subject:\"by chunks\"";
    eventually("both are archived", 60, || (archive.count(query) == 2).then_some(()));
    assert!(envelope_recipients(&archive, query).contains("hidden@example.test"));
    let digest = openarchive_domain::Digest::of(mail.as_bytes()).to_string();
    let shown = archive.ctl(&["message", "show", &digest, "-o", "json"]);
    assert_eq!(shown.code, 0, "the agent kept the very octets: {}", shown.stderr);
}
