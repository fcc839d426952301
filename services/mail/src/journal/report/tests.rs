use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{super::TransferDecoder, *};

mod fixture {
    macro_rules! fixtures {
        ($($name:ident = $file:literal),* $(,)?) => {
            $(pub(super) const $name: &[u8] = include_bytes!(concat!("../../../fixtures/journal/", $file));)*
            pub(super) const ALL: &[&[u8]] = &[$($name),*];
        };
    }
    fixtures! {
        TO_CC_BCC = "exchange-2007-to-cc-bcc.eml",
        LISTS = "exchange-2010-lists-and-delegates.eml",
        ANONYMOUS = "exchange-2007-anonymous.eml",
        UTF8 = "m365-utf8-quoted-printable.eml",
        BASE64 = "m365-base64-text-and-mail.eml",
        PROTECTED = "m365-clear-copy-beside-protected.eml",
        BIFURCATED_1 = "m365-bifurcated-first.eml",
        BIFURCATED_2 = "m365-bifurcated-second.eml",
        NESTED = "m365-report-in-report.eml",
        EXCHANGE_2003 = "exchange-2003.eml",
        NULL_2003 = "exchange-2003-null-sender.eml",
        FORGED = "forged-inside-ordinary-mail.eml",
    }
}

fn read_in(report: &[u8], piece_bytes: usize) -> Result<Report, Unfit> {
    let mut reader = ReportReader::default();
    report.chunks(piece_bytes).for_each(|piece| reader.feed(piece));
    reader.finish()
}

/// In pieces of several sizes, which must not matter.
fn read(report: &[u8]) -> Result<Report, Unfit> {
    let whole = read_in(report, report.len().max(1));
    for piece_bytes in [1, 2, 77] {
        assert_eq!(read_in(report, piece_bytes), whole, "in pieces of {piece_bytes}");
    }
    whole
}

fn mails(report: &[u8]) -> Vec<String> {
    let found = read(report).unwrap();
    let decode = |mail: &JournaledMail| {
        let (mut decoder, mut out) = (TransferDecoder::new(mail.encoding), Vec::new());
        let range = mail.range.start as usize..mail.range.end as usize;
        decoder.push(&report[range], &mut out).unwrap();
        decoder.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    found.mails.iter().map(decode).collect()
}

fn to(report: &[u8]) -> Vec<String> {
    read(report).unwrap().envelope.to()
}

#[test]
fn a_report_of_exchange_2007_names_sender_subject_and_recipients_by_their_fields() {
    let report = read(fixture::TO_CC_BCC).unwrap();
    assert_eq!(report.generation, Generation::Exchange2007);
    let ReportEnvelope { sender, on_behalf_of, subject, message_id, recipients } = report.envelope;
    assert_eq!((sender.as_str(), on_behalf_of), ("bob@example.org", None));
    assert_eq!(subject.as_deref(), Some("Turbine delivery"));
    assert_eq!(message_id, "<turbine-1@example.org>");
    let found: Vec<_> = recipients.iter().map(|one| (one.kind, one.address.as_str())).collect();
    assert_eq!(
        found,
        [
            (RecipientKind::To, "alice@example.org"),
            (RecipientKind::Cc, "carol@example.org"),
            (RecipientKind::Bcc, "dave@example.com")
        ]
    );
}

#[test]
fn the_mail_is_exactly_what_stands_between_the_boundaries() {
    let mails = mails(fixture::TO_CC_BCC);
    let [mail] = mails.as_slice() else { panic!("{} mails", mails.len()) };
    assert!(mail.starts_with("From: Bob Baker <bob@example.org>\r\n"), "{mail}");
    assert!(mail.ends_with("\r\n--inner--\r\n"), "the boundary's own line break is not the mail's: {mail}");
    assert!(mail.contains("Message-ID: <turbine-1@example.org>\r\n"));
    assert_eq!(
        mails,
        self::mails(fixture::BIFURCATED_2),
        "another report of the same mail carries the same bytes"
    );
    assert_eq!(mails, self::mails(fixture::BASE64), "whatever its transfer encoding");
    assert_eq!(mails, self::mails(fixture::EXCHANGE_2003), "and whichever generation wrote it");
}

#[test]
fn lists_forwarding_and_delegates_are_read() {
    let envelope = read(fixture::LISTS).unwrap().envelope;
    assert_eq!(envelope.sender, "assistant@example.org");
    assert_eq!(envelope.on_behalf_of.as_deref(), Some("bob@example.org"));
    let via = |n: usize| envelope.recipients[n].via.clone();
    let expanded = |list: &str| Via::Expanded(list.to_owned());
    let forwarded = |mailbox: &str| Via::Forwarded(mailbox.to_owned());
    assert_eq!(via(0), [expanded("engineers@example.org")]);
    assert_eq!(via(2), [forwarded("carol@example.org")]);
    assert_eq!(via(3), [expanded("board@example.org"), forwarded("chair@example.org")]);
    assert_eq!((via(4), envelope.recipients[4].kind), (vec![], RecipientKind::Recipient));
    assert_eq!(
        envelope.to(),
        [
            "alice@example.org",
            "erik@example.org",
            "deputy@example.org",
            "dave@example.com",
            "fatima@example.net",
            "engineers@example.org",
            "carol@example.org",
            "board@example.org",
            "chair@example.org",
        ],
        "who got it first, then who stood for them, each once"
    );
}

#[test]
fn what_the_server_does_not_know_is_left_empty() {
    let envelope = read(fixture::ANONYMOUS).unwrap().envelope;
    assert_eq!((envelope.sender.as_str(), envelope.message_id.as_str()), ("", "Unknown Message-ID"));
    let unspecified = |text: &str| envelope_2007::parse(text).map(|envelope| envelope.sender);
    let text = "Sender: Unspecified Address\r\nMessage-Id: <a@b>\r\nTo: c@d\r\n";
    assert_eq!(unspecified(text).as_deref(), Some(""));
}

#[test]
fn text_is_decoded_and_unfolded() {
    let envelope = read(fixture::UTF8).unwrap().envelope;
    assert_eq!(envelope.subject.as_deref(), Some("Grüße aus Köln, 請求書の件"));
    assert_eq!(envelope.to(), ["grüße@bücher.example", "\"john, doe\"@example.com", "ölmühle@example.org"]);
    assert_eq!(to(fixture::BASE64), ["alice@example.org"]);
    let latin = replaced(
        fixture::TO_CC_BCC,
        &[
            (
                "us-ascii\"\r\nContent-Transfer-Encoding: 7bit",
                "iso-8859-1\"\r\nContent-Transfer-Encoding: quoted-printable",
            ),
            ("Subject: Turbine delivery\r\nMessage-Id", "Subject: Gr=FC=DFe\r\nMessage-Id"),
        ],
    );
    assert_eq!(read(&latin).unwrap().envelope.subject.as_deref(), Some("Grüße"));
}

#[test]
fn the_clear_copy_beside_a_protected_mail_is_a_mail_of_its_own() {
    let mails = mails(fixture::PROTECTED);
    assert_eq!(mails.len(), 2);
    assert!(mails[0].contains("message.rpmsg") && mails[1].contains("plan.pdf"));
}

#[test]
fn bifurcated_reports_name_their_own_recipients_each() {
    assert_eq!(to(fixture::BIFURCATED_1), ["alice@example.org", "erik@example.org", "engineers@example.org"]);
    assert_eq!(to(fixture::BIFURCATED_2), ["dave@example.com"]);
    assert_eq!(mails(fixture::BIFURCATED_1), mails(fixture::BIFURCATED_2));
}

#[test]
fn a_report_inside_a_report_is_a_mail_and_is_not_opened() {
    assert_eq!(to(fixture::NESTED), ["journal@example.net"]);
    let mails = mails(fixture::NESTED);
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("X-MS-Journal-Report:") && mails[0].contains("victim@example.com"));
    assert_eq!(to(mails[0].as_bytes()), ["victim@example.com"], "it would be one, had a peer sent it");
}

#[test]
fn a_forged_report_inside_ordinary_mail_is_text() {
    assert_eq!(read(fixture::FORGED), Err(Unfit::NotAReport));
}

#[test]
fn a_report_of_exchange_2003_is_read_by_its_own_format() {
    let report = read(fixture::EXCHANGE_2003).unwrap();
    assert_eq!(report.generation, Generation::Exchange2003);
    assert_eq!(report.envelope.sender, "bob@example.org");
    assert_eq!(report.envelope.message_id, "<turbine-1@example.org>");
    let expected = [
        "alice@example.org",
        "carol@example.org",
        "dave@example.com",
        "EX:/O=Example/OU=Site/CN=Recipients/CN=legacy",
    ];
    assert_eq!(report.envelope.to(), expected);
    assert!(report.envelope.recipients.iter().all(|one| one.kind == RecipientKind::Recipient));
    let null = read(fixture::NULL_2003).unwrap().envelope;
    assert_eq!((null.sender.as_str(), null.to()), ("", vec!["alice@example.org".to_owned()]));
}

fn replaced(report: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from_utf8(report.to_vec()).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from:?} is not in the fixture");
        text = text.replacen(from, to, 1);
    }
    text.into_bytes()
}

#[test]
fn what_does_not_follow_the_format_does_not_fit() {
    let check = |from: &str, to: &str, expected| {
        let report = replaced(fixture::TO_CC_BCC, &[(from, to)]);
        assert_eq!(read(&report).map(|_| ()), Err(expected), "{from:?} -> {to:?}");
    };
    check("X-MS-Journal-Report:", "X-Other:", Unfit::NotAReport);
    check("multipart/mixed", "multipart/alternative", Unfit::ReportStructure);
    check("\r\n--_002_report_--\r\n", "\r\n", Unfit::ReportCutOff);
    check("\r\n--_002_report_--\r\n", "\r\n--_002_report_\r\n", Unfit::ReportCutOff);
    check("Content-Type: message/rfc822", "Content-Type: application/x", Unfit::ReportStructure);
    check(
        "Content-Type: text/plain; charset=\"us-ascii\"",
        "Content-Type: text/html",
        Unfit::ReportStructure,
    );
    check("Content-Transfer-Encoding: 7bit", "Content-Transfer-Encoding: x-uuencode", Unfit::ReportEnvelope);
    check("message/rfc822\r\n", "message/rfc822\r\nContent-Transfer-Encoding: x\r\n", Unfit::MailEncoding);
    check("Sender: bob@example.org\r\nSubject", "Subject", Unfit::ReportEnvelope);
    check("Sender: bob@example.org\r\nSubject", "Sender: not an address\r\nSubject", Unfit::ReportEnvelope);
    check("Message-Id: <turbine-1@example.org>\r\n", "", Unfit::ReportEnvelope);
    check("Cc: carol@example.org\r\nBcc", "Cc: see attachment\r\nBcc", Unfit::ReportEnvelope);
    check("Cc: carol@example.org\r\nBcc", "Cc: <>\r\nBcc", Unfit::ReportEnvelope);
    check("Cc: carol@example.org\r\nBcc", "Cc: c@d, Elsewhere: e@f\r\nBcc", Unfit::ReportEnvelope);
    check("Cc: carol@example.org\r\nBcc", "please click here\r\nBcc", Unfit::ReportEnvelope);
    check(
        "To: alice@example.org\r\nCc: carol@example.org\r\nBcc: dave@example.com\r\n",
        "",
        Unfit::ReportEnvelope,
    );
}

#[test]
fn parts_with_parameters_without_number_cost_no_more_than_their_length() {
    // Far above what a hundred such parts take, far below what anything quadratic would take.
    let time_max = Duration::from_secs(10);
    let text = std::str::from_utf8(fixture::TO_CC_BCC).unwrap();
    let end = "--_002_report_--";
    for piece in ["; a=b", "; a*0=b", "; x*1*=utf-8''%41", "'", ";a==?ab?q?", ";a=\"=?ab?b? "] {
        let value = piece.repeat(15_000 / piece.len());
        let part = format!("--_002_report_\nContent-Type: text/x; n*=a'a{value}\n\nx\n");
        let report = text.replace(end, &(part.repeat(100) + end));
        assert!(report.len() > 1_000_000);
        let started = Instant::now();
        assert_eq!(read_in(report.as_bytes(), 4096).map(|report| report.mails.len()), Ok(1), "{piece}");
        assert!(started.elapsed() < time_max, "{piece} took {:?}", started.elapsed());
    }
}

#[test]
fn a_subject_with_line_breaks_forges_no_recipient() {
    for forged in [
        "Bcc: victim@example.com\r\n",
        "Message-Id: <forged@example.com>\r\nBcc: victim@example.com\r\n",
        "Sender: ceo@example.org\r\n",
        "Subject: another\r\n",
    ] {
        let head = format!("Subject: hello\r\n{forged}Message-Id");
        let report = replaced(fixture::TO_CC_BCC, &[("Subject: Turbine delivery\r\nMessage-Id", &head)]);
        assert_eq!(read(&report).map(|_| ()), Err(Unfit::ReportEnvelope), "{forged}");
    }
}

#[test]
fn an_envelope_of_2003_that_is_not_one_does_not_fit() {
    let head = "Sender: <SMTP:a@b>\nMessage-ID: <x>\nRecipients:\n";
    assert!(envelope_2003::parse(&format!("{head}<SMTP:c@d>\n")).is_some());
    for text in [
        "",
        "Sender: <SMTP:a@b>\nRecipients:\n<SMTP:c@d>\n",
        "Message-ID: <x>\nRecipients:\n<SMTP:c@d>\n",
        &format!("hello\n{head}<SMTP:c@d>\n"),
        &format!("{head}<SMTP:c@d>\nSender: <SMTP:e@f>\n"),
        &format!("{head}<SMTP:c@d> and others\n"),
        &format!("{head}<SMTP:c@d>\n\nand more\n"),
    ] {
        assert_eq!(envelope_2003::parse(text), None, "{text:?}");
    }
}

#[test]
fn two_mails_are_taken_and_a_third_is_not() {
    let third = "Content-Type: message/rfc822\r\n\r\nthird\r\n--_002_report_\r\nContent-Type: message/rfc822";
    let report = replaced(fixture::PROTECTED, &[("Content-Type: message/rfc822", third)]);
    assert_eq!(read(&report), Err(Unfit::ReportStructure));
    assert_eq!(mails(fixture::PROTECTED).len(), JOURNALED_MAILS_MAX);
}

#[test]
fn a_mail_before_the_envelope_is_an_attachment_of_somebody() {
    let first = "Content-Type: message/rfc822\r\n\r\nfirst\r\n--_002_report_\r\nContent-Type: text/plain";
    let report = replaced(fixture::TO_CC_BCC, &[("Content-Type: text/plain", first)]);
    assert_eq!(read(&report), Err(Unfit::ReportStructure));
}

#[test]
fn recipients_of_the_limit_are_taken_and_one_more_is_not() {
    let report = |count: usize| {
        let all: Vec<_> = (0..count).map(|n| format!("To: recipient-{n}@example.org\r\n")).collect();
        let all = all.concat();
        let text = "To: alice@example.org\r\nCc: carol@example.org\r\nBcc: dave@example.com\r\n";
        replaced(fixture::TO_CC_BCC, &[(text, &all)])
    };
    let read = |count| read_in(&report(count), 65_536);
    assert_eq!(read(JOURNALED_RECIPIENTS_MAX).unwrap().envelope.to().len(), JOURNALED_RECIPIENTS_MAX);
    assert_eq!(read(JOURNALED_RECIPIENTS_MAX + 1), Err(Unfit::TooManyRecipients));
}

#[test]
fn an_envelope_text_of_the_limit_is_taken_and_a_longer_one_is_not() {
    let (begin, end) = ("Sender: bob@example.org\r\n", "dave@example.com\r\n");
    let text = String::from_utf8_lossy(fixture::TO_CC_BCC);
    let bytes = text.find(end).unwrap() + end.len() - text.find(begin).unwrap();
    // The line break that belongs to the boundary is read as well.
    let report = |padding: usize| {
        let line = format!("{begin}X-Later: {}\r\n", "x".repeat(padding - "X-Later: \r\n".len()));
        replaced(fixture::TO_CC_BCC, &[(begin, &line)])
    };
    let room = REPORT_TEXT_BYTES_MAX - bytes - "\r\n".len();
    assert!(read_in(&report(room), 65_536).is_ok());
    assert_eq!(read_in(&report(room + 1), 65_536), Err(Unfit::TooManyRecipients));
}

#[test]
fn an_empty_mail_is_a_range_without_bytes() {
    let text = String::from_utf8_lossy(fixture::ANONYMOUS);
    let (head, _) = text.split_once("Content-Disposition: attachment\r\n").unwrap();
    let report = format!("{head}\r\n--_002_report_--\r\n");
    assert_eq!(mails(report.as_bytes()), [""]);
}

proptest! {
    #![proptest_config(crate::split::seeded(256))]

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, piece_bytes in 1usize..9) {
        let _ = read_in(&bytes, piece_bytes);
    }

    #[test]
    fn a_report_that_is_cut_changed_or_torn_is_answered_and_its_mails_lie_within_it(
        which in 0..fixture::ALL.len(),
        keep in 0.0..1.0f64,
        at in 0.0..1.0f64,
        byte: u8,
        piece_bytes in 1usize..500,
    ) {
        let mut report = fixture::ALL[which].to_vec();
        let place = (report.len() as f64 * at) as usize;
        report[place] = byte;
        report.truncate((report.len() as f64 * keep.sqrt().sqrt()) as usize + 1);
        let found = read_in(&report, piece_bytes);
        prop_assert_eq!(&found, &read_in(&report, report.len()));
        if let Ok(found) = found {
            prop_assert!((1..=JOURNALED_MAILS_MAX).contains(&found.mails.len()));
            for JournaledMail { range, .. } in found.mails {
                prop_assert!(range.start <= range.end && range.end <= report.len() as u64);
            }
        }
    }

    #[test]
    fn recipients_are_read_as_they_were_written(
        locals in proptest::collection::vec("[a-zß0-9+=._-]{1,12}|\"[a-z ,<>@]{1,12}\"", 1..6),
        kinds in proptest::collection::vec(0usize..4, 6),
        lists in proptest::collection::vec(0usize..3, 6),
    ) {
        let mut text = "Sender: a@b\r\nSubject: s\r\nMessage-Id: <x>\r\n".to_owned();
        let mut expected = Vec::new();
        for (n, local) in locals.iter().enumerate() {
            let address = format!("{local}@example.org");
            text += ["To: ", "Cc: ", "Bcc: ", "Recipient: "][kinds[n]];
            text += &address;
            let source = format!("list{n}@example.org");
            let via = match lists[n] {
                1 => vec![Via::Expanded(source.clone())],
                2 => vec![Via::Forwarded(source.clone())],
                _ => vec![],
            };
            text += &[String::new(), format!(", Expanded: {source}"), format!(", Forwarded: {source}")][lists[n]];
            text += "\r\n";
            expected.push((address, via));
        }
        let found = envelope_2007::parse(&text).unwrap().recipients;
        let found: Vec<_> = found.into_iter().map(|one| (one.address, one.via)).collect();
        prop_assert_eq!(found, expected);
    }
}
