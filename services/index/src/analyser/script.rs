//! What kind of character is it.

use unicode_normalization::char::is_combining_mark;

/// Characters that are indexed in pairs: Han, kana, bopomofo, Hangul.
pub(super) fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x115F                     // Hangul jamo, leading consonants (decomposed syllables start here)
        | 0x3005..=0x3007 | 0x3021..=0x3029 | 0x3031..=0x3035 | 0x303B // iteration marks, Hangzhou numerals
        | 0x3041..=0x3096 | 0x309D..=0x309F // hiragana
        | 0x30A1..=0x30FA | 0x30FC..=0x30FF // katakana
        | 0x3105..=0x312F | 0x31A0..=0x31BF // bopomofo
        | 0x3131..=0x318E                   // Hangul compatibility jamo
        | 0x31F0..=0x31FF                   // katakana extensions
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF // Han
        | 0xA960..=0xA97C                   // Hangul jamo extended A
        | 0xAC00..=0xD7A3                   // Hangul syllables
        | 0xF900..=0xFAFF                   // Han compatibility
        | 0xFF66..=0xFF9D                   // halfwidth katakana
        | 0xFFA0..=0xFFDC                   // halfwidth Hangul
        | 0x1B000..=0x1B16F                 // kana supplement
        | 0x20000..=0x3FFFD                 // Han extensions
    )
}

/// What belongs to the CJK character before it: marks, voicing, the rest of a decomposed Hangul syllable.
pub(super) fn attaches_to_cjk(c: char) -> bool {
    matches!(u32::from(c), 0x1160..=0x11FF | 0xD7B0..=0xD7FB | 0xFF9E..=0xFF9F) || is_attached(c)
}

/// Format characters without meaning for search: soft hyphen, joiners, direction marks. They neither split a word
/// nor take part in it. (U+200B, the zero width space, is no such character: it separates words.)
pub(super) fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0x00AD | 0x061C | 0x180E | 0x200C..=0x200F | 0x202A..=0x202E | 0x2060..=0x2064 | 0x2066..=0x206F | 0xFEFF)
}

/// What cannot begin a word: it belongs to the character before it.
pub(super) fn is_attached(c: char) -> bool {
    is_combining_mark(c) || is_invisible(c)
}

/// What words are made of. Everything else separates.
pub(super) fn is_word_character(c: char) -> bool {
    c.is_alphanumeric() || is_attached(c)
}

/// Marks that fold away: accents and the optional vowel points of Hebrew, Arabic and Syriac. The vowel signs of
/// Indic scripts and Thai are marks too, but they are letters to their readers and stay.
pub(super) fn is_folded_mark(c: char) -> bool {
    matches!(u32::from(c),
        0x0300..=0x036F | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x20D0..=0x20FF | 0xFE00..=0xFE0F | 0xFE20..=0xFE2F
        | 0x0483..=0x0489                                                       // Cyrillic
        | 0x0591..=0x05BD | 0x05BF | 0x05C1..=0x05C2 | 0x05C4..=0x05C5 | 0x05C7 // Hebrew
        | 0x0610..=0x061A | 0x064B..=0x065F | 0x0670                            // Arabic
        | 0x06D6..=0x06DC | 0x06DF..=0x06E4 | 0x06E7..=0x06E8 | 0x06EA..=0x06ED
        | 0x0711 | 0x0730..=0x074A                                              // Syriac
        | 0xE0100..=0xE01EF)
}
