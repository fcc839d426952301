use proptest::prelude::*;

use super::*;
use crate::{Base64Recipe, LineEnd, join_in_memory};

fn content() -> Vec<u8> {
    let mut content: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(4);
    content.extend_from_slice(b"end!");
    content
}

fn part(decoded_length: u64, recipe: Recipe) -> Segment {
    Segment::Part(PartRef { digest: Digest::of(b"content"), decoded_length, recipe })
}

fn verbatim(bytes: &[u8]) -> Segment {
    Segment::Verbatim(bytes.to_vec())
}

fn base64_recipe() -> Base64Recipe {
    Base64Recipe {
        line_length: 76,
        line_end: LineEnd::CrLf,
        padding: 2,
        last_break: true,
        trailing: b"ab".to_vec(),
    }
}

fn sample() -> Skeleton {
    let base64 = part(100, Recipe::Base64(base64_recipe()));
    Skeleton::new(vec![verbatim(b"Hi\r\n"), base64, part(5, Recipe::Identity)]).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_encoding_is_what_the_format_says_byte_for_byte() {
    let digest = Digest::of(b"content").hex();
    let expected = [
        "4f41534b 01 0000000000000097 00000003",
        "00 00000004 48690d0a",
        &format!("01 {digest} 0000000000000064 01 004c 01 02 01 0002 6162"),
        &format!("01 {digest} 0000000000000005 00 0000 00 00 00 0000"),
    ];
    // 4 verbatim + (136 digits and signs + 2 breaks + 2 trailing) + 5 = 0x97
    assert_eq!(sample().encode(), unhex(&expected.concat().replace(' ', "")));
    assert_eq!(sample().digest(), Digest::of(&sample().encode()));
}

#[test]
fn every_skeleton_ever_written_in_version_1_still_reads_and_joins() {
    let mut read = 0;
    for line in include_str!("../../corpus/skeleton-v1.txt").lines().filter(|line| !line.starts_with('#')) {
        let (name, hex) = line.split_once('\t').unwrap();
        let bytes = unhex(hex);
        let skeleton = Skeleton::decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(skeleton.encode(), bytes, "{name}");
        let contents = [content(), content()[..1027].to_vec()];
        let joined = join_in_memory(&skeleton, |digest| {
            contents.iter().find(|content| Digest::of(content) == *digest).cloned()
        });
        assert_eq!(joined.map(|message| message.len() as u64), Ok(skeleton.message_length()), "{name}");
        read += 1;
    }
    assert_eq!(read, 8);
}

/// Decodes the sample with some bytes replaced.
fn decode_with(changes: &[(usize, u8)]) -> Result<Skeleton, SkeletonError> {
    let mut bytes = sample().encode();
    for (at, byte) in changes {
        bytes[*at] = *byte;
    }
    Skeleton::decode(&bytes)
}

#[test]
fn each_rule_that_bytes_can_break_has_its_error() {
    let (base64, identity) = (17 + 9, 17 + 9 + 51);
    assert_eq!(decode_with(&[]), Ok(sample()));
    for (changes, expected) in [
        (vec![(0, b'o')], SkeletonError::Magic),
        (vec![(4, 2)], SkeletonError::Version(2)),
        (vec![(12, 0x96)], SkeletonError::LengthsDiffer { declared: 0x96, sum: 0x97 }),
        (vec![(12, 0x98)], SkeletonError::LengthsDiffer { declared: 0x98, sum: 0x97 }),
        (vec![(5, 1)], SkeletonError::MessageTooLong { declared: (1 << 56) + 0x97 }),
        (vec![(16, 2)], SkeletonError::AfterLast { at: identity, bytes: 49 }),
        (vec![(16, 4)], SkeletonError::Truncated { at: identity + 49 }),
        (vec![(13, 0xff)], SkeletonError::Truncated { at: identity + 49 }),
        (vec![(18, 0xff)], SkeletonError::Truncated { at: identity + 49 }),
        (vec![(17, 7)], SkeletonError::SegmentKind { index: 0, kind: 7 }),
        (vec![(base64 + 41, 9)], SkeletonError::Encoding { index: 1, encoding: 9 }),
        (vec![(base64 + 44, 3)], SkeletonError::LineEnd { index: 1, line_end: 3 }),
        (vec![(base64 + 46, 2)], SkeletonError::LastBreak { index: 1, value: 2 }),
        (
            vec![(base64 + 45, 1)],
            SkeletonError::Recipe { index: 1, source: RecipeError::Padding { found: 1, needed: 2 } },
        ),
        (vec![(identity + 43, 76)], SkeletonError::UnusedField { index: 2 }),
        (vec![(identity + 40, 0)], SkeletonError::EmptySegment { index: 2 }),
        (
            vec![(identity + 33, 0xff)],
            SkeletonError::LengthsDiffer { declared: 0x97, sum: 0xff00_0000_0000_0097 },
        ),
    ] {
        assert_eq!(decode_with(&changes), Err(expected), "{changes:?}");
        assert!(!expected.to_string().is_empty());
    }
    assert_eq!(Skeleton::decode(b""), Err(SkeletonError::Magic));
}

#[test]
fn segments_that_are_no_canonical_skeleton_are_refused() {
    let refused = |segments: Vec<Segment>| Skeleton::new(segments).unwrap_err();
    assert_eq!(refused(vec![verbatim(b"")]), SkeletonError::EmptySegment { index: 0 });
    assert_eq!(refused(vec![verbatim(b"a"), verbatim(b"b")]), SkeletonError::VerbatimNotMerged { index: 1 });
    assert_eq!(refused(vec![part(0, Recipe::Identity)]), SkeletonError::EmptySegment { index: 0 });
}

#[test]
fn a_skeleton_is_not_a_bomb() {
    let of = |length: u64| Skeleton::new(vec![part(length, Recipe::Identity)]);
    assert!(of(MESSAGE_BYTES_MAX).is_ok());
    let declared = MESSAGE_BYTES_MAX + 1;
    assert_eq!(of(declared), Err(SkeletonError::MessageTooLong { declared }));

    // 1 decoded byte becomes a short line; 100 MiB of them would become far more than the limit.
    let blown = Base64Recipe { line_length: 1, padding: 0, trailing: Vec::new(), ..base64_recipe() };
    let blown = Skeleton::new(vec![part(100 << 20, Recipe::Base64(blown))]);
    assert!(matches!(blown, Err(SkeletonError::MessageTooLong { .. })));
    let wrapping = Skeleton::new(vec![part(u64::MAX, Recipe::Identity), part(2, Recipe::Identity)]);
    assert_eq!(wrapping, Err(SkeletonError::MessageTooLong { declared: u64::MAX }));

    let references = |count| Skeleton::new(vec![part(1, Recipe::Identity); count]);
    let most = references(REFERENCES_MAX).unwrap();
    assert_eq!(Skeleton::decode(&most.encode()), Ok(most));
    assert_eq!(references(REFERENCES_MAX + 1), Err(SkeletonError::TooManyReferences));
}

#[test]
fn a_skeleton_of_more_than_16_mib_is_not_read() {
    let of = |bytes: usize| Skeleton::new(vec![verbatim(&vec![b'x'; bytes - 22])]).unwrap().encode();
    assert!(Skeleton::decode(&of(SKELETON_BYTES_MAX)).is_ok());
    let bytes = SKELETON_BYTES_MAX + 1;
    assert_eq!(Skeleton::decode(&of(bytes)), Err(SkeletonError::TooLong { bytes }));
}

#[test]
fn a_whole_message_is_one_part_from_1_kib_on() {
    assert_eq!(Skeleton::whole(b"").segments(), []);
    assert_eq!(Skeleton::whole(&[b'x'; 1023]).segments(), [verbatim(&[b'x'; 1023])]);
    let whole = Skeleton::whole(&[b'x'; 1024]);
    assert_eq!(whole.parts().map(|part| part.decoded_length).collect::<Vec<_>>(), [1024]);
    for length in [0, 1, 1023, 1024] {
        let whole = Skeleton::whole(&vec![b'x'; length]);
        assert_eq!(Skeleton::new(whole.segments().to_vec()), Ok(whole.clone()));
        assert_eq!(Skeleton::decode(&whole.encode()), Ok(whole));
    }
}

proptest! {
    #![proptest_config(crate::split::seeded(256))]

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(changes in proptest::collection::vec((0usize..126, any::<u8>()), 0..3), cut in 0usize..127) {
        let mut bytes = sample().encode();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(cut.max(100));
        if let Ok(skeleton) = Skeleton::decode(&bytes) {
            prop_assert_eq!(skeleton.encode(), bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_without_harm(rest: Vec<u8>) {
        let bytes = [b"OASK\x01".as_slice(), &rest].concat();
        if let Ok(skeleton) = Skeleton::decode(&bytes) {
            prop_assert_eq!(skeleton.encode(), bytes);
        }
    }
}
