//! The id by which one request is found in the logs of every role.

use http::{HeaderMap, HeaderName};
use openarchive_domain::random;

/// Carries the id from caller to service.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a caller, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// The caller's id if it has the form of one (letters, digits, hyphens: an id stands in logs), else a fresh one.
pub(crate) fn of(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID_HEADER).and_then(|value| value.to_str().ok());
    given.filter(|text| is_plain(text)).map_or_else(fresh, str::to_owned)
}

fn is_plain(text: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn fresh() -> String {
    random::bytes::<16>().iter().fold(String::with_capacity(32), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_id_is_taken_only_if_it_is_short_and_plain() {
        let check = |text: &str, taken: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID_HEADER, text.parse().unwrap());
            let id = of(&headers);
            assert_eq!(id == text, taken, "{text}");
            assert!(is_plain(&id));
        };
        check("a", true);
        check("0195f1e2-7b7c-7000-8000-000000000000", true);
        check(&"x".repeat(REQUEST_ID_BYTES_MAX), true);
        check(&"x".repeat(REQUEST_ID_BYTES_MAX + 1), false);
        check("", false);
        check("someone@example.com", false);
        check("a b", false);
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
