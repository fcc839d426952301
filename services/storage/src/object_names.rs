//! `packs/<tenant or _>/<class>/<yyyy>/<mm>/<pack id>.enc` and `keys/<tenant or _>/<pack id>`.

use jiff::{Timestamp as Instant, tz::TimeZone};
use openarchive_domain::Timestamp;
use openarchive_envelope::BlobScope;
use openarchive_objects::ObjectKey;
use uuid::Uuid;

use crate::blob_id::Group;

/// What every pack object's name begins with.
pub(crate) const PACKS: &str = "packs/";
/// What every key file's name begins with.
pub(crate) const KEYS: &str = "keys/";

/// A pack object's name, which says all that is needed to open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackName {
    pub(crate) group: Group,
    pub(crate) id: Uuid,
    year: i16,
    month: i8,
}

impl PackName {
    /// A pack made now, of `group`. `random` must be fresh.
    pub(crate) fn new(group: Group, now: Timestamp, random: &[u8; 10]) -> Self {
        let id =
            uuid::Builder::from_unix_timestamp_millis(now.as_millis().unsigned_abs(), random).into_uuid();
        let date = Instant::from_millisecond(now.as_millis()).unwrap_or_default().to_zoned(TimeZone::UTC);
        Self { group, id, year: date.year(), month: date.month() }
    }

    /// `None` if `key` is not exactly what [`Self::key`] writes.
    pub(crate) fn parse(key: &ObjectKey) -> Option<Self> {
        let mut segments = key.as_str().strip_prefix(PACKS)?.split('/');
        let mut next = || segments.next();
        let (scope, class, year, month, file) = (next()?, next()?, next()?, next()?, next()?);
        let name = Self {
            group: Group { scope: scope.parse().ok()?, class: class.parse().ok()? },
            id: file.strip_suffix(".enc")?.parse().ok()?,
            year: year.parse().ok()?,
            month: month.parse().ok()?,
        };
        (name.text() == key.as_str()).then_some(name)
    }

    pub(crate) fn key(&self) -> ObjectKey {
        object_key(self.text())
    }

    pub(crate) fn key_file(&self) -> ObjectKey {
        key_file_of(&self.group.scope, self.id)
    }

    /// When the pack was made: the time in its UUIDv7. `None` for an id of another version.
    pub(crate) fn created_at(&self) -> Option<Timestamp> {
        let (seconds, nanos) = self.id.get_timestamp()?.to_unix();
        i64::try_from(seconds)
            .ok()?
            .checked_mul(1000)
            .map(|ms| Timestamp::from_millis(ms + i64::from(nanos / 1_000_000)))
    }

    fn text(&self) -> String {
        let Group { scope, class } = &self.group;
        format!("{PACKS}{scope}/{class}/{:04}/{:02}/{}.enc", self.year, self.month, self.id)
    }
}

/// The key file of a pack of which nothing else is known.
pub(crate) fn key_file_of(scope: &BlobScope, pack: Uuid) -> ObjectKey {
    object_key(format!("{KEYS}{scope}/{pack}"))
}

/// The pack that a key file belongs to; `None` if the key is not a key file's.
pub(crate) fn pack_of_key_file(key: &ObjectKey) -> Option<Uuid> {
    let (scope, id) = key.as_str().strip_prefix(KEYS)?.split_once('/')?;
    let (scope, id): (BlobScope, Uuid) = (scope.parse().ok()?, id.parse().ok()?);
    (format!("{KEYS}{scope}/{id}") == key.as_str()).then_some(id)
}

fn object_key(text: String) -> ObjectKey {
    ObjectKey::try_from(text)
        .expect("DNS labels, classes, dates and UUIDs are key segments far below the limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(scope: &str, class: &str, now: &str) -> PackName {
        let group = Group { scope: scope.parse().unwrap(), class: class.parse().unwrap() };
        PackName::new(group, now.parse().unwrap(), &[0xAB; 10])
    }

    #[test]
    fn names_are_the_documented_ones_and_read_back() {
        let pack = name("acme", "10y-yearend-forbidden", "2026-03-04T05:06:07.089Z");
        let id = "019cb73d-3271-7bab-abab-abababababab";
        assert_eq!(pack.key().as_str(), format!("packs/acme/10y-yearend-forbidden/2026/03/{id}.enc"));
        assert_eq!(pack.key_file().as_str(), format!("keys/acme/{id}"));
        assert_eq!(PackName::parse(&pack.key()), Some(pack.clone()));
        assert_eq!(pack_of_key_file(&pack.key_file()), Some(pack.id));
        assert_eq!(pack.created_at().unwrap().to_string(), "2026-03-04T05:06:07.089Z");
        let archive = name("_", "system", "2026-03-04T05:06:07.089Z");
        assert_eq!(archive.key().as_str(), format!("packs/_/system/2026/03/{id}.enc"));
        assert_eq!(archive.key_file().as_str(), format!("keys/_/{id}"));
    }

    #[test]
    fn any_other_name_is_no_pack() {
        let id = "019cb73d-3271-7bab-abab-abababababab";
        for bad in [
            format!("packs/acme/10y-yearend-forbidden/2026/3/{id}.enc"),
            format!("packs/acme/10y-yearend-forbidden/2026/03/{id}"),
            format!("packs/acme/10y-yearend-forbidden/2026/03/{}.enc", id.to_uppercase()),
            format!("packs/acme/10y-yearend-forbidden/2026/03/x/{id}.enc"),
            format!("packs/acme/2026/03/{id}.enc"),
            format!("keys/acme/{id}"),
        ] {
            assert_eq!(PackName::parse(&bad.parse().unwrap()), None, "{bad}");
        }
        for bad in [format!("keys/acme/{id}.enc"), format!("keys/{id}"), format!("keys/A/{id}")] {
            assert_eq!(pack_of_key_file(&bad.parse().unwrap()), None, "{bad}");
        }
    }
}
