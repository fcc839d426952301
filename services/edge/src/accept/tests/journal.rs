//! What becomes of mail by the journal mode of its peer.

use super::*;

macro_rules! fixture {
    ($file:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../mail/fixtures/journal/", $file)).as_slice()
    };
}

const RCPT: [&str; 1] = ["journal@archive.test"];
const REPORT_MODE: Mode = Mode::Journal(JournalMode::ExchangeReport);
const HEADER_MODE: Mode = Mode::Journal(JournalMode::XEnvelopeTo);
const PLAIN: Mode = Mode::Journal(JournalMode::Plain);

/// All that one arrival became, with the bytes.
async fn accept(acceptor: &Acceptor, message: &[u8], mode: Mode) -> Vec<(Buffered, Vec<u8>)> {
    let kept = acceptor.accept(arrival(acceptor, message, mode, &RCPT)).await.unwrap();
    let numbers = kept.seat.seq..=kept.seat.seq + kept.journaled;
    let all = acceptor.buffer().pending(MessageId::START, 1000).await.unwrap();
    let mut found = Vec::new();
    for mail in all.into_iter().filter(|mail| numbers.contains(&mail.seat.seq)) {
        let bytes = bytes_of(&acceptor.buffer().rebuild(&mail).await.unwrap());
        assert_eq!(mail.message, Digest::of(&bytes));
        found.push((mail, bytes));
    }
    assert_eq!(found.len() as u64, kept.journaled + 1);
    assert_eq!(found[0].1, message, "what arrived is kept byte for byte");
    found
}

#[tokio::test]
async fn a_report_is_kept_beside_its_mail_and_shares_its_attachment() {
    let (_folder, acceptor) = new_acceptor();
    let found = accept(&acceptor, fixture!("exchange-2007-to-cc-bcc.eml"), REPORT_MODE).await;
    let [(report, _), (mail, bytes)] = found.as_slice() else { panic!("{} kept", found.len()) };
    assert_eq!((report.state.clone(), mail.state.clone()), (State::Stored, State::Stored));
    assert_eq!(
        (report.envelope.from.as_str(), report.envelope.to.clone()),
        ("sender@example.com", RCPT.map(str::to_owned).to_vec())
    );
    assert_eq!(mail.envelope.from, "bob@example.org");
    assert_eq!(mail.envelope.to, ["alice@example.org", "carol@example.org", "dave@example.com"]);
    assert_eq!((mail.envelope.mode.as_str(), mail.envelope.peer.as_str()), ("exchange-report", "192.0.2.1"));
    assert_eq!(
        (report.flags.as_slice(), mail.flags.as_slice()),
        (["journal-report".to_owned()].as_slice(), ["journaled".to_owned()].as_slice())
    );
    assert!(bytes.starts_with(b"From: Bob Baker <bob@example.org>\r\n"));
    assert_eq!(report.parts, mail.parts);
    assert_eq!(mail.parts.len(), 1, "plan.pdf is stored once");
    let once = report.skeleton.length + mail.skeleton.length + mail.parts[0].length;
    assert_eq!(acceptor.buffer().stats().await.unwrap().bytes, once);
}

#[tokio::test]
async fn the_clear_copy_and_the_protected_mail_are_both_kept_under_one_envelope() {
    let (_folder, acceptor) = new_acceptor();
    let found = accept(&acceptor, fixture!("m365-clear-copy-beside-protected.eml"), REPORT_MODE).await;
    let [_, (protected, _), (clear, _)] = found.as_slice() else { panic!("{} kept", found.len()) };
    assert_eq!(protected.envelope, clear.envelope);
    assert_ne!(protected.message, clear.message);
    let numbers: Vec<u64> = found.iter().map(|(mail, _)| mail.seat.seq).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn bifurcated_reports_are_two_observations_of_one_mail() {
    let (_folder, acceptor) = new_acceptor();
    let first = accept(&acceptor, fixture!("m365-bifurcated-first.eml"), REPORT_MODE).await;
    let second = accept(&acceptor, fixture!("m365-bifurcated-second.eml"), REPORT_MODE).await;
    assert_eq!(first[1].0.message, second[1].0.message);
    assert_ne!(first[0].0.message, second[0].0.message);
    assert_eq!(second[1].0.envelope.to, ["dave@example.com"]);
    assert_ne!(first[1].0.seat, second[1].0.seat);
}

#[tokio::test]
async fn a_mail_in_base64_is_the_same_mail() {
    let (_folder, acceptor) = new_acceptor();
    let plain = accept(&acceptor, fixture!("exchange-2007-to-cc-bcc.eml"), REPORT_MODE).await;
    let encoded = accept(&acceptor, fixture!("m365-base64-text-and-mail.eml"), REPORT_MODE).await;
    assert_eq!(plain[1].1, encoded[1].1);
    let old = accept(&acceptor, fixture!("exchange-2003.eml"), REPORT_MODE).await;
    assert_eq!(plain[1].1, old[1].1, "whichever generation wrote the report");
}

#[tokio::test]
async fn a_large_report_goes_through_files_and_comes_out_as_it_went_in() {
    let (_folder, acceptor) = new_acceptor();
    let mail = with_attachment(&noise(3_000_000), 76);
    let report = |encoding: &str, mail: &[u8]| {
        let head = format!(
            "X-MS-Journal-Report:\r\nContent-Type: multipart/mixed; boundary=r\r\n\r\n--r\r\n\r\n\
             Sender: a@b\r\nMessage-Id: <x>\r\nTo: c@d\r\n\r\n--r\r\nContent-Type: message/rfc822\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\r\n"
        );
        [head.as_bytes(), mail, b"\r\n--r--\r\n"].concat()
    };
    for report in [report("8bit", &mail), report("base64", &base64(&mail, 76))] {
        let found = accept(&acceptor, &report, REPORT_MODE).await;
        assert!(found[1].1 == mail, "the mail is what was wrapped");
    }
}

#[tokio::test]
async fn what_does_not_fit_its_mode_is_quarantined_alone_and_whole() {
    let (_folder, acceptor) = new_acceptor();
    let check = async |message: &[u8], mode: Mode, unfit: Unfit| {
        let found = accept(&acceptor, message, mode).await;
        let [(only, _)] = found.as_slice() else { panic!("{unfit}: {} kept", found.len()) };
        assert_eq!(only.state, State::Quarantined { reason: unfit.reason().to_owned() });
        assert_eq!(
            (only.envelope.to.as_slice(), only.flags.len()),
            (RCPT.map(str::to_owned).as_slice(), 0),
            "{unfit}"
        );
    };
    let report = fixture!("exchange-2007-to-cc-bcc.eml");
    let text = |from: &str, to: &str| {
        let text = String::from_utf8(report.to_vec()).unwrap();
        assert!(text.contains(from));
        text.replacen(from, to, 1).into_bytes()
    };
    check(b"Subject: x\r\n\r\nbody\r\n", REPORT_MODE, Unfit::NotAReport).await;
    check(b"", REPORT_MODE, Unfit::NotAReport).await;
    check(fixture!("forged-inside-ordinary-mail.eml"), REPORT_MODE, Unfit::NotAReport).await;
    check(&report[..report.len() - 20], REPORT_MODE, Unfit::ReportCutOff).await;
    check(&text("message/rfc822", "application/x"), REPORT_MODE, Unfit::ReportStructure).await;
    check(
        &text("Cc: carol@example.org\r\nBcc", "Cc: carol and others\r\nBcc"),
        REPORT_MODE,
        Unfit::ReportEnvelope,
    )
    .await;
    let not_base64 = text("message/rfc822\r\n", "message/rfc822\r\nContent-Transfer-Encoding: base64\r\n");
    check(&not_base64, REPORT_MODE, Unfit::MailEncoding).await;
    check(b"To: a@b\r\n\r\n", HEADER_MODE, Unfit::NoEnvelopeTo).await;
    check(b"X-Envelope-To: who knows\r\n\r\n", HEADER_MODE, Unfit::EnvelopeSyntax).await;
    check(report, HEADER_MODE, Unfit::NoEnvelopeTo).await;
    check(b"x\r\n", Mode::Journal(JournalMode::JrnPlus), Unfit::Recipients).await;
}

#[tokio::test]
async fn forged_reports_and_headers_from_a_plain_peer_are_text() {
    let (_folder, acceptor) = new_acceptor();
    for message in [
        fixture!("exchange-2007-to-cc-bcc.eml"),
        fixture!("exchange-2003.eml"),
        fixture!("forged-inside-ordinary-mail.eml"),
        fixture!("x-envelope-postfix.eml"),
    ] {
        let found = accept(&acceptor, message, PLAIN).await;
        let [(only, _)] = found.as_slice() else { panic!("{} kept", found.len()) };
        assert_eq!((only.state.clone(), only.flags.len()), (State::Stored, 0));
        assert_eq!(
            (only.envelope.from.as_str(), only.envelope.to[0].as_str()),
            ("sender@example.com", RCPT[0])
        );
    }
}

#[tokio::test]
async fn the_envelope_in_the_header_is_the_mails_and_the_header_stays() {
    let (_folder, acceptor) = new_acceptor();
    for message in [fixture!("x-envelope-postfix.eml"), fixture!("x-envelope-exim.eml")] {
        let found = accept(&acceptor, message, HEADER_MODE).await;
        let (mail, bytes) = &found[0];
        assert_eq!(mail.envelope.from, "bob@example.org");
        assert_eq!(mail.envelope.to, ["alice@example.org", "dave@example.com"]);
        assert!(String::from_utf8_lossy(bytes).contains("X-Envelope-To:"));
    }
    let without_sender = b"X-Envelope-To: a@b.test\r\n\r\nbody\r\n";
    let found = accept(&acceptor, without_sender, HEADER_MODE).await;
    assert_eq!(found[0].0.envelope.from, "sender@example.com", "as the peer said it");
    // Behind 64 KiB of other fields.
    let long = [b"X-Other: ".as_slice(), &b"x ".repeat(50_000), b"\r\n", without_sender].concat();
    assert_eq!(accept(&acceptor, &long, HEADER_MODE).await[0].0.envelope.to, ["a@b.test"]);
}

#[tokio::test]
async fn a_report_with_the_null_sender_is_kept_like_any_other() {
    let (_folder, acceptor) = new_acceptor();
    let mut arrival = arrival(&acceptor, fixture!("exchange-2003-null-sender.eml"), REPORT_MODE, &RCPT);
    arrival.from = String::new();
    assert_eq!(acceptor.accept(arrival).await.unwrap().journaled, 1);
    let kept = acceptor.buffer().pending(MessageId::START, 10).await.unwrap();
    assert!(kept.iter().all(|mail| mail.envelope.from.is_empty() && mail.state == State::Stored));
}
