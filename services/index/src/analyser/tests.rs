use proptest::{prelude::*, test_runner::RngSeed};
use unicode_segmentation::UnicodeSegmentation as _;

use super::*;
use crate::Address;

fn check(text: &str, words: &[&str]) {
    let tokens = analyse(text);
    let found: Vec<_> = tokens.iter().map(|token| token.text.as_str()).collect();
    assert_eq!(found, words, "{text:?}");
}

#[test]
fn words_are_split_at_everything_that_is_no_letter_digit_or_mark() {
    check("", &[]);
    check(" .,;!? — … ", &[]);
    check("Hello, World!", &["hello", "world"]);
    check("rechnung_2024-03.pdf", &["rechnung", "2024", "03", "pdf"]);
    check("alice.smith@example.org", &["alice", "smith", "example", "org"]);
    check("don't l'eau 3.14 1,000", &["don", "t", "l", "eau", "3", "14", "1", "000"]);
    check("v2beta3", &["v2beta3"]);
    check("a\u{200B}b", &["a", "b"]);
}

#[test]
fn case_diacritics_and_compatibility_forms_do_not_matter() {
    check("Müller MU\u{0308}LLER muller", &["muller", "muller", "muller"]);
    check("Straße STRASSE STRAẞE", &["strasse", "strasse", "strasse"]);
    check("Ærø Œuvre Łódź Đorđe İstanbul ılık", &["aero", "oeuvre", "lodz", "dorde", "istanbul", "ilik"]);
    check("ΟΔΟΣ οδός", &["οδοσ", "οδοσ"]);
    check("ﬁne ＡＢＣ１ ª", &["fine", "abc1", "a"]);
    check("Ein\u{AD}heit zu\u{200D}sammen", &["einheit", "zusammen"]);
    check("ПриВет йод", &["привет", "иод"]);
}

#[test]
fn right_to_left_scripts_are_found_with_and_without_their_vowel_points() {
    check("שָׁלוֹם שלום", &["שלום", "שלום"]);
    check("\u{200F}שלום\u{200F}", &["שלום"]);
    check("مُحَمَّد محمد محـــمد", &["محمد", "محمد", "محمد"]);
    check("أحمد احمد", &["احمد", "احمد"]);
}

#[test]
fn vowel_signs_of_indic_and_thai_scripts_are_letters() {
    check("हिन्दी", &["हिन्दी"]);
    assert_ne!(analyse("कि"), analyse("कु"));
    check("ไทย", &["ไ", "ท", "ย"]);
}

#[test]
fn neighbouring_cjk_characters_are_tokens_and_a_lone_one_is_one() {
    check("日", &["日"]);
    check("日本", &["日本"]);
    check("日本語", &["日本", "本語"]);
    check("日本 語", &["日本", "語"]);
    check("日、本", &["日", "本"]);
    check("abc日本def", &["abc", "日本", "def"]);
    check("2024年3月", &["2024", "年", "3", "月"]);
    check("東京タワーへ", &["東京", "京タ", "タワ", "ワー", "ーへ"]);
    check("대한민국", &["대한", "한민", "민국"]);
}

#[test]
fn cjk_is_the_same_composed_decomposed_and_half_width() {
    check("ガイド", &["ガイ", "イド"]);
    check("カ\u{3099}イト\u{3099}", &["ガイ", "イド"]);
    check("ｶﾞｲﾄﾞ", &["ガイ", "イド"]);
    check("\u{1112}\u{1161}\u{11AB}\u{1100}\u{1173}\u{11AF}", &["한글"]);
    assert_ne!(analyse("ハハ"), analyse("パパ"));
}

#[test]
fn tokens_say_where_they_stand() {
    let tokens = analyse("Ä-日本語 x");
    let places: Vec<_> = tokens.iter().map(|token| (token.position, token.start, token.end)).collect();
    assert_eq!(places, [(0, 0, 2), (1, 3, 9), (2, 6, 12), (3, 13, 14)]);
}

#[test]
fn a_token_is_cut_at_its_limit() {
    for (word, length) in [
        ("x".repeat(TOKEN_BYTES_MAX), TOKEN_BYTES_MAX),
        ("x".repeat(TOKEN_BYTES_MAX + 1), TOKEN_BYTES_MAX),
        ("я".repeat(TOKEN_BYTES_MAX), TOKEN_BYTES_MAX),
        ("xя".repeat(TOKEN_BYTES_MAX), TOKEN_BYTES_MAX - 1),
        ("x".repeat(1_000_000), TOKEN_BYTES_MAX),
    ] {
        let tokens = analyse(&format!("{word} next"));
        assert_eq!(tokens.iter().map(|token| token.text.len()).collect::<Vec<_>>(), [length, 4]);
        assert_eq!(tokens[0].end, word.len());
    }
}

#[test]
fn an_address_is_found_by_name_local_part_domain_and_as_a_whole() {
    let words = |tokens: &[Token]| tokens.iter().map(|token| token.text.clone()).collect::<Vec<_>>();
    let tokens = AddressTokens::of(&Address::new("Müller, Jürgen", " <J.Mueller@Example.ORG> "));
    assert_eq!(words(&tokens.name), ["muller", "jurgen"]);
    assert_eq!(words(&tokens.local), ["j", "mueller"]);
    assert_eq!(tokens.whole.as_deref(), Some("j.mueller@example.org"));
    assert_eq!(tokens.domain.as_deref(), Some("@example.org"));

    let tokens = AddressTokens::of(&Address::new("", "MAILER-DAEMON"));
    assert_eq!(words(&tokens.local), ["mailer", "daemon"]);
    assert_eq!((tokens.whole, tokens.domain), (None, None));
    assert_eq!(AddressTokens::of(&Address::default()), AddressTokens::default());
}

#[test]
fn addresses_and_identifiers_are_cut_at_their_limits() {
    let at = |bytes: usize| normalise_address(&"a".repeat(bytes)).len();
    assert_eq!((at(ADDRESS_BYTES_MAX), at(ADDRESS_BYTES_MAX + 1)), (ADDRESS_BYTES_MAX, ADDRESS_BYTES_MAX));
    let id = |bytes: usize| normalise_message_id(&"I".repeat(bytes)).len();
    assert_eq!(
        (id(MESSAGE_ID_BYTES_MAX), id(MESSAGE_ID_BYTES_MAX + 1)),
        (MESSAGE_ID_BYTES_MAX, MESSAGE_ID_BYTES_MAX)
    );
    assert_eq!(normalise_message_id(" <CAF=1+x@Mail.Example> "), "caf=1+x@mail.example");
}

/// Plain words by the definition, without the fast ways: UAX #29 first, then split at what is no word character.
fn by_definition(text: &str) -> Vec<String> {
    let pieces = text.unicode_words().flat_map(|word| word.split(|c| !script::is_word_character(c)));
    let folded = pieces.map(|piece| {
        let mut out = String::new();
        fold::word(piece.trim_start_matches(script::is_attached), &mut out);
        out
    });
    folded.filter(|word| !word.is_empty()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(29), failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn the_fast_ways_give_the_words_of_the_definition(text in "[a-cA-C0-2 äßÉéñ\u{301}\u{AD}\u{200D}абвשלםكกขิ'._:,@-]{0,40}") {
        let words: Vec<_> = analyse(&text).into_iter().map(|token| token.text).collect();
        prop_assert_eq!(words, by_definition(&text));
    }

    #[test]
    fn any_text_gives_tokens_in_order_within_bounds_that_are_not_empty(text in "\\PC{0,60}|[日本語ｶﾞカ\u{3099}\u{1112}\u{1161}가abc \u{0}]{0,40}") {
        let tokens = analyse(&text);
        for (at, token) in tokens.iter().enumerate() {
            prop_assert_eq!(token.position, at);
            prop_assert!(!token.text.is_empty() && token.text.len() <= TOKEN_BYTES_MAX);
            prop_assert!(token.start < token.end && token.end <= text.len());
            prop_assert!(text.is_char_boundary(token.start) && text.is_char_boundary(token.end));
        }
        prop_assert!(tokens.windows(2).all(|pair| pair[0].start < pair[1].start && pair[0].end < pair[1].end));
    }

    #[test]
    fn a_word_that_is_folded_stays_as_it_is(text in "\\PC{0,60}") {
        for token in analyse(&text).into_iter().filter(|token| !token.text.contains(script::is_cjk)) {
            let mut again = String::new();
            fold::word(&token.text, &mut again);
            prop_assert_eq!(again, token.text);
        }
        let address = normalise_address(&text);
        prop_assert_eq!(normalise_address(&address), address);
    }
}
