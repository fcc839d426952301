//! One way to break an archive for each pack of it; then one look at all of them.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use openarchive_proto::storage::v1::VerifyPackRequest;
use openarchive_rpc::has_reason;
use openarchive_storage::{BLOB_DAMAGED, Finding, Subject};
use uuid::Uuid;

use crate::archive::{Archive, Blob, Core, noise};

/// A pack of one large and one small blob.
struct Pack {
    id: Uuid,
    object: PathBuf,
    key_file: PathBuf,
    blobs: [Blob; 2],
    leaf: i64,
}

async fn make_pack(archive: &Archive, core: &Core, seed: u64) -> Pack {
    // On a slow machine the small blob may miss the large one's pack: then once more, with others.
    for attempt in 0.. {
        let large = Blob::part(noise(1_000 * attempt + seed, 1_500_000));
        let blobs = [large, Blob::part(noise(1_000 * attempt + seed + 500, 3_000))];
        core.put(&blobs).await.unwrap();
        archive.all_leaves().await;
        let pack: Option<(Uuid, String, String, i64)> = sqlx::query_as(
            "select pack_id, object_key, key_file_key, leaf_index from storage.pack
             where pack_id = (select pack_id from storage.pack_entry where digest = $1 and ordinal = 1)
               and pack_id = (select pack_id from storage.pack_entry where digest = $2 and ordinal = 2)",
        )
        .bind(blobs[0].digest().as_bytes().as_slice())
        .bind(blobs[1].digest().as_bytes().as_slice())
        .fetch_optional(archive.pool())
        .await
        .unwrap();
        if let Some((id, object, key_file, leaf)) = pack {
            return Pack {
                id,
                object: archive.path_of(&object),
                key_file: archive.path_of(&key_file),
                blobs,
                leaf,
            };
        }
    }
    unreachable!("the loop ends with a pack")
}

/// Changes a file's bytes and nothing else: its time is its lock.
fn tamper(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

async fn sql(archive: &Archive, statement: &'static str, pack: Uuid) {
    let done = sqlx::query(statement).bind(pack).execute(archive.pool()).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_break_a_pack_is_found_and_named() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    let mut expected: Vec<(Uuid, Vec<String>)> = Vec::new();
    let mut unreadable = Vec::new();
    let mut seed = 0;
    let mut fresh = async || {
        seed += 1;
        make_pack(&archive, &core, seed).await
    };
    let mut expect = |pack: &Pack, findings: &[&str]| {
        expected.push((pack.id, findings.iter().map(ToString::to_string).collect()));
    };
    let changed = "the pack object does not have the SHA-256 it was stored with";

    let pack = fresh().await;
    tamper(&pack.object, |bytes| bytes[2_000] ^= 1);
    expect(&pack, &["blob 1 does not open: chunk 0 of the encrypted body was changed", changed]);
    unreadable.push(pack.blobs[0].clone());

    let pack = fresh().await;
    tamper(&pack.object, |bytes| bytes[1_000_000] ^= 1);
    expect(&pack, &["blob 1 does not open: chunk 60 of the encrypted body was changed", changed]);
    unreadable.push(pack.blobs[0].clone());

    let pack = fresh().await;
    tamper(&pack.object, |bytes| bytes[1_502_000] ^= 1);
    expect(&pack, &["blob 2 does not open: chunk 0 of the encrypted body was changed", changed]);
    unreadable.push(pack.blobs[1].clone());

    let pack = fresh().await;
    tamper(&pack.object, |bytes| *bytes.last_mut().unwrap() ^= 1);
    // The bodies are checked all the same, from the rows.
    expect(&pack, &["FOOTER", changed]);

    let pack = fresh().await;
    tamper(&pack.object, |bytes| bytes.truncate(500_000));
    expect(
        &pack,
        &[
            "LENGTH",
            "FOOTER",
            "blob 1 does not open: the encrypted body is cut off: its last chunk is missing",
            "blob 2 does not open: the encrypted body is cut off: its last chunk is missing",
            changed,
        ],
    );
    unreadable.extend(pack.blobs.clone());

    let pack = fresh().await;
    fs::remove_file(&pack.object).unwrap();
    expect(&pack, &["the pack object is missing"]);
    unreadable.extend(pack.blobs.clone());

    let pack = fresh().await;
    let other = fresh().await;
    let bytes = fs::read(&other.object).unwrap();
    tamper(&pack.object, |content| *content = bytes);
    expect(
        &pack,
        &["FOOTER", "blob 1 does not open: COMMITMENT", "blob 2 does not open: COMMITMENT", changed],
    );
    unreadable.push(pack.blobs[0].clone());

    let pack = fresh().await;
    fs::remove_file(&pack.key_file).unwrap();
    expect(&pack, &["the key file is missing"]);

    let pack = fresh().await;
    tamper(&pack.key_file, |bytes| bytes[0] ^= 1);
    expect(&pack, &["this is not a key file of version 1 (it begins with other bytes)"]);

    let pack = fresh().await;
    tamper(&pack.key_file, |bytes| bytes.truncate(bytes.len() - 1));
    expect(&pack, &["the key file declares 3 entries and has 132 bytes; the two do not agree"]);

    // Entry 2 stands at the end; entry 0 is the footer's.
    let pack = fresh().await;
    tamper(&pack.key_file, |bytes| *bytes.last_mut().unwrap() ^= 1);
    expect(
        &pack,
        &[
            "the key of blob 2 is missing or does not unwrap",
            "the key of blob 2 is not the same in the catalogue and in the key file",
        ],
    );

    let pack = fresh().await;
    tamper(&pack.key_file, |bytes| bytes[13..53].fill(0));
    expect(&pack, &["the footer's key is missing or does not unwrap, so the list of blobs cannot be read"]);

    let pack = fresh().await;
    let wrapped =
        "update storage.pack_entry set wrapped_dek = set_byte(wrapped_dek, 7, 255 - get_byte(wrapped_dek, 7))
                   where pack_id = $1 and ordinal = 1";
    sql(&archive, wrapped, pack.id).await;
    expect(&pack, &["the key of blob 1 is not the same in the catalogue and in the key file"]);
    unreadable.push(pack.blobs[0].clone());

    let pack = fresh().await;
    sql(
        &archive,
        "update storage.pack_entry set wrapped_dek = null where pack_id = $1 and ordinal = 1",
        pack.id,
    )
    .await;
    expect(&pack, &["the key of blob 1 is not the same in the catalogue and in the key file"]);
    unreadable.push(pack.blobs[0].clone());

    let pack = fresh().await;
    sql(&archive, "delete from storage.pack_entry where pack_id = $1 and ordinal = 2", pack.id).await;
    expect(&pack, &["blob 2 stands in the pack, but the catalogue knows neither it nor another copy of it"]);

    let pack = fresh().await;
    let row = "insert into storage.pack_entry select pack_id, 3, tenant, class, 2, digest, raw_length, body_offset,
               body_length, kek_version, wrapped_dek from storage.pack_entry where pack_id = $1 and ordinal = 1";
    sql(&archive, row, pack.id).await;
    expect(&pack, &["the catalogue lists blob 3, which the pack does not hold"]);

    let pack = fresh().await;
    let row = "update storage.pack_entry set raw_length = raw_length + 1 where pack_id = $1 and ordinal = 1";
    sql(&archive, row, pack.id).await;
    expect(&pack, &["the catalogue says something else of blob 1 than the pack"]);

    let pack = fresh().await;
    sql(&archive, "update storage.pack set leaf_index = null where pack_id = $1", pack.id).await;
    expect(&pack, &["the pack has no leaf in the ledger, and none is waiting to be sent"]);

    let pack = fresh().await;
    sql(&archive, "update storage.pack set leaf_index = 0 where pack_id = $1", pack.id).await;
    let other_leaf =
        format!("leaf {} of the ledger, which should be this pack's, says something else", pack.leaf);
    expect(&pack, &["leaf 0 of the ledger, which should be this pack's, says something else", &other_leaf]);

    let pack = fresh().await;
    let earlier = fs::metadata(&pack.object).unwrap().modified().unwrap() - std::time::Duration::from_secs(1);
    File::open(&pack.object).unwrap().set_modified(earlier).unwrap();
    expect(&pack, &["the pack object's lock ends earlier than it was set"]);

    let pack = fresh().await;
    sqlx::query("delete from storage.pack_entry where pack_id = $1")
        .bind(pack.id)
        .execute(archive.pool())
        .await
        .unwrap();
    sql(&archive, "delete from storage.pack where pack_id = $1", pack.id).await;
    expect(
        &pack,
        &[
            &format!("leaf {} of the ledger names this pack, but the catalogue does not know it", pack.leaf),
            "the key file is in the store, but the catalogue does not know its pack (left by an interrupted write)",
            "the pack object is in the store, but the catalogue does not know it (left by an interrupted write)",
        ],
    );

    let healthy = fresh().await;
    expect(&healthy, &[]);
    fs::write(archive.path_of("packs/alien"), b"x").unwrap();

    let findings = archive.fsck().await;
    let normal = |text: &str, pack: Uuid| -> Option<String> {
        let text = text.strip_prefix(&format!("pack {pack}: "))?;
        let text = text.replace(
            "the body was not encrypted with this key for this blob (key commitment differs)",
            "COMMITMENT",
        );
        Some(match text {
            text if text.starts_with("the pack's footer") => "FOOTER".to_owned(),
            text if text.starts_with("the pack object has 500000 bytes") => "LENGTH".to_owned(),
            text => text,
        })
    };
    let mut named = 0;
    for (place, (pack, expected)) in expected.iter_mut().enumerate() {
        let mut found: Vec<String> =
            findings.iter().filter_map(|finding| normal(&finding.to_string(), *pack)).collect();
        named += found.len();
        found.sort();
        expected.sort();
        assert_eq!(found, *expected, "pack {place}");
        // One pack alone: the same, but for what only the ledger and the list of objects show.
        let request = VerifyPackRequest { pack_id: pack.to_string() };
        if let Ok(answer) = core.client.clone().verify_pack(request).await {
            let answer = answer.into_inner();
            assert!(answer.findings.iter().all(|text| found.contains(&normal(text, *pack).unwrap())));
            assert_eq!(answer.findings.is_empty(), found.is_empty(), "pack {place}");
        }
    }
    let alien: Vec<String> =
        findings.iter().map(ToString::to_string).filter(|text| text.starts_with("object ")).collect();
    let text = "object packs/alien: the object stands among packs or key files, but is none of ours";
    assert_eq!(alien, [text]);
    assert_eq!(findings.len(), named + 1);

    // Nothing broken is ever handed out as if it were whole.
    let later = archive.core_with(&archive.parts, crate::archive::LINGER, "spool-2").await;
    for blob in &unreadable {
        let refused = later.get(blob).await.map(|_| ()).unwrap_err();
        assert!(has_reason(&refused, BLOB_DAMAGED), "{refused:?}");
        assert!(!refused.message().contains(&blob.digest().hex()));
    }
    later.assert_all_there(&healthy.blobs).await;
    archive.stop().await;
}

/// A link to itself can be listed, but not opened, by nobody: as if the disk did not give the file any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_and_everything_else_is_checked_all_the_same() {
    let archive = Archive::start().await;
    let core = archive.core().await;
    let mut packs = Vec::new();
    for seed in 1..=4 {
        packs.push(make_pack(&archive, &core, seed).await);
    }
    for path in [&packs[0].object, &packs[1].key_file] {
        fs::remove_file(path).unwrap();
        symlink(path, path).unwrap();
    }
    tamper(&packs[2].object, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let mut done = 0;
    let findings = openarchive_storage::fsck(&archive.parts, |progress| done = progress.packs).await.unwrap();
    // More than four where one had to be made once more.
    let there: i64 =
        sqlx::query_scalar("select count(*) from storage.pack").fetch_one(archive.pool()).await.unwrap();
    assert_eq!(done, there as u64);
    assert!(findings.iter().all(Finding::is_damage));
    let of = |pack: &Pack| -> Vec<String> {
        let of_it =
            |finding: &&_| matches!(finding, Finding { subject: Subject::Pack(id), .. } if *id == pack.id);
        findings.iter().filter(of_it).map(ToString::to_string).collect()
    };
    for (pack, object) in [(&packs[0], "packs/acme/"), (&packs[1], "keys/acme/")] {
        let found = of(pack);
        let [text] = found.as_slice() else { unreachable!("{found:?}") };
        let id = pack.id;
        assert!(text.starts_with(&format!("pack {id}: it cannot be read: ")), "{text}");
        assert!(text.contains(object) && text.contains("symbolic links"), "{text}");
    }
    assert_eq!(of(&packs[2]).len(), 2, "{findings:?}");
    assert_eq!(findings.len(), 4, "{findings:?}");
    archive.stop().await;
}
