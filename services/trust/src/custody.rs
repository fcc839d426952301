//! Custody of wrapping keys: one for each tenant and KEK version, protected by the KEK, held in memory while the
//! process lives.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use openarchive_domain::{Clock, random};
use openarchive_envelope::{Kek, WRAPPED_KEY_BYTES, WrappedKey, WrappingKey};
use openarchive_ledger::origin::TenantOrArchive;
use openarchive_objects::{ObjectError, ObjectKey, ObjectStore};
use openarchive_schema::{TenantScope, begin};
use sqlx::PgPool;
use tokio::sync::Mutex;

use crate::{locks::locked_from_now, log_rows::rows_of};

/// The KEK version of this release: rotation comes later.
pub const KEK_VERSION: u32 = 1;

/// Prefix of the objects that hold protected wrapping keys.
pub(crate) const KEK_PREFIX: &str = "kek/";

type KeyId = (TenantOrArchive, u32);

/// Why there is no wrapping key to work with. Never shows key material.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    #[error(
        "the wrapping key of {tenant} (KEK version {version}) does not open: it was protected by another KEK, or changed; restore the archive's keys"
    )]
    Foreign { tenant: String, version: u32 },
    #[error("the wrapping key of {tenant} (KEK version {version}) differs between database and object store")]
    Differs { tenant: String, version: u32 },
    #[error("{tenant} has no wrapping key of KEK version {version}")]
    Unknown { tenant: String, version: u32 },
    #[error("the object {key} is no protected wrapping key")]
    Malformed { key: String },
    #[error("the wrapping keys' rows cannot be read or written")]
    Database(#[from] sqlx::Error),
    #[error("the wrapping keys' objects cannot be read or written")]
    Objects(#[from] ObjectError),
}

/// Wrapping keys in memory.
pub(crate) struct Custody {
    kek: Kek,
    clock: Arc<dyn Clock>,
    keys: RwLock<BTreeMap<KeyId, WrappingKey>>,
    /// One caller at a time makes or fetches a key; all others find it in memory.
    making: Mutex<()>,
}

impl Custody {
    /// Takes up every wrapping key that the archive has. Refuses the whole archive if the KEK does not open one.
    pub(crate) async fn load(
        kek: Kek,
        pool: &PgPool,
        objects: &ObjectStore,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CustodyError> {
        let rows = read_rows(pool).await?;
        let stored = read_objects(objects).await?;
        let mut keys = BTreeMap::new();
        for (id, protected) in rows.iter().chain(&stored) {
            keys.insert(id.clone(), open(&kek, id, protected)?);
        }
        for (id, protected) in &stored {
            match rows.get(id) {
                Some(row) if row == protected => {}
                Some(_) => return Err(differs(id)),
                None => insert_row(pool, id, protected).await?,
            }
        }
        for (id, protected) in rows.iter().filter(|(id, _)| !stored.contains_key(*id)) {
            tracing::warn!(tenant = %id.0, "writes the object of a wrapping key anew: it was missing");
            if create_object(objects, &*clock, id, protected).await? != *protected {
                return Err(differs(id));
            }
        }
        Ok(Self { kek, clock, keys: RwLock::new(keys), making: Mutex::default() })
    }

    /// The key that new DEKs of a tenant are wrapped under, with its KEK version. Made at the first call; it stands
    /// in the object store before it is used.
    pub(crate) async fn current(
        &self,
        tenant: &TenantOrArchive,
        pool: &PgPool,
        objects: &ObjectStore,
    ) -> Result<(u32, WrappingKey), CustodyError> {
        let id = (tenant.clone(), KEK_VERSION);
        if let Some(key) = self.held(&id) {
            return Ok((KEK_VERSION, key));
        }
        let _making = self.making.lock().await;
        if let Some(key) = self.held(&id) {
            return Ok((KEK_VERSION, key));
        }
        let protected = self.kek.protect(&WrappingKey::new(random::bytes()));
        // Whoever was first, another process or a call whose answer was lost: what stands is the key.
        let protected = create_object(objects, &*self.clock, &id, &protected).await?;
        let key = open(&self.kek, &id, &protected)?;
        insert_row(pool, &id, &protected).await?;
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(id, key.clone());
        Ok((KEK_VERSION, key))
    }

    /// The key that DEKs were wrapped under.
    pub(crate) fn of_version(
        &self,
        tenant: &TenantOrArchive,
        version: u32,
    ) -> Result<WrappingKey, CustodyError> {
        self.held(&(tenant.clone(), version))
            .ok_or_else(|| CustodyError::Unknown { tenant: tenant.to_string(), version })
    }

    fn held(&self, id: &KeyId) -> Option<WrappingKey> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

fn differs((tenant, version): &KeyId) -> CustodyError {
    CustodyError::Differs { tenant: tenant.to_string(), version: *version }
}

/// Opens a protected wrapping key.
pub(crate) fn open(
    kek: &Kek,
    (tenant, version): &KeyId,
    protected: &WrappedKey,
) -> Result<WrappingKey, CustodyError> {
    kek.unprotect(protected)
        .map_err(|_| CustodyError::Foreign { tenant: tenant.to_string(), version: *version })
}

pub(crate) async fn read_rows(pool: &PgPool) -> Result<BTreeMap<KeyId, WrappedKey>, CustodyError> {
    let rows = sqlx::query!("select tenant, kek_version, protected from trust.wrapping_key")
        .fetch_all(&mut *begin(pool, TenantScope::All).await?)
        .await?;
    let mut keys = BTreeMap::new();
    for row in rows {
        let malformed = || CustodyError::Malformed { key: format!("{KEK_PREFIX}{}", row.tenant) };
        let tenant = row.tenant.parse().map_err(|_| malformed())?;
        let protected = WrappedKey::try_from(row.protected.as_slice()).map_err(|_| malformed())?;
        keys.insert((tenant, row.kek_version.cast_unsigned()), protected);
    }
    Ok(keys)
}

pub(crate) async fn read_objects(objects: &ObjectStore) -> Result<BTreeMap<KeyId, WrappedKey>, CustodyError> {
    let mut keys = BTreeMap::new();
    for key in objects.list(KEK_PREFIX).await? {
        let malformed = || CustodyError::Malformed { key: key.to_string() };
        let id = parse_key(&key).ok_or_else(malformed)?;
        let protected = objects.get(&key).await?;
        keys.insert(id, WrappedKey::try_from(protected.as_slice()).map_err(|_| malformed())?);
    }
    Ok(keys)
}

fn object_key((tenant, version): &KeyId) -> ObjectKey {
    ObjectKey::try_from(format!("{KEK_PREFIX}{tenant}/{version}"))
        .expect("a tenant's name is a segment of an object key")
}

fn parse_key(key: &ObjectKey) -> Option<KeyId> {
    let (tenant, version) = key.as_str().strip_prefix(KEK_PREFIX)?.split_once('/')?;
    let id = (tenant.parse().ok()?, version.parse().ok()?);
    (object_key(&id) == *key).then_some(id)
}

/// Creates the object and answers what stands there now: these bytes, or those of whoever came first.
async fn create_object(
    objects: &ObjectStore,
    clock: &dyn Clock,
    id: &KeyId,
    protected: &WrappedKey,
) -> Result<WrappedKey, CustodyError> {
    let (key, lock) = (object_key(id), locked_from_now(clock)?);
    match objects.create(&key, protected.to_vec(), Some(lock)).await {
        Ok(version) => objects.read_back(&key, &version, Some(lock)).await?,
        Err(ObjectError::Exists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // Read in either case: a key is used only if it can be had again.
    let standing = objects.get(&key).await?;
    WrappedKey::try_from(standing.as_slice()).map_err(|_| CustodyError::Malformed { key: key.to_string() })
}

/// Inserts the row, or proves that the one there says the same.
pub(crate) async fn insert_row(
    pool: &PgPool,
    id: &KeyId,
    protected: &WrappedKey,
) -> Result<(), CustodyError> {
    let (tenant, version) = (id.0.as_str(), id.1.cast_signed());
    let mut tx = begin(pool, rows_of(&id.0)).await?;
    sqlx::query!(
        "insert into trust.wrapping_key (tenant, kek_version, protected) values ($1, $2, $3)
         on conflict do nothing",
        tenant,
        version,
        &protected[..],
    )
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query!(
        "select protected from trust.wrapping_key where tenant = $1 and kek_version = $2",
        tenant,
        version,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    if row.protected == protected[..] { Ok(()) } else { Err(differs(id)) }
}

const _: () = assert!(WRAPPED_KEY_BYTES == 40, "trust.wrapping_key holds keys of 40 bytes");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapping_key_object_is_named_by_tenant_and_version() {
        let check = |text: &str, good: bool| {
            let key: ObjectKey = text.parse().unwrap();
            assert_eq!(parse_key(&key).is_some(), good, "{text}");
        };
        check("kek/acme/1", true);
        check("kek/_/12", true);
        check("kek/acme/01", false);
        check("kek/acme", false);
        check("kek/Acme/1", false);
        check("kek/acme/1/2", false);
        check("keks/acme/1", false);
    }
}
