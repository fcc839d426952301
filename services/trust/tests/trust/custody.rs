use openarchive_domain::random;
use openarchive_objects::{Calls, Fault, Faults};
use openarchive_proto::trust::v1 as proto;
use openarchive_rpc::has_reason;
use openarchive_trust::{
    CustodyError, KEK_VERSION, KEYS_PER_CALL_MAX, Keys, KeysError, StartError, Trust, TrustConfig,
};
use tonic::{Code, Status};

use crate::archive::{Archive, Client, append, start};

async fn wrap(
    client: &mut Client,
    tenant: &str,
    keys: &[Vec<u8>],
) -> Result<proto::WrapKeysResponse, Status> {
    let keys = keys.iter().cloned().map(Into::into).collect();
    let request = proto::WrapKeysRequest { tenant: tenant.to_owned(), keys };
    Ok(client.wrap_keys(request).await?.into_inner())
}

async fn unwrap(
    client: &mut Client,
    tenant: &str,
    wrapped: &proto::WrapKeysResponse,
) -> Result<Vec<Vec<u8>>, Status> {
    let request = proto::UnwrapKeysRequest {
        tenant: tenant.to_owned(),
        kek_version: wrapped.kek_version,
        wrapped: wrapped.wrapped.clone(),
    };
    let keys = client.unwrap_keys(request).await?.into_inner().keys;
    Ok(keys.into_iter().map(|key| key.to_vec()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_out_as_they_went_in_for_their_tenant_alone_and_after_a_restart() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    let keys: Vec<Vec<u8>> = (0..KEYS_PER_CALL_MAX).map(|_| random::bytes::<32>().to_vec()).collect();
    let wrapped = wrap(&mut client, "acme", &keys).await.unwrap();
    assert_eq!(wrapped.kek_version, KEK_VERSION);
    assert!(wrapped.wrapped.iter().all(|key| key.len() == 40));
    assert_eq!(unwrap(&mut client, "acme", &wrapped).await.unwrap(), keys);
    wrap(&mut client, "other", &keys[..1]).await.unwrap();
    wrap(&mut client, "_", &keys[..1]).await.unwrap();
    for tenant in ["other", "_"] {
        let refused = unwrap(&mut client, tenant, &wrapped).await.unwrap_err();
        assert!(has_reason(&refused, "KEY_DOES_NOT_OPEN"), "{refused:?}");
    }
    let refused = unwrap(&mut client, "nobody", &wrapped).await.unwrap_err();
    assert!(has_reason(&refused, "NO_WRAPPING_KEY"));
    let next = proto::WrapKeysResponse { kek_version: KEK_VERSION + 1, ..wrapped.clone() };
    assert_eq!(unwrap(&mut client, "acme", &next).await.unwrap_err().code(), Code::NotFound);
    trust.shutdown().await;
    let (trust, mut client) = archive.start().await;
    assert_eq!(unwrap(&mut client, "acme", &wrapped).await.unwrap(), keys);
    trust.shutdown().await;
    let objects: Vec<String> =
        archive.store.list("kek/").await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(objects, ["kek/_/1", "kek/acme/1", "kek/other/1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_are_no_keys_is_refused() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    let too_many = vec![vec![0; 32]; KEYS_PER_CALL_MAX + 1];
    for keys in [too_many, vec![vec![0; 31]], vec![vec![0; 33]]] {
        assert_eq!(wrap(&mut client, "acme", &keys).await.unwrap_err().code(), Code::InvalidArgument);
    }
    assert_eq!(wrap(&mut client, "Acme", &[vec![0; 32]]).await.unwrap_err().code(), Code::InvalidArgument);
    let short = proto::WrapKeysResponse { kek_version: 1, wrapped: vec![vec![0; 39].into()] };
    assert_eq!(unwrap(&mut client, "acme", &short).await.unwrap_err().code(), Code::InvalidArgument);
    trust.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_first_key_is_one_key_whoever_asks_and_whatever_fails() {
    let archive = Archive::new().await;
    let faults = [("one", Fault::Failed), ("two", Fault::FailedButPersisted), ("three", Fault::Lost)];
    for (tenant, fault) in faults {
        let objects = archive.store.clone().with_faults(Faults::first(1, Calls::Writes, fault));
        let (trust, client) = start(TrustConfig { objects, ..archive.config() }).await;
        let callers = (0..8).map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { wrap(&mut client, tenant, &[vec![7; 32]]).await })
        });
        let mut wrapped = Vec::new();
        for caller in callers.collect::<Vec<_>>() {
            wrapped.extend(caller.await.unwrap());
        }
        // Only the caller that met the fault was refused; key wrap is deterministic, so one key gives one answer.
        assert_eq!(wrapped.len(), 7);
        assert!(wrapped.iter().all(|answer| *answer == wrapped[0]));
        trust.shutdown().await;
        let (trust, mut client) = archive.start().await;
        assert_eq!(unwrap(&mut client, tenant, &wrapped[0]).await.unwrap(), [vec![7; 32]]);
        trust.shutdown().await;
        assert_eq!(archive.fsck().await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_does_not_start_with_foreign_keys_or_without_a_tenant_of_its_own() {
    let archive = Archive::new().await;
    let (trust, mut client) = archive.start().await;
    wrap(&mut client, "acme", &[vec![7; 32]]).await.unwrap();
    append(&mut client, "acme/evidence", [0]).await;
    trust.shutdown().await;
    let with =
        |kek, seed| TrustConfig { keys: Keys::from_secrets([kek; 32], [seed; 32]), ..archive.config() };
    let other_kek = Trust::start(with(9, 2)).await.err();
    assert!(matches!(other_kek, Some(StartError::Custody(CustodyError::Foreign { .. }))), "{other_kek:?}");
    let other_seed = Trust::start(with(1, 9)).await.err();
    assert!(matches!(other_seed, Some(StartError::ForeignKeys { .. })), "{other_seed:?}");
    let other_name =
        Trust::start(TrustConfig { archive: "other".to_owned(), ..archive.config() }).await.err();
    assert!(matches!(other_name, Some(StartError::OtherArchive { .. })), "{other_name:?}");
    let listing = |tenants: &[&str]| TrustConfig {
        tenants: Some(tenants.iter().map(|tenant| tenant.parse().unwrap()).collect()),
        ..archive.config()
    };
    let removed = Trust::start(listing(&["other"])).await.err();
    assert!(matches!(removed, Some(StartError::TenantMissing { .. })), "{removed:?}");
    Trust::start(listing(&["other", "acme"])).await.unwrap().shutdown().await;
    // Not even with the database empty.
    let archive = archive.with_empty_database().await;
    let keys = Keys::from_secrets([9; 32], [2; 32]);
    let other_kek = Trust::start(TrustConfig { keys, ..archive.config() }).await.err();
    assert!(matches!(other_kek, Some(StartError::Custody(CustodyError::Foreign { .. }))), "{other_kek:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_for_a_new_archive_and_never_again() {
    let archive = Archive::new().await;
    let dir = archive.folder.path().join("keys");
    assert!(matches!(Keys::open(&dir), Err(KeysError::Missing { .. })));
    let keys = Keys::open_or_create(&dir, &archive.service, &archive.store).await.unwrap();
    // A crash between the two files is made good.
    std::fs::remove_file(dir.join("log-seed")).unwrap();
    let keys_of_second_try = Keys::open_or_create(&dir, &archive.service, &archive.store).await.unwrap();
    let origin = "archive.example/main/acme/evidence/1".parse().unwrap();
    assert_ne!(keys.verifier(&origin), keys_of_second_try.verifier(&origin));
    let (trust, mut client) = start(TrustConfig { keys: keys_of_second_try, ..archive.config() }).await;
    wrap(&mut client, "acme", &[vec![7; 32]]).await.unwrap();
    trust.shutdown().await;
    Keys::open_or_create(&dir, &archive.service, &archive.store).await.unwrap();
    for lost in ["kek", "log-seed"] {
        let kept = std::fs::read(dir.join(lost)).unwrap();
        std::fs::remove_file(dir.join(lost)).unwrap();
        let refused = Keys::open_or_create(&dir, &archive.service, &archive.store).await;
        assert!(matches!(refused, Err(KeysError::Lost { .. })), "{refused:?}");
        std::fs::write(dir.join(lost), kept).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(dir.join(lost), mode).unwrap();
    }
    // The objects alone know the archive too.
    std::fs::remove_file(dir.join("kek")).unwrap();
    let archive = archive.with_empty_database().await;
    let refused = Keys::open_or_create(&dir, &archive.service, &archive.store).await;
    assert!(matches!(refused, Err(KeysError::Lost { .. })), "{refused:?}");
}
