//! Mail made from a seed, with sizes and repeats as organisations have them (targets, P8): median 5 KB, mean 100 KB,
//! p99 1.2 MB, seven of ten attachments seen before, one in twenty wrapped at 72 columns instead of 76.

use std::{collections::BTreeMap, fs, io, path::Path};

use openarchive_testkit::sample_mail::{Numbers, wrapped};

/// Mails of the corpus that stored sizes are measured with: about 500 MB.
pub const CORPUS_MAILS: usize = 5000;

/// Of a thousand mails, how many are shorter than so many bytes. Between two points sizes grow evenly in their logarithm.
const SIZES: [(u64, f64); 6] =
    [(0, 1.0e3), (500, 5.0e3), (750, 40.0e3), (900, 250.0e3), (990, 1.2e6), (1000, 3.0e6)];

/// From this size on a mail has attachments.
const ATTACHMENTS_FROM_BYTES: usize = 8 * 1024;

/// Syllables that text is made of: enough that it compresses like text.
const WORDS: [&str; 24] = [
    "the", "meeting", "report", "of", "and", "is", "on", "Monday", "please", "find", "attached", "our",
    "figures", "for", "delivery", "contract", "we", "have", "agreed", "to", "with", "turbine", "invoice",
    "thanks",
];

/// Content of an attachment, named by the seed that makes it.
#[derive(Debug, Clone, Copy)]
struct Attachment {
    seed: u64,
    bytes: usize,
}

/// An endless corpus: the same mails for the same seed.
#[derive(Debug, Clone)]
pub struct Corpus {
    numbers: Numbers,
    seed: u64,
    made: u64,
    /// Of a hundred attachments, how many were seen before.
    repeats_percent: usize,
    /// Bytes of each mail; `None`: as in [`SIZES`].
    sizes: Option<(usize, usize)>,
    /// By the power of two of their length: what is repeated is about as large as what was wanted.
    seen: BTreeMap<u32, Vec<Attachment>>,
}

impl Corpus {
    pub fn new(seed: u64, repeats_percent: usize) -> Self {
        let numbers = Numbers::seeded(seed);
        Self { numbers, seed, made: 0, repeats_percent, sizes: None, seen: BTreeMap::new() }
    }

    /// Mails of `least` to `most` bytes each, about.
    #[must_use]
    pub fn of_sizes(mut self, least: usize, most: usize) -> Self {
        self.sizes = Some((least, most));
        self
    }

    fn size(&mut self) -> usize {
        if let Some((least, most)) = self.sizes {
            return least + self.numbers.below(most - least + 1);
        }
        let at = self.numbers.below(1000) as u64;
        let above = SIZES.iter().position(|(from, _)| *from > at).unwrap_or(SIZES.len() - 1);
        let ((from, least), (to, most)) = (SIZES[above - 1], SIZES[above]);
        // A thousandth is wide: a place within it.
        let place = (at - from) as f64 + self.numbers.below(1000) as f64 / 1000.0;
        (least * (most / least).powf(place / (to - from) as f64)) as usize
    }

    fn attachment(&mut self, bytes: usize) -> Attachment {
        let class = bytes.max(1).ilog2();
        let repeated = self.numbers.below(100) < self.repeats_percent;
        if let Some(seen) = self.seen.get(&class)
            && repeated
        {
            return seen[self.numbers.below(seen.len())];
        }
        let attachment = Attachment { seed: self.numbers.next(), bytes };
        self.seen.entry(class).or_default().push(attachment);
        attachment
    }

    fn text(&mut self, bytes: usize) -> String {
        let (mut text, mut line) = (String::with_capacity(bytes + 80), 0);
        while text.len() < bytes {
            let word = self.numbers.pick(&WORDS);
            // Numbers keep one text from being like the other.
            let word = if self.numbers.below(12) == 0 {
                (self.numbers.next() % 100_000).to_string()
            } else {
                word.to_owned()
            };
            line += word.len() + 1;
            text += &word;
            text += if line > 66 { "\r\n" } else { " " };
            if line > 66 {
                line = 0;
            }
        }
        text + "\r\n"
    }
}

impl Iterator for Corpus {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let (size, number) = (self.size(), self.made);
        self.made += 1;
        let head = format!(
            "From: Sender {from} <s{from}@example.org>\r\nTo: r{to}@example.com\r\nSubject: figures {number}\r\n\
             Date: Fri, {day} Mar 2024 08:00:00 +0000\r\nMessage-ID: <{seed}.{number}@example.org>\r\n\
             MIME-Version: 1.0\r\n",
            from = self.numbers.below(500),
            to = self.numbers.below(500),
            day = 1 + number % 28,
            seed = self.seed,
        );
        if size < ATTACHMENTS_FROM_BYTES {
            let text = self.text(size.saturating_sub(head.len() + 50));
            return Some(
                format!("{head}Content-Type: text/plain; charset=us-ascii\r\n\r\n{text}").into_bytes(),
            );
        }
        let mut mail = head
            + "Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain\r\n\r\n";
        mail += &self.text(2000);
        let count = 1 + self.numbers.below(3);
        // Three bytes become four digits, and each line its end.
        let each = (size.saturating_sub(mail.len()) / count) * 73 / 100;
        for _ in 0..count {
            let attachment = self.attachment(each);
            let content = Numbers::seeded(attachment.seed).bytes(attachment.bytes);
            let width = if self.numbers.below(20) == 0 { 72 } else { 76 };
            mail += &format!(
                "--=_b\r\nContent-Type: application/pdf; name=\"f{0}.pdf\"\r\nContent-Disposition: attachment; \
                 filename=\"f{0}.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{1}",
                attachment.seed % 1000,
                wrapped(&content, width)
            );
        }
        mail += "--=_b--\r\n";
        Some(mail.into_bytes())
    }
}

/// Writes mails as `000000.eml` and so on into a new folder; answers their bytes together.
pub fn write_folder(folder: &Path, mails: impl Iterator<Item = Vec<u8>>) -> io::Result<u64> {
    fs::create_dir_all(folder)?;
    let mut bytes = 0;
    for (number, mail) in mails.enumerate() {
        bytes += mail.len() as u64;
        fs::write(folder.join(format!("{number:06}.eml")), mail)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openarchive_domain::Digest;
    use openarchive_mail::split_in_memory;

    use super::*;

    #[test]
    fn the_corpus_has_the_sizes_and_repeats_that_it_is_to_have() {
        let (mut sizes, mut parts) = (Vec::new(), BTreeMap::<Digest, (u64, u64)>::new());
        for mail in Corpus::new(8, 70).take(1500) {
            sizes.push(mail.len());
            for part in split_in_memory(&mail).0.skeleton.parts() {
                let seen = parts.entry(part.digest).or_insert((part.decoded_length, 0));
                seen.1 += 1;
            }
        }
        sizes.sort_unstable();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((80_000..125_000).contains(&mean), "mean {mean}");
        assert!((4_000..6_500).contains(&sizes[sizes.len() / 2]), "median {}", sizes[sizes.len() / 2]);
        let p99 = sizes[sizes.len() * 99 / 100];
        assert!((900_000..1_600_000).contains(&p99), "p99 {p99}");
        let occurrences: u64 = parts.values().map(|(_, count)| count).sum();
        let repeated = (occurrences - parts.len() as u64) * 100 / occurrences;
        assert!((62..76).contains(&repeated), "{repeated} % of the attachments repeat");
    }

    #[test]
    fn the_same_seed_gives_the_same_mail_and_sizes_can_be_chosen() {
        let digests = |corpus: Corpus| corpus.take(50).map(|mail| Digest::of(&mail)).collect::<Vec<_>>();
        assert_eq!(digests(Corpus::new(1, 70)), digests(Corpus::new(1, 70)));
        assert_ne!(digests(Corpus::new(1, 70)), digests(Corpus::new(2, 70)));
        for mail in Corpus::new(3, 70).of_sizes(77_000, 103_000).take(50) {
            // What is repeated may be half or twice as long as what it stands for.
            assert!((30_000..210_000).contains(&mail.len()), "{}", mail.len());
        }
    }
}
