//! Folding: what makes two spellings the same word.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::{
    TOKEN_BYTES_MAX,
    script::{is_folded_mark, is_invisible},
};

/// How much of a word is looked at, in bytes: so much that a token of full length comes out of it.
const WORD_BYTES_READ_MAX: usize = 8 * TOKEN_BYTES_MAX;

/// The longest start of `text` of at most `bytes` bytes that ends between characters.
pub(super) fn clip(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Folds a word that is no CJK into `out` (which is cleared); empty if nothing searchable is left of it.
pub(super) fn word(source: &str, out: &mut String) {
    out.clear();
    if source.is_ascii() {
        out.push_str(clip(source, TOKEN_BYTES_MAX));
        out.make_ascii_lowercase();
        return;
    }
    for c in clip(source, WORD_BYTES_READ_MAX).nfkd().filter(|c| c.is_alphanumeric() || is_combining_mark(*c))
    {
        fold(c, out);
    }
    if out.contains(char::is_alphanumeric) {
        out.truncate(out.floor_char_boundary(TOKEN_BYTES_MAX));
    } else {
        out.clear();
    }
}

/// Folds a CJK character with what attaches to it. Composed (NFKC), because the marks of kana and the jamo of Hangul
/// are part of the letter.
pub(super) fn character(source: &str) -> String {
    clip(source, TOKEN_BYTES_MAX)
        .chars()
        .filter(|c| !is_invisible(*c) && !is_folded_mark(*c))
        .nfkc()
        .filter(|c| c.is_alphanumeric())
        .collect()
}

/// Folds any text, keeping its punctuation: for addresses. At most `bytes` long.
pub(super) fn verbatim(source: &str, bytes: usize) -> String {
    let mut out = String::new();
    for c in clip(source, bytes).nfkd() {
        fold(c, &mut out);
    }
    out.truncate(out.floor_char_boundary(bytes));
    out
}

/// Folds one character of a decomposed text.
fn fold(c: char, out: &mut String) {
    const ARABIC_TATWEEL: char = '\u{0640}';
    if is_folded_mark(c) || is_invisible(c) || c == ARABIC_TATWEEL {
        return;
    }
    for lower in c.to_lowercase() {
        match lower {
            'ß' => out.push_str("ss"),
            'ς' => out.push('σ'),
            // Letters with a stroke or ligatures, which Unicode does not decompose.
            'æ' => out.push_str("ae"),
            'œ' => out.push_str("oe"),
            'þ' => out.push_str("th"),
            'ø' => out.push('o'),
            'đ' | 'ð' => out.push('d'),
            'ħ' => out.push('h'),
            'ı' => out.push('i'),
            'ł' => out.push('l'),
            'ŧ' => out.push('t'),
            other => out.push(other),
        }
    }
}
