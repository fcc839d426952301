//! Mail of our own making, the same for the same seed: many charsets, structures and shared attachments.

use base64::{Engine, engine::general_purpose::STANDARD};
use openarchive_domain::{Digest, Timestamp};

/// One mail with its envelope. Lines end in CRLF.
#[derive(Debug, Clone)]
pub struct SampleMail {
    pub from: String,
    pub to: Vec<String>,
    pub bytes: Vec<u8>,
}

/// A small generator of numbers (SplitMix64): fixtures must not change with a library's version.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub const fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(length).collect()
    }
}

const PEOPLE: [(&str, &str); 8] = [
    ("Alice Archer", "alice@example.org"),
    ("Bob Baker", "bob@example.org"),
    ("Çelik Demir", "celik@example.net"),
    ("Dörte Müller", "doerte@example.com"),
    ("Erik Ångström", "erik@example.com"),
    ("Fatima Noor", "fatima@example.net"),
    ("György Kiss", "gyorgy@example.org"),
    ("花子 山田", "hanako@example.jp"),
];
const SUBJECTS: [&str; 10] = [
    "Quarterly report",
    "Invoice 2024-117",
    "Minutes of Tuesday's meeting",
    "Grüße aus Köln",
    "Re: delivery of the turbines",
    "Contract draft, please review",
    "請求書の件",
    "Travel costs",
    "Smörgåsbord on Friday",
    "Server maintenance tonight",
];
const SENTENCES: [&str; 12] = [
    "Please find the figures attached.",
    "The turbine will be shipped on Monday.",
    "Können wir das am Freitag besprechen?",
    "Our lawyer has read the second paragraph and agrees.",
    "Der Vertrag verlängert sich um zwölf Monate.",
    "I have counted the boxes twice; one is missing.",
    "お世話になっております。",
    "Thanks for the quick answer!",
    "The invoice is due at the end of the month.",
    "Nobody has seen the blue folder since spring.",
    "Räksmörgås är gott.",
    "See you in Reykjavík.",
];
const ATTACHMENTS: [(&str, &str, usize); 6] = [
    ("report.pdf", "application/pdf", 48_000),
    ("logo.png", "image/png", 9_000),
    ("figures.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 30_000),
    ("Übersicht.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", 22_000),
    ("drawing.tiff", "image/tiff", 120_000),
    ("notes.txt", "text/plain", 3_000),
];

/// `count` mails. The word `zeppelin` stands in exactly one in twelve, from the fifth on.
pub fn sample_mail(seed: u64, count: usize) -> Vec<SampleMail> {
    let mut numbers = Numbers::seeded(seed);
    (0..count).map(|n| one(&mut numbers, seed, n)).collect()
}

fn one(numbers: &mut Numbers, seed: u64, n: usize) -> SampleMail {
    let (from_name, from) = PEOPLE[numbers.below(PEOPLE.len())];
    let (to_name, to) = PEOPLE[numbers.below(PEOPLE.len())];
    let (_, hidden) = PEOPLE[numbers.below(PEOPLE.len())];
    let subject = SUBJECTS[numbers.below(SUBJECTS.len())];
    let mut text: Vec<&str> =
        (0..=numbers.below(6)).map(|_| SENTENCES[numbers.below(SENTENCES.len())]).collect();
    if n % 12 == 5 {
        text.push("The zeppelin lands at noon.");
    }
    let date = rfc5322_date(Timestamp::from_millis(1_700_000_000_000 + n as i64 * 5_400_000));
    let head = format!(
        "From: {} <{from}>\r\nTo: {} <{to}>\r\nSubject: {}\r\nDate: {date}\r\nMessage-ID: <{seed}.{n}@example.org>\r\nMIME-Version: 1.0\r\n",
        encoded(from_name),
        encoded(to_name),
        encoded(subject),
    );
    let body = match n % 5 {
        0 => format!(
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n",
            text.join("\r\n")
        ),
        1 => alternative(&text),
        _ => with_attachments(numbers, &text),
    };
    let mut recipients = vec![to.to_owned()];
    if n % 7 == 3 && hidden != to {
        recipients.push(hidden.to_owned());
    }
    SampleMail { from: from.to_owned(), to: recipients, bytes: (head + &body).into_bytes() }
}

fn alternative(text: &[&str]) -> String {
    let html = text
        .iter()
        .map(|line| format!("<p>{}</p>\r\n", line.replace('&', "&amp;")))
        .collect::<Vec<_>>()
        .concat();
    format!(
        "Content-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n--alt\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--alt\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n{html}</body></html>\r\n--alt--\r\n",
        wrapped(text.join("\r\n").as_bytes(), 76)
    )
}

fn with_attachments(numbers: &mut Numbers, text: &[&str]) -> String {
    let mut body = format!(
        "Content-Type: multipart/mixed; boundary=\"mix\"\r\n\r\nThis is a multi-part message.\r\n--mix\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}\r\n",
        text.join("\r\n")
    );
    for _ in 0..=numbers.below(2) {
        let (name, media_type, length) = ATTACHMENTS[numbers.below(ATTACHMENTS.len())];
        // The same name has the same content in every mail: that is what deduplication is for.
        let content = Numbers::seeded(length as u64).bytes(length);
        let width = if numbers.below(20) == 0 { 72 } else { 76 };
        body += &format!(
            "--mix\r\nContent-Type: {media_type}; name=\"{0}\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"{0}\"\r\n\r\n{1}",
            encoded(name),
            wrapped(&content, width)
        );
    }
    body + "--mix--\r\n"
}

/// RFC 2047 where the text is not ASCII.
fn encoded(text: &str) -> String {
    if text.is_ascii() { text.to_owned() } else { format!("=?utf-8?B?{}?=", STANDARD.encode(text)) }
}

/// Base64 in lines of `width` columns, CRLF after each.
pub fn wrapped(content: &[u8], width: usize) -> String {
    let text = STANDARD.encode(content);
    let mut lines = String::with_capacity(text.len() + text.len() / width * 2 + 2);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(width.min(rest.len()));
        lines += line;
        lines += "\r\n";
        rest = tail;
    }
    lines
}

fn rfc5322_date(time: Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = time.to_string();
    let month: usize = text[5..7].parse().unwrap_or(1);
    format!("{} {} {} {} +0000", &text[8..10], MONTHS[month - 1], &text[..4], &text[11..19])
}

/// What identifies a mail in the archive.
pub fn digest(mail: &SampleMail) -> Digest {
    Digest::of(&mail.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_mail_all_different_and_in_crlf() {
        let mails = sample_mail(7, 60);
        assert_eq!(
            mails.iter().map(digest).collect::<Vec<_>>(),
            sample_mail(7, 60).iter().map(digest).collect::<Vec<_>>()
        );
        let different: std::collections::BTreeSet<_> = mails.iter().map(digest).collect();
        assert_eq!(different.len(), 60);
        for mail in &mails {
            let text = String::from_utf8(mail.bytes.clone()).unwrap();
            assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
            assert!(text.ends_with("\r\n"));
        }
        let zeppelins =
            mails.iter().filter(|m| String::from_utf8_lossy(&m.bytes).contains("zeppelin")).count();
        assert!(zeppelins > 0 && zeppelins <= 5);
    }
}
