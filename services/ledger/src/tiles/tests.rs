use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::tree::{self, Hash, LeafHashes, consistency_plan, inclusion_plan, leaf_hash, root_of};

fn leaf_hashes(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

/// Grows a log in steps and keeps every tile that it wrote, as stored bytes.
fn grown(hashes: &[Hash], steps: &[u64]) -> (RightEdge, BTreeMap<TileId, Vec<u8>>) {
    let mut edge = RightEdge::empty();
    let mut stored = BTreeMap::new();
    for &size in steps {
        let old = edge.size();
        let written = edge.append(&hashes[old as usize..size as usize]);
        let ids: Vec<TileId> = written.iter().map(|tile| tile.id).collect();
        assert_eq!(ids, growth(old, size).tiles, "{old} to {size}");
        stored.extend(written.iter().map(|tile| (tile.id, tile.bytes())));
        assert_eq!(edge.root(), root_of(&hashes[..size as usize]), "{size} leaves");
    }
    (edge, stored)
}

#[test]
fn paths_are_those_of_the_specification() {
    let tile = |level, index, width| TileId { level, index, width };
    let check = |id: TileId, path: &str| {
        assert_eq!(id.to_string(), path);
        assert_eq!(path.parse(), Ok(id));
    };
    check(tile(0, 0, 256), "tile/0/000");
    check(tile(0, 273, 112), "tile/0/273.p/112");
    check(tile(3, 1_234_067, 256), "tile/3/x001/x234/067");
    check(tile(7, 1000, 1), "tile/7/x001/000.p/1");
    let bundle = BundleId { index: 1_234_067, width: 255 };
    assert_eq!(bundle.to_string(), "tile/entries/x001/x234/067.p/255");
    assert_eq!("tile/entries/x001/x234/067.p/255".parse(), Ok(bundle));
    for bad in [
        "",
        "tile/0/0",
        "tile/00/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/8/000",
        "tile/0/000/",
        "/tile/0/000",
        "tile/entries/000",
        "tile/0/+01",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/1234",
    ] {
        assert!(bad.parse::<TileId>().is_err(), "{bad:?}");
    }
    assert!("tile/0/000".parse::<BundleId>().is_err());
}

#[test]
fn a_tree_of_70000_has_the_tiles_that_the_specification_counts() {
    let tiles: Vec<TileId> = tiles_of_tree(70_000).collect();
    let full = |level| tiles.iter().filter(|tile| tile.level == level && tile.is_full()).count();
    let partial: Vec<_> =
        tiles.iter().filter(|tile| !tile.is_full()).map(|tile| (tile.level, tile.width)).collect();
    assert_eq!((full(0), full(1), full(2)), (273, 1, 0));
    assert_eq!(partial, [(0, 112), (1, 17), (2, 1)]);
    assert_eq!(growth(0, 70_000).tiles, tiles);

    let of_256: Vec<String> = tiles_of_tree(256).map(|tile| tile.to_string()).collect();
    assert_eq!(of_256, ["tile/0/000", "tile/1/000.p/1"]);
}

#[test]
fn a_growth_writes_what_changed_and_names_what_it_replaces() {
    let check = |old, new, tiles: &[&str], bundles: &[&str], obsolete: &[&str]| {
        let growth = growth(old, new);
        let paths = |ids: &[TileId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(paths(&growth.tiles), tiles, "{old} to {new}");
        assert_eq!(growth.bundles.iter().map(ToString::to_string).collect::<Vec<_>>(), bundles);
        let bundles = growth.obsolete_bundles.iter().map(ToString::to_string);
        assert_eq!(paths(&growth.obsolete_tiles).into_iter().chain(bundles).collect::<Vec<_>>(), obsolete);
    };
    check(0, 0, &[], &[], &[]);
    check(5, 5, &[], &[], &[]);
    check(9, 5, &[], &[], &[]);
    check(0, 3, &["tile/0/000.p/3"], &["tile/entries/000.p/3"], &[]);
    check(3, 4, &["tile/0/000.p/4"], &["tile/entries/000.p/4"], &[]);
    check(
        250,
        260,
        &["tile/0/000", "tile/0/001.p/4", "tile/1/000.p/1"],
        &["tile/entries/000", "tile/entries/001.p/4"],
        &["tile/0/000.p/250", "tile/entries/000.p/250"],
    );
    check(256, 257, &["tile/0/001.p/1"], &["tile/entries/001.p/1"], &[]);
    check(
        65_535,
        65_536,
        &["tile/0/255", "tile/1/000", "tile/2/000.p/1"],
        &["tile/entries/255"],
        &["tile/0/255.p/255", "tile/1/000.p/255", "tile/entries/255.p/255"],
    );
}

#[test]
fn tiles_grown_over_three_levels_answer_as_the_leaves_do() {
    let size = 65_536 + 256 + 7;
    let hashes = leaf_hashes(size);
    let (edge, stored) = grown(&hashes, &[1, 255, 256, 257, 65_535, 65_536, size]);
    let loaded = RightEdge::load(size, |id| {
        stored[&id].as_chunks::<32>().0.iter().copied().map(Hash::from_bytes).collect()
    });
    assert_eq!(loaded.unwrap().root(), edge.root());

    let root = edge.root();
    for index in [0, 255, 256, 65_535, 65_536, size - 1] {
        let plan = inclusion_plan(index, size).unwrap();
        let set = fetched(&stored, &tiles_of_plan(&plan, size));
        let proof = tree::inclusion_proof(index, size, &set).unwrap();
        tree::verify_inclusion(&hashes[index as usize], index, size, &proof, &root).unwrap();
    }
    for old in [1, 256, 257, 65_535, 65_536, size] {
        let plan = consistency_plan(old, size).unwrap();
        let set = fetched(&stored, &tiles_of_plan(&plan, size));
        let proof = tree::consistency_proof(old, size, &set).unwrap();
        tree::verify_consistency(old, &root_of(&hashes[..old as usize]), size, &root, &proof).unwrap();
    }
    let all = fetched(&stored, &tiles_of_tree(size).collect::<Vec<_>>());
    assert_eq!(tree::root_at(size, &all), Ok(root));
}

/// Only the named tiles, as a client would fetch them.
fn fetched(stored: &BTreeMap<TileId, Vec<u8>>, ids: &[TileId]) -> TileSet {
    let mut set = TileSet::default();
    for id in ids {
        set.insert_bytes(*id, &stored[id]).unwrap();
    }
    set
}

#[test]
fn an_edge_is_not_taken_up_from_tiles_of_another_width() {
    let error = RightEdge::load(300, |id| vec![Hash::of(b""); usize::from(id.width) - 1]).unwrap_err();
    assert_eq!(error, EdgeError { level: 0, size: 300, found: 43, expected: 44 });
    assert_eq!(RightEdge::load(0, |_| Vec::new()).unwrap().root(), tree::empty_root());
    let tile = TileId { level: 0, index: 0, width: 2 };
    for bytes in [63, 65, 32] {
        let refused = TileSet::default().insert_bytes(tile, &vec![0; bytes]);
        assert_eq!(refused, Err(TileError::Length { tile, bytes, expected: 64 }));
    }
}

#[test]
fn bundles_hold_their_entries_and_nothing_else() {
    let long = vec![7; ENTRY_BYTES_MAX];
    let entries: [&[u8]; 3] = [b"", b"abc", &long];
    let bytes = encode_bundle(&entries).unwrap();
    assert_eq!(bytes[..7], [0, 0, 0, 3, b'a', b'b', b'c']);
    assert_eq!(decode_bundle(&bytes, 3).unwrap(), entries);
    assert_eq!(decode_bundle(&bytes, 4), Err(BundleError::EntryCount { found: 3, expected: 4 }));
    assert_eq!(decode_bundle(&bytes, 2), Err(BundleError::EntryCount { found: 3, expected: 2 }));
    assert_eq!(decode_bundle(&bytes[..bytes.len() - 1], 3), Err(BundleError::Truncated { position: 2 }));
    assert_eq!(decode_bundle(&bytes[..3], 3), Err(BundleError::Truncated { position: 1 }));
    let too_long = vec![0; ENTRY_BYTES_MAX + 1];
    assert_eq!(
        encode_bundle(&[too_long]),
        Err(BundleError::EntryTooLong { position: 0, bytes: ENTRY_BYTES_MAX + 1 })
    );
    assert!(encode_bundle(&vec![b"x"; 256]).is_ok());
    assert!(encode_bundle(&vec![b"x"; 257]).is_err());
    assert!(encode_bundle::<&[u8]>(&[]).is_err());
}

proptest! {
    #[test]
    fn tiles_equal_direct_computation_however_the_log_grew(
        mut steps in proptest::collection::vec(1..1200u64, 1..8), index: u64, old: u64,
    ) {
        steps.sort_unstable();
        steps.dedup();
        let size = *steps.last().unwrap();
        let hashes = leaf_hashes(size);
        let (_, stored) = grown(&hashes, &steps);
        for id in tiles_of_tree(size) {
            let first = (id.index * 256) as usize;
            let direct: Vec<Hash> = (first..first + usize::from(id.width))
                .map(|position| match id.level {
                    0 => hashes[position],
                    _ => root_of(&hashes[position * 256..(position + 1) * 256]),
                })
                .collect();
            let bytes: Vec<u8> = direct.iter().flat_map(|hash| *hash.as_bytes()).collect();
            prop_assert_eq!(&stored[&id], &bytes);
        }
        // What no growth keeps: full tiles are written once, obsolete partial ones are those a full one replaces.
        let set = fetched(&stored, &tiles_of_tree(size).collect::<Vec<_>>());
        let (index, old) = (index % size, old % (size + 1));
        let leaves = LeafHashes(&hashes);
        prop_assert_eq!(
            tree::inclusion_proof(index, size, &set).unwrap(), tree::inclusion_proof(index, size, &leaves).unwrap()
        );
        prop_assert_eq!(
            tree::consistency_proof(old, size, &set).unwrap(), tree::consistency_proof(old, size, &leaves).unwrap()
        );
    }

    #[test]
    fn bundles_read_back_as_they_are_written(entries in proptest::collection::vec(any::<Vec<u8>>(), 1..20)) {
        let bytes = encode_bundle(&entries).unwrap();
        prop_assert_eq!(decode_bundle(&bytes, entries.len() as u16).unwrap(), entries);
    }

    #[test]
    fn no_bytes_make_the_bundle_reader_panic(bytes: Vec<u8>, width in 0..300u16) {
        let _ = decode_bundle(&bytes, width);
    }

    #[test]
    fn any_tile_path_reads_back(level in 0..=TILE_LEVEL_MAX, index in 0..u64::MAX / 256, width in 1..=256u16) {
        let id = TileId { level, index, width };
        prop_assert_eq!(id.to_string().parse(), Ok(id));
    }
}
