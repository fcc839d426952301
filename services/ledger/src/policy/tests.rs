use proptest::prelude::*;

use super::*;
use crate::{
    fixtures::{ORIGIN, cosign, signer},
    note::{KeyError, NoteSignature, Signer},
    tree::Hash,
};

fn checkpoint(origin: &str) -> Checkpoint {
    Checkpoint { origin: origin.to_owned(), size: 3, root: Hash::of(b"root") }
}

/// A checkpoint signed by the log's key and by these witnesses (number n has seed 10 + n).
fn note(witnesses: &[u8]) -> (Checkpoint, Note) {
    let checkpoint = checkpoint(ORIGIN);
    let text = checkpoint.to_string();
    let mut lines = vec![signer(ORIGIN).signature(&text)];
    lines.extend(witnesses.iter().map(|n| cosign::line(&format!("w{n}.example"), 10 + n, 1, &text)));
    (checkpoint, Note::new(text, lines).unwrap())
}

fn log_line() -> String {
    format!("log {} https://archive.example.com/log\n", signer(ORIGIN).verifier())
}

fn witness_lines(count: u8) -> String {
    let line = |n| format!("witness W{n} {}", cosign::key(&format!("w{n}.example"), 10 + n));
    (1..=count).map(line).chain([String::new()]).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_policy_of_an_archives_first_start_is_the_committed_one_and_accepts_its_checkpoint() {
    let file = include_bytes!("../../fixtures/trust.policy");
    let policy = Policy::of_logs(vec![signer(ORIGIN).verifier().clone()]);
    assert_eq!(policy.to_text(), file);
    assert_eq!(Policy::parse(file), Ok(policy.clone()));
    let signed = include_str!("../../fixtures/checkpoint.note");
    let (checkpoint, note) = Checkpoint::parse_signed(signed).unwrap();
    assert_eq!(policy.check(&checkpoint, &note), Ok(Endorsement { witnesses: Vec::new() }));
    assert_eq!(checkpoint.sign(&signer(ORIGIN)).unwrap().to_string(), signed);
}

#[test]
fn only_checkpoints_of_a_listed_log_under_its_own_name_are_accepted() {
    let (genuine, signed) = note(&[]);
    let policy = |keys: &[&Signer]| Policy::of_logs(keys.iter().map(|key| key.verifier().clone()).collect());
    let own = signer(ORIGIN);
    let other_seed = Signer::new(ORIGIN, &[8; 32]).unwrap();
    let other_name = Signer::new("other.example/log", &[9; 32]).unwrap();
    let check = |policy: &Policy, expected: Result<(), PolicyFailure>| {
        assert_eq!(policy.check(&genuine, &signed).map(|_| ()), expected);
    };
    check(&policy(&[&own]), Ok(()));
    check(&policy(&[&other_name, &own]), Ok(()));
    check(&policy(&[&other_seed, &own]), Ok(()));
    check(&policy(&[&other_seed]), Err(PolicyFailure::ForeignKey));
    check(&policy(&[&other_name]), Err(PolicyFailure::UnknownLog));
    check(&policy(&[]), Err(PolicyFailure::UnknownLog));

    let forged = NoteSignature { signature: vec![1; 64], ..own.signature("") };
    let forged = Note::new(genuine.to_string(), vec![forged]).unwrap();
    assert_eq!(policy(&[&own]).check(&genuine, &forged), Err(PolicyFailure::BadSignature));

    // A log that signs in another log's place: its key is listed, but not for that origin.
    let usurped = checkpoint(ORIGIN);
    let signed = usurped.sign(&other_name).unwrap();
    assert_eq!(policy(&[&own, &other_name]).check(&usurped, &signed), Err(PolicyFailure::ForeignKey));
}

#[test]
fn quorums_count_witnesses_as_their_groups_say() {
    let groups = "group X 2 W1 W2 W3\ngroup Y any W4 W5\ngroup Z all X Y\n";
    let check = |quorum: &str, witnesses: &[u8], met: bool| {
        let policy: Policy =
            format!("{}{}{groups}quorum {quorum}\n", log_line(), witness_lines(5)).parse().unwrap();
        let (checkpoint, note) = note(witnesses);
        let expected: Result<Vec<String>, _> = if met {
            Ok(witnesses.iter().map(|n| format!("W{n}")).collect())
        } else {
            Err(PolicyFailure::NoQuorum)
        };
        let found = policy.check(&checkpoint, &note).map(|endorsement| endorsement.witnesses);
        assert_eq!(found, expected, "{quorum} {witnesses:?}");
        // What is written reads back as the same policy.
        assert_eq!(Policy::parse(&policy.to_text()), Ok(policy));
    };
    check("none", &[], true);
    check("none", &[2], true);
    check("W1", &[1], true);
    check("W1", &[2], false);
    check("X", &[1], false);
    check("X", &[1, 3], true);
    check("X", &[1, 2, 3], true);
    check("X", &[4, 5], false);
    check("Y", &[5], true);
    check("Z", &[1, 2], false);
    check("Z", &[2, 3, 4], true);
    check("Z", &[1, 4, 5], false);
}

#[test]
fn a_forged_cosignature_is_named_even_where_it_is_not_needed() {
    let policy: Policy = format!("{}{}quorum none\n", log_line(), witness_lines(1)).parse().unwrap();
    let (checkpoint, good) = note(&[1]);
    assert_eq!(policy.check(&checkpoint, &good).unwrap().witnesses, ["W1"]);
    let mut lines = good.signatures().to_vec();
    lines[1].signature[0] ^= 1;
    let forged = Note::new(checkpoint.to_string(), lines).unwrap();
    assert_eq!(policy.check(&checkpoint, &forged), Err(PolicyFailure::BadCosignature));
}

#[test]
fn white_space_comments_urls_and_opaque_octets_are_read_as_the_specification_says() {
    let mut file = b" \t# comment \xff\n\n\tlog\t".to_vec();
    file.extend(signer(ORIGIN).verifier().to_string().as_bytes());
    file.extend(b"  https://example.com/\xe4 \nwitness \xff ");
    file.extend(cosign::key("w1.example", 11).to_string().as_bytes());
    file.extend(b"\nquorum \xff\n#end\n");
    let policy = Policy::parse(&file).unwrap();
    let (checkpoint, cosigned) = note(&[1]);
    assert_eq!(policy.check(&checkpoint, &cosigned).unwrap().witnesses, ["\u{fffd}"]);
    assert!(policy.needs_witnesses());
    assert_eq!(policy.logs().len(), 1);
}

#[test]
fn every_rule_of_the_file_has_its_refusal() {
    use PolicyErrorKind as Kind;
    let prefix = witness_lines(3);
    let check = |rest: &str, line: usize, kind: Kind| {
        let parsed: Result<Policy, _> = format!("{prefix}{rest}").parse();
        assert_eq!(parsed, Err(PolicyError { line, kind }), "{rest:?}");
    };
    let w1 = cosign::key("w1.example", 11);
    let renamed = cosign::key("renamed.example", 11);
    check("", 3, Kind::Quorum);
    check("quorum none\nquorum none\n", 5, Kind::Quorum);
    check("quorum none", 4, Kind::NoNewline);
    check("quorum W4\n", 4, Kind::UndefinedName);
    check("quorum\n", 4, Kind::Items);
    check("quorum W1 W2\n", 4, Kind::Items);
    check("log\n", 4, Kind::Items);
    check("log a b c\n", 4, Kind::Items);
    check("log a\n", 4, Kind::Key(KeyError::Form));
    check(&format!("log {w1}\n"), 4, Kind::Key(KeyError::SignatureType { found: 4, expected: 1 }));
    check(&format!("{0}{0}", log_line()), 5, Kind::DuplicateKey);
    check(&format!("witness W9 {w1}\n"), 4, Kind::DuplicateKey);
    check(&format!("witness W9 {renamed}\n"), 4, Kind::DuplicateKey);
    check(&format!("witness W1 {}\n", cosign::key("w9.example", 19)), 4, Kind::DuplicateName);
    check(&format!("witness none {}\n", cosign::key("w9.example", 19)), 4, Kind::DuplicateName);
    check("group G all\n", 4, Kind::Items);
    check("group G all W4\n", 4, Kind::UndefinedName);
    check("group G all none\n", 4, Kind::UndefinedName);
    check("group G all G\n", 4, Kind::UndefinedName);
    check("group G all W1 W1\n", 4, Kind::UsedTwice);
    check("group G all W1\ngroup H any W1\n", 5, Kind::UsedTwice);
    for threshold in ["0", "3", "most", "+1", "-1"] {
        check(&format!("group G {threshold} W1 W2\n"), 4, Kind::Threshold);
    }
    check("group W1 any W2\n", 4, Kind::DuplicateName);
    check("Quorum none\n", 4, Kind::UnknownKeyword);
    check("quorum none\r\n", 4, Kind::ControlCharacter);
    check("# \u{7f}\n", 4, Kind::ControlCharacter);
}

#[test]
fn a_policy_has_at_most_one_mebibyte() {
    let file = |bytes: usize| {
        let quorum = b"\nquorum none\n";
        [vec![b'#'; bytes - quorum.len()], quorum.to_vec()].concat()
    };
    assert!(Policy::parse(&file(POLICY_BYTES_MAX)).is_ok());
    let error = Policy::parse(&file(POLICY_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(error.kind, PolicyErrorKind::TooLong);
}

proptest! {
    #[test]
    fn no_file_makes_the_parser_panic(file in "(log|witness|group|quorum|none|all|any|A|B|[0-9]| |\t|\n){0,60}") {
        let _ = Policy::parse(file.as_bytes());
    }
}
