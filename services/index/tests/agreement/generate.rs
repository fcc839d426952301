//! Seeded mail and queries that have something to do with each other.

use openarchive_domain::{Digest, Timestamp};
use openarchive_index::{Address, Document};

const AGENTS: [&str; 4] = ["mx1", "mx2", "mx-10", "import"];

pub(crate) const TENANTS: [&str; 2] = ["acme", "globex"];

const WORDS: [&str; 28] = [
    "report",
    "Reports",
    "reporter",
    "quarterly",
    "annual",
    "budget",
    "Budget-2024",
    "the",
    "of",
    "re",
    "foo-bar",
    "Größe",
    "groß",
    "Straße",
    "Müller",
    "naïve",
    "rechnung_2024.pdf",
    "3.14",
    "日本語",
    "東京",
    "本",
    "日本",
    "ガイド",
    "한국어",
    "שלום",
    "שָׁלוֹם",
    "مرحبا",
    "x",
];
const NAMES: [&str; 7] = ["Alice Smith", "Bob", "Jürgen Müller", "Smith, Alice", "田中 太郎", "Re Port", ""];
const ADDRESSES: [&str; 9] = [
    "alice@example.org",
    "Alice.Smith@example.org",
    "bob@mail.example.org",
    "bob@example.com",
    "jürgen@exämple.de",
    "report@example.org",
    "MAILER-DAEMON",
    "alice@localhost",
    "re.port+tag@example.co",
];

/// A small generator of numbers (xorshift64*), the same on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn words(&mut self, most: usize) -> String {
        let separators = [" ", " ", " ", ", ", "-", "\r\n", ""];
        let mut text = String::new();
        for _ in 0..self.below(most + 1) {
            text.push_str(self.pick(&WORDS));
            text.push_str(self.pick(&separators));
        }
        text
    }

    fn addresses(&mut self, most: usize) -> Vec<Address> {
        (0..self.below(most + 1)).map(|_| Address::new(self.pick(&NAMES), self.pick(&ADDRESSES))).collect()
    }
}

pub(crate) fn documents(random: &mut Random, count: usize) -> Vec<Document> {
    (0..count).map(|number| document(random, number)).collect()
}

pub(crate) fn document(random: &mut Random, number: usize) -> Document {
    let digest = Digest::of(&number.to_be_bytes());
    let mut document = Document::new(random.pick(&TENANTS).parse().unwrap(), digest);
    document.from = vec![Address::new(random.pick(&NAMES), random.pick(&ADDRESSES))];
    document.to = random.addresses(3);
    document.cc = random.addresses(2);
    document.bcc = random.addresses(1);
    document.participants = random.addresses(2);
    document.subject = random.words(5);
    document.body = random.words(25);
    document.has_attachment = random.below(3) == 0;
    if document.has_attachment {
        document.attachments = (0..random.below(3)).map(|_| random.words(2)).collect();
    }
    document.message_id =
        (random.below(5) > 0).then(|| format!("<{}.{}@mail>", number % 50, random.pick(&["A", "b"])));
    // Few days, and few moments of a day, so that many dates are equal.
    document.date = (random.below(8) > 0).then(|| {
        let (day, hour) = (random.below(60) as i64, random.below(3) as i64);
        Timestamp::from_millis(1_704_067_200_000 + day * 86_400_000 + hour * 43_199_999)
    });
    document.partly_indexed = random.below(10) == 0;
    // Around the units, so that ends of ranges matter.
    document.length = [0, 1_000, 1_024, 10_000, 2_000_000][random.below(5)] + random.below(3) as u64;
    document.agents = (0..=random.below(2)).map(|_| random.pick(&AGENTS).to_owned()).collect();
    document.observations = 1;
    document
}

pub(crate) fn one_with_everything() -> Document {
    let mut document = Document::new("acme".parse().unwrap(), Digest::of(b"everything"));
    document.from = vec![Address::new("Jürgen Müller", "J.Mueller@Example.org")];
    document.to = vec![Address::new("Bob", "bob@example.com")];
    document.cc = vec![Address::new("", "carol@example.com")];
    document.bcc = vec![Address::new("", "dave@example.com")];
    document.participants = vec![Address::new("", "envelope@mail.example")];
    document.subject = "Quartalsbericht 日本語の".into();
    document.body = "Nur der Größe nach. שָׁלוֹם, مُحَمَّد".into();
    document.attachments = vec!["Rechnung_2024.pdf".into(), "logo.png".into()];
    document.message_id = Some("<CAF+1=x@mail.example>".into());
    document.date = Some("2024-02-29T23:59:59.999Z".parse().unwrap());
    document.has_attachment = true;
    document.length = 10_240;
    document.agents = vec!["mx1".into(), "mx-2".into()];
    document
}

/// A query that parses, nested at most `depth` deep.
pub(crate) fn query(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.below(3) == 0 {
        return term(random);
    }
    let inner = |random: &mut Random| query(random, depth - 1);
    match random.below(6) {
        0 => format!("-({})", inner(random)),
        1 => format!("NOT {}", term(random)),
        2 | 3 => format!("({}) ({})", inner(random), inner(random)),
        4 => format!("{} AND -{}", inner(random), term(random)),
        _ => format!("({} OR {} OR {})", inner(random), inner(random), term(random)),
    }
}

fn term(random: &mut Random) -> String {
    let day = |random: &mut Random| format!("2024-{:02}-{:02}", 1 + random.below(3), 1 + random.below(28));
    match random.below(19) {
        0 => format!("date:{}", day(random)),
        1 => {
            let (a, b) = (day(random), day(random));
            format!("date:{}..{}", a.clone().min(b.clone()), a.max(b))
        }
        2 => format!("{}:{}", random.pick(&["after", "before"]), day(random)),
        3 => "has:attachment".into(),
        4 => {
            let star = random.pick(&["", "*"]);
            format!("message-id:{}.{}{star}", random.below(50), random.pick(&["a@mail", "B@mail", ""]))
        }
        14 => size(random),
        15 => format!("agent:{}", random.pick(&["mx1", "MX2", "mx-10", "mx*", "mx-*", "im*", "none"])),
        16 | 17 => near(random, &["subject:", "body:", "attachment:", ""], &WORDS),
        18 => near(random, &["from:", "to:", "participant:", ""], &NAMES[..6]),
        5..=7 => {
            let field = random.pick(&["from:", "to:", "cc:", "bcc:", "participant:", ""]);
            format!("{field}{}", text(random, &[&NAMES[..6], &ADDRESSES[..]].concat()))
        }
        _ => format!(
            "{}{}",
            random.pick(&["subject:", "body:", "attachment:", "", "", ""]),
            text(random, &WORDS)
        ),
    }
}

fn size(random: &mut Random) -> String {
    let sizes = ["0", "1kb", "1kib", "1001", "10KB", "2mb", "2000001b"];
    match random.below(4) {
        0 => format!("size:{}", random.pick(&sizes)),
        1 => format!("size:{}{}", random.pick(&[">", ">=", "<="]), random.pick(&sizes)),
        2 => format!("size:<{}", random.pick(&sizes[1..])),
        _ => {
            let first = random.below(sizes.len());
            let last = first + random.below(sizes.len() - first);
            let range = ["0", "1kb", "1001", "1kib", "10KB", "2mb", "2000001b"];
            format!("size:{}..{}", range[first], range[last])
        }
    }
}

/// Two to four words that may stand near each other.
fn near(random: &mut Random, fields: &[&str], from: &[&str]) -> String {
    let words: Vec<&str> = (0..2 + random.below(3)).map(|_| random.pick(from)).collect();
    format!("{}\"{}\"~{}", random.pick(fields), words.join(" "), [0, 1, 2, 5, 20, 100][random.below(6)])
}

/// A word or a phrase, whole or cut, perhaps with its last word open.
fn text(random: &mut Random, from: &[&str]) -> String {
    let mut text = random.pick(from).to_owned();
    if random.below(4) == 0 && !text.contains('@') {
        text = format!("{text} {}", random.pick(&WORDS));
    }
    let star = random.below(3) == 0;
    if star && text.chars().count() > 2 && random.below(2) == 0 {
        text.pop();
    }
    if !text.contains(char::is_alphanumeric) || text.contains('@') && text.contains(' ') {
        text = "report".into();
    }
    format!("\"{text}\"{}", if star { "*" } else { "" })
}
