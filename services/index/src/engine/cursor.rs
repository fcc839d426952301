use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openarchive_domain::{Digest, Tenant};

use super::{Generation, collect::Place};
use crate::query::Query;

const VERSION: u8 = 1;
const BINDING_BYTES: usize = 16;
const CURSOR_BYTES: usize = 1 + 16 + BINDING_BYTES + 8 + 8 + 32;

/// Where a search goes on. Opaque to clients; good for the index, the tenant and the query that it came from.
///
/// It grants nothing: whoever holds it must still be allowed to search for that tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    generation: Generation,
    binding: [u8; BINDING_BYTES],
    /// Only mails up to this insertion sequence take part.
    pub(super) pin: u64,
    /// The last hit that was shown.
    pub(super) last: Place,
}

/// Why a cursor is refused. In every case: start the search again without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    #[error("this is no cursor of this archive: start the search again without one")]
    Malformed,
    #[error("the index was rebuilt since the search began: start the search again without the cursor")]
    IndexRebuilt,
    #[error("the cursor belongs to another query: send the query that it came from, or leave the cursor out")]
    OtherQuery,
}

impl Cursor {
    pub(super) fn new(generation: Generation, tenant: &Tenant, query: &Query, pin: u64, last: Place) -> Self {
        Self { generation, binding: binding(tenant, query), pin, last }
    }

    pub(super) fn check(
        &self,
        generation: Generation,
        tenant: &Tenant,
        query: &Query,
    ) -> Result<(), CursorError> {
        if self.generation != generation {
            Err(CursorError::IndexRebuilt)
        } else if self.binding != binding(tenant, query) {
            Err(CursorError::OtherQuery)
        } else {
            Ok(())
        }
    }
}

/// Ties a cursor to tenant and query. The tenant's name has no line break, so the two cannot be confused.
fn binding(tenant: &Tenant, query: &Query) -> [u8; BINDING_BYTES] {
    let digest = Digest::of(format!("{tenant}\n{query}").as_bytes());
    let (start, _) = digest.as_bytes().split_first_chunk().expect("a digest is longer than a binding");
    *start
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = Vec::with_capacity(CURSOR_BYTES);
        bytes.push(VERSION);
        bytes.extend(self.generation.as_bytes());
        bytes.extend(self.binding);
        bytes.extend(self.pin.to_be_bytes());
        bytes.extend(self.last.date.to_be_bytes());
        bytes.extend(self.last.digest().as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Malformed)?;
        parse(&bytes).ok_or(CursorError::Malformed)
    }
}

fn parse(bytes: &[u8]) -> Option<Cursor> {
    let (&[VERSION], rest) = bytes.split_first_chunk()? else { return None };
    let (generation, rest) = rest.split_first_chunk()?;
    let (binding, rest) = rest.split_first_chunk()?;
    let (pin, rest) = rest.split_first_chunk()?;
    let (date, rest) = rest.split_first_chunk()?;
    let (digest, rest) = rest.split_first_chunk()?;
    rest.is_empty().then(|| Cursor {
        generation: Generation::from_bytes(*generation),
        binding: *binding,
        pin: u64::from_be_bytes(*pin),
        last: Place::new(i64::from_be_bytes(*date), Digest::from_bytes(*digest)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_serves_only_its_own_index_tenant_and_query() {
        let generation = Generation::from_bytes([7; 16]);
        let (acme, other): (Tenant, Tenant) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let query = Query::parse("report").unwrap();
        let place = Place::new(-5, Digest::of(b"m"));
        let cursor = Cursor::new(generation, &acme, &query, 42, place);
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!(cursor.check(generation, &acme, &query), Ok(()));
        let rebuilt = Generation::from_bytes([8; 16]);
        assert_eq!(cursor.check(rebuilt, &acme, &query), Err(CursorError::IndexRebuilt));
        assert_eq!(cursor.check(generation, &other, &query), Err(CursorError::OtherQuery));
        let another = Query::parse("reports").unwrap();
        assert_eq!(cursor.check(generation, &acme, &another), Err(CursorError::OtherQuery));

        let text = cursor.to_string();
        for bad in
            ["", "AQ", &text[..text.len() - 4], &format!("{text}AAAA"), &format!("B{}", &text[1..]), "ä"]
        {
            assert_eq!(bad.parse::<Cursor>(), Err(CursorError::Malformed), "{bad}");
        }
    }
}
