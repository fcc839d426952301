//! Mode `jrn-plus`: recipients that carry the mail's own recipients in their local parts.

/// A recipient that does not have the form of the mode. The mail is to be quarantined, never refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "recipient {} of {recipients} does not fit journal mode jrn-plus: the mail is quarantined; \
     compare the peer's mode with what its mail server sends",
    .position + 1
)]
pub struct NotJrnPlus {
    /// The first that does not fit, counted from 0, in the order of RCPT TO.
    pub position: usize,
    pub recipients: usize,
}

/// The mail's own recipients, in the order of RCPT TO and as many as there. Addresses are without angle brackets.
pub fn unwrap_jrn_plus(rcpt: &[String]) -> Result<Vec<String>, NotJrnPlus> {
    rcpt.iter()
        .enumerate()
        .map(|(position, address)| jrn_plus(address).ok_or(NotJrnPlus { position, recipients: rcpt.len() }))
        .collect()
}

/// `jrn+LOCAL=DOMAIN@HOST`: stripped to the first `+`, split at the last `=`. A local part may hold either.
fn jrn_plus(address: &str) -> Option<String> {
    let (outer_local, host) = address.rsplit_once('@')?;
    let outer_local = unquoted(outer_local)?;
    let (prefix, inner) = outer_local.split_once('+')?;
    let (local, domain) = inner.rsplit_once('=')?;
    let fits =
        prefix.eq_ignore_ascii_case("jrn") && !host.is_empty() && !local.is_empty() && is_domain(domain);
    fits.then(|| format!("{}@{domain}", quoted(local)))
}

/// RFC 5321 section 4.1.2: a quoted local part stands for its content. Mail servers quote `jrn+john doe=…`.
fn unquoted(local: &str) -> Option<String> {
    let content = match local.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => return is_printable(local).then(|| local.to_owned()),
    };
    let mut plain = String::with_capacity(content.len());
    let mut characters = content.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => plain.push(characters.next()?),
            '"' => return None,
            _ => plain.push(c),
        }
    }
    is_printable(&plain).then_some(plain)
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// The shortest form that RFC 5321 allows (RFC 6531 with characters beyond ASCII).
fn quoted(local: &str) -> String {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii();
    if local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom)) {
        return local.to_owned();
    }
    let mut quoted = String::with_capacity(local.len() + 2);
    quoted.push('"');
    for c in local.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// A domain name, internationalised or not, or an address literal: nothing that would make the result another address.
fn is_domain(domain: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c) || !c.is_ascii();
    !domain.is_empty() && domain.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unwrap_one(address: &str) -> Option<String> {
        unwrap_jrn_plus(&[address.to_owned()]).ok().map(|mut all| all.remove(0))
    }

    #[test]
    fn jrn_plus_is_stripped_to_the_first_plus_and_split_at_the_last_equals() {
        let check = |journaled: &str, expected: &str| {
            assert_eq!(unwrap_one(journaled).as_deref(), Some(expected), "{journaled}");
        };
        check("jrn+alice=example.com@journal.test", "alice@example.com");
        check("JRN+Alice=Example.COM@journal.test", "Alice@Example.COM");
        check("jrn+alice+lists=example.com@journal.test", "alice+lists@example.com");
        check("jrn+bounce-bob=b.example=a.example@journal.test", "bounce-bob=b.example@a.example");
        check("jrn+jrn+a=b.example=journal.test@journal.test", "jrn+a=b.example@journal.test");
        check("\"jrn+john doe=example.com\"@journal.test", "\"john doe\"@example.com");
        check("\"jrn+a@b=example.com\"@journal.test", "\"a@b\"@example.com");
        check("jrn+grüße=bücher.example@journal.test", "grüße@bücher.example");
        check("jrn+alice=[192.0.2.1]@journal.test", "alice@[192.0.2.1]");
    }

    #[test]
    fn what_is_not_jrn_plus_is_not_this_mode() {
        for other in [
            "",
            "alice@example.com",
            "jrn@journal.test",
            "jrn+alice@journal.test",
            "jrn+=example.com@journal.test",
            "jrn+alice=@journal.test",
            "jrn+alice=example.com",
            "jrn+alice=example.com@",
            "xjrn+alice=example.com@journal.test",
            "jrn-alice=example.com@journal.test",
            "jrn+alice=ex ample.com@journal.test",
            "jrn+a\nb=example.com@journal.test",
            "\"jrn+alice=example.com@journal.test",
            "\"jrn+alice=example.com\\\"@journal.test",
        ] {
            assert_eq!(unwrap_one(other), None, "{other:?}");
        }
    }

    #[test]
    fn one_recipient_that_does_not_fit_is_named_by_its_place_alone() {
        let rcpt = ["jrn+a=b.example@j.test".to_owned(), "secret@example.com".to_owned()];
        let error = unwrap_jrn_plus(&rcpt).unwrap_err();
        assert_eq!(error, NotJrnPlus { position: 1, recipients: 2 });
        let message = error.to_string();
        assert!(message.starts_with("recipient 2 of 2 does not fit journal mode jrn-plus"), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }

    /// What Postfix makes of LOCAL@DOMAIN by the map `/^(.+)@(.+)$/ jrn+$1=$2@journal.test`, and how it writes that.
    fn journaled(local: &str, domain: &str) -> String {
        format!("{}@journal.test", quoted(&format!("jrn+{local}={domain}")))
    }

    proptest! {
        #[test]
        fn unwrapping_is_the_inverse_of_the_map(local in "[ -~äß+=@]{1,40}", domain in "[a-z0-9.-]{1,40}") {
            let expected = format!("{}@{domain}", quoted(&local));
            prop_assert_eq!(unwrap_one(&journaled(&local, &domain)), Some(expected));
        }

        #[test]
        fn any_text_is_answered(text in any::<String>()) {
            let _ = unwrap_one(&text);
        }
    }
}
