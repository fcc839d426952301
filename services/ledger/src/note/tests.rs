use proptest::prelude::*;

use super::*;
use crate::base64_text;
use crate::cosignature::{self, WitnessKey};
use crate::fixtures::cosign;

/// The example of C2SP signed-note.
const SPEC_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SPEC_NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// The example of golang.org/x/mod/sumdb/note: its secret key, without the name, is 0x01 and the seed.
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_SEED: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn go_signer() -> Signer {
    let secret = base64_text::decode(GO_SEED).unwrap();
    Signer::new("PeterNeumann", secret[1..].try_into().unwrap()).unwrap()
}

#[test]
fn the_published_notes_verify_with_their_published_keys_and_no_other() {
    let verify = |key: &str, note: &str| key.parse::<Verifier>().unwrap().verify(&Note::parse(note).unwrap());
    assert_eq!(verify(SPEC_KEY, SPEC_NOTE), Ok(()));
    assert_eq!(verify(GO_KEY, GO_NOTE), Ok(()));
    assert_eq!(verify(SPEC_KEY, GO_NOTE), Err(VerifyError::NotSigned));
    assert_eq!(verify(GO_KEY, SPEC_NOTE), Err(VerifyError::NotSigned));
    assert_eq!(verify(GO_KEY, &GO_NOTE.replace("answer", "Answer")), Err(VerifyError::BadSignature));
}

#[test]
fn signing_gives_the_published_note_byte_for_byte() {
    let signer = go_signer();
    assert_eq!(signer.verifier().to_string(), GO_KEY);
    let text = Note::parse(GO_NOTE).unwrap().text().to_owned();
    assert_eq!(signer.sign(&text).unwrap().to_string(), GO_NOTE);
    assert_eq!(format!("{signer:?}"), format!("Signer({GO_KEY})"));
}

#[test]
fn any_cut_or_changed_byte_makes_a_verifier_key_unreadable() {
    for start in 0..GO_KEY.len() {
        for end in start..=GO_KEY.len() {
            let whole = start == 0 && end == GO_KEY.len();
            assert_eq!(GO_KEY[start..end].parse::<Verifier>().is_ok(), whole, "{start}..{end}");
        }
    }
    for position in 0..GO_KEY.len() {
        let mut bytes = GO_KEY.as_bytes().to_vec();
        bytes[position] += 1;
        assert!(String::from_utf8(bytes).unwrap().parse::<Verifier>().is_err(), "byte {position}");
    }
    let check = |key: &str, error| assert_eq!(key.parse::<Verifier>(), Err(error), "{key}");
    check("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", KeyError::Form);
    check(
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        KeyError::SignatureType { found: 0x65, expected: 1 },
    );
    check(&GO_KEY.replace("c74f", "C74F"), KeyError::KeyId);
}

#[test]
fn keys_of_small_order_and_names_with_spaces_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(Verifier::new("log", &identity), Err(KeyError::PublicKey));
    for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{2003}b"] {
        assert_eq!(Signer::new(name, &[7; 32]).map(|_| ()), Err(KeyError::Name), "{name:?}");
    }
}

#[test]
fn text_that_is_not_exactly_a_note_is_refused() {
    let check = |note: &str, error| assert_eq!(Note::parse(note), Err(error), "{note:?}");
    check("", NoteError::NoSignatures);
    check("text\n", NoteError::NoSignatures);
    check("text\n\n", NoteError::NoSignatures);
    check(GO_NOTE.trim_end(), NoteError::NoSignatures);
    check(&GO_NOTE.replace('\n', "\r\n"), NoteError::ControlCharacter);
    check(&GO_NOTE.replace('\u{2014}', "-"), NoteError::SignatureLine(1));
    check(&GO_NOTE.replace("nAM=", "nAM"), NoteError::SignatureLine(1));
    check(&format!("{GO_NOTE}more\n"), NoteError::SignatureLine(2));
    check("text\n\n\u{2014} name AAAAAA==\n", NoteError::SignatureLine(1));
    check("text\n\n\u{2014} a+b AAAAAAA=\n", NoteError::SignatureLine(1));
}

#[test]
fn the_text_may_hold_empty_lines_and_the_note_many_signatures_up_to_the_limits() {
    let signer = go_signer();
    let note = signer.sign("one\n\ntwo\n\n").unwrap();
    assert_eq!(Note::parse(&note.to_string()).unwrap().text(), "one\n\ntwo\n\n");

    let many = |count| Note::new("text\n".to_owned(), vec![signer.signature("text\n"); count]);
    assert_eq!(signer.verifier().verify(&many(NOTE_SIGNATURES_MAX).unwrap()), Ok(()));
    assert_eq!(many(NOTE_SIGNATURES_MAX + 1), Err(NoteError::TooManySignatures));
    assert_eq!(Note::new("no newline".to_owned(), vec![signer.signature("x")]), Err(NoteError::NoSignatures));

    let overhead = signer.sign("\n").unwrap().to_string().len() - 1;
    let text = |bytes: usize| "x".repeat(bytes - 1) + "\n";
    assert!(signer.sign(&text(NOTE_BYTES_MAX - overhead)).is_ok());
    assert_eq!(signer.sign(&text(NOTE_BYTES_MAX - overhead + 1)), Err(NoteError::TooLong));
}

#[test]
fn one_bad_signature_in_a_keys_name_spoils_its_good_one() {
    let signer = go_signer();
    let bad = NoteSignature { signature: vec![0; 64], ..signer.signature("text\n") };
    let unknown = NoteSignature { key_id: 1, ..bad.clone() };
    let note = |extra| Note::new("text\n".to_owned(), vec![signer.signature("text\n"), extra]).unwrap();
    assert_eq!(signer.verifier().verify(&note(bad)), Err(VerifyError::BadSignature));
    assert_eq!(signer.verifier().verify(&note(unknown)), Ok(()));
}

#[test]
fn a_cosignature_verifies_for_its_time_and_note_only() {
    let note = Note::parse(GO_NOTE).unwrap();
    let witness: WitnessKey = cosign::key("witness.example/w1", 9);
    assert_eq!(witness.to_string().parse(), Ok(witness.clone()));
    assert_eq!(witness.verify(&note), Err(VerifyError::NotSigned));

    let line = |time| cosign::line("witness.example/w1", 9, time, note.text());
    let with = |lines: Vec<NoteSignature>| Note::new(note.text().to_owned(), lines).unwrap();
    assert_eq!(witness.verify(&with(vec![line(1_679_315_147)])), Ok(1_679_315_147));
    assert_eq!(witness.verify(&with(vec![line(5), line(7), line(6)])), Ok(7));
    let mut moved = line(5);
    moved.signature[7] = 6;
    assert_eq!(witness.verify(&with(vec![moved])), Err(VerifyError::BadSignature));
    assert_eq!(witness.verify(&with(vec![line(1 << 63)])), Err(VerifyError::BadSignature));
    let short = NoteSignature { signature: vec![0; 7], ..line(5) };
    assert_eq!(witness.verify(&with(vec![short])), Err(VerifyError::BadSignature));
    assert_eq!(
        cosignature::message(1_679_315_147, "example.com/behind-the-sofa\n"),
        b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n"
    );
    // A log key is no witness key and the other way round.
    assert!(GO_KEY.parse::<WitnessKey>().is_err());
    assert!(witness.to_string().parse::<Verifier>().is_err());
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_a_changed_text_does_not(
        seed: [u8; 32], text in "([ -~äß—\n]{0,60}\n)",
    ) {
        let signer = Signer::new("log.example/1", &seed).unwrap();
        let note = signer.sign(&text).unwrap();
        let read = Note::parse(&note.to_string()).unwrap();
        prop_assert_eq!(&read, &note);
        prop_assert_eq!(signer.verifier().verify(&read), Ok(()));
        let forged = Note::new(format!("x{text}"), note.signatures().to_vec()).unwrap();
        prop_assert_eq!(signer.verifier().verify(&forged), Err(VerifyError::BadSignature));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(— [a-z]{1,3} [A-Za-z0-9+/=]{0,12}|[a-z ]{0,5}|\n){0,20}") {
        if let Ok(note) = Note::parse(&text) {
            prop_assert_eq!(note.to_string(), text);
        }
    }
}
