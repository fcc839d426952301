use proptest::prelude::*;

use super::*;

fn tenant() -> Tenant {
    "acme".parse().unwrap()
}

fn domains(names: &[&str]) -> BTreeSet<MailDomain> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn internal() -> BTreeSet<MailDomain> {
    domains(&["acme.example", "acme.test"])
}

fn policy(class: &str) -> Policy {
    let RetentionClass::Mail { keep_for, start_from, erasure } = class.parse().unwrap() else {
        panic!("{class} is no class of mail")
    };
    Policy {
        name: "p".parse().unwrap(),
        tenant: None,
        mailboxes: BTreeSet::new(),
        domains: BTreeSet::new(),
        direction: Direction::Any,
        keep_for,
        start_from,
        erasure,
        locked: false,
        revision: 1,
    }
}

fn mail(from: &str, to: &[&str]) -> Correspondents {
    Correspondents::of_envelope(from, to.iter().copied())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOON: &str = "2026-07-01T12:00:00.000Z";

fn class(policies: &[Policy], mail: &Correspondents) -> String {
    class_of(policies, RetentionClass::DEFAULT, &tenant(), &internal(), mail, at(NOON)).to_string()
}

#[test]
fn mail_that_no_policy_matches_has_the_default() {
    let others = Policy { tenant: Some("other".parse().unwrap()), ..policy("1y-received-permitted") };
    let ours = Policy { tenant: Some(tenant()), ..policy("2y-received-permitted") };
    let mail = mail("a@acme.example", &["b@else.example"]);
    assert_eq!(class(&[], &mail), "10y-received-forbidden");
    assert_eq!(class(std::slice::from_ref(&others), &mail), "10y-received-forbidden");
    assert_eq!(class(&[others, ours], &mail), "2y-received-permitted");
}

#[test]
fn who_took_part_is_compared_in_lower_case_by_envelope_and_header() {
    let mailbox = |address: &str| Policy {
        mailboxes: BTreeSet::from([address.parse().unwrap()]),
        ..policy("1y-received-permitted")
    };
    let domain = |name: &str| Policy { domains: domains(&[name]), ..policy("1y-received-permitted") };
    let mut known = mail("Ann@Acme.Example", &["bob@else.example", " CEO@acme.example "]);
    known.add_author("Assistant@acme.test");
    known.add_recipient("Board@Lists.Example");
    let check = |policy: &Policy, expected| {
        assert_eq!(policy.matches(&tenant(), &internal(), &known), expected, "{policy:?}");
    };
    for address in [
        "ann@acme.example",
        "ANN@ACME.EXAMPLE",
        "ceo@acme.example",
        "assistant@acme.test",
        "board@lists.example",
    ] {
        check(&mailbox(address), true);
    }
    for name in ["acme.example", "ACME.example", "else.example", "acme.test", "lists.example"] {
        check(&domain(name), true);
    }
    for address in ["carol@acme.example", "ann@acme.test", "nn@acme.example"] {
        check(&mailbox(address), false);
    }
    // A subdomain is another domain, and so is what a domain ends with.
    for name in ["sub.acme.example", "example", "me.example"] {
        check(&domain(name), false);
    }
    // Both lists: both must be met, by anybody.
    check(&Policy { mailboxes: mailbox("ann@acme.example").mailboxes, ..domain("else.example") }, true);
    check(&Policy { mailboxes: mailbox("carol@acme.example").mailboxes, ..domain("else.example") }, false);
}

#[test]
fn an_international_domain_is_the_same_in_both_of_its_forms() {
    let internal = domains(&["xn--bcher-kva.example"]);
    let (ann, ascii_ann) = ("Ann@BÜCHER.example", "ann@xn--bcher-kva.example");
    for address in [ann, ascii_ann] {
        let sent = mail(address, &["x@else.example"]);
        let mut imported = mail("", &[]);
        imported.add_author(address);
        imported.add_recipient("x@else.example");
        for known in [&sent, &imported] {
            let check = |policy: Policy, expected| {
                assert_eq!(policy.matches(&tenant(), &internal, known), expected, "{address} {policy:?}");
            };
            for named in [ann, ascii_ann] {
                let mailboxes = BTreeSet::from([named.parse().unwrap()]);
                check(Policy { mailboxes, ..policy("1y-received-permitted") }, true);
            }
            let of = |names: &[&str]| Policy { domains: domains(names), ..policy("1y-received-permitted") };
            check(of(&["XN--bcher-kva.example"]), true);
            check(of(&["bcher.example"]), false);
            for (direction, expected) in [(Direction::Outbound, true), (Direction::Inbound, false)] {
                check(Policy { direction, ..policy("1y-received-permitted") }, expected);
            }
        }
        let received = mail("x@else.example", &[address]);
        let among_themselves = mail(address, &[address]);
        for (known, expected) in
            [(&received, [Direction::Inbound]), (&among_themselves, [Direction::Internal])]
        {
            for direction in [Direction::Inbound, Direction::Outbound, Direction::Internal] {
                let policy = Policy { direction, ..policy("1y-received-permitted") };
                let matches = policy.matches(&tenant(), &internal, known);
                assert_eq!(matches, expected.contains(&direction), "{address} {direction:?}");
            }
        }
    }
    // What is no domain is compared as it stands.
    let odd = mail("a@\u{fffd}.example", &["b@xn--0.example"]);
    for named in ["a@\u{fffd}.example", "b@xn--0.example"] {
        let mailboxes = BTreeSet::from([named.parse().unwrap()]);
        let policy = Policy { mailboxes, ..policy("1y-received-permitted") };
        assert!(policy.matches(&tenant(), &internal, &odd), "{named}");
    }
}

/// A conversion takes microseconds; a mail may have a thousand addresses and an archive hundreds of policies.
#[test]
fn a_domain_is_converted_once_for_its_address_and_never_for_a_policy() {
    let conversions = || address::CONVERSIONS.get();
    let before = conversions();
    let plain: Vec<String> = (0..100).map(|n| format!("a@d{n}.example")).collect();
    let mut known = Correspondents::of_envelope("ann@acme.example", plain.iter().map(String::as_str));
    assert_eq!(conversions(), before, "ASCII costs nothing");
    for n in 0..100 {
        known.add_recipient(&format!("a@bücher{n}.example"));
    }
    assert_eq!(conversions(), before + 100);
    let policies: Vec<Policy> = (0..500)
        .map(|n| Policy {
            domains: domains(&["xn--bcher99-n2a.example", &format!("p{n}.example")]),
            direction: Direction::Outbound,
            ..policy("1y-received-permitted")
        })
        .collect();
    class(&policies, &known);
    assert_eq!(conversions(), before + 100);
}

#[test]
fn what_is_longer_than_a_domain_is_not_converted_and_matches_none() {
    // Labels of one letter again and again: a byte for each in the ASCII form.
    let label = "ü".repeat(40);
    let converted = idna::domain_to_ascii(&label).unwrap();
    let of = Policy { domains: domains(&[&converted]), ..policy("1y-received-permitted") };
    assert!(of.matches(&tenant(), &internal(), &mail(&format!("a@{label}"), &[])));
    let before = address::CONVERSIONS.get();
    for (length, conversions) in [(MAIL_DOMAIN_BYTES_MAX, 1), (MAIL_DOMAIN_BYTES_MAX + 1, 1)] {
        let known = mail(&format!("a@{}", "ü".repeat(length)), &[]);
        assert!(!of.matches(&tenant(), &internal(), &known));
        assert_eq!(address::CONVERSIONS.get(), before + conversions, "{length}");
    }
    let tail = ".xn--bcher-kva";
    for (length, conversions) in [(MAIL_DOMAIN_BYTES_MAX, 2), (MAIL_DOMAIN_BYTES_MAX + 1, 2)] {
        mail(&format!("a@{}{tail}", "a".repeat(length - tail.len())), &[]);
        assert_eq!(address::CONVERSIONS.get(), before + conversions, "{length}");
    }
}

#[test]
fn a_direction_is_of_sender_and_recipients() {
    use Direction::{Any, Inbound, Internal, Outbound};
    let check = |mail: &Correspondents, expected: &[Direction]| {
        for direction in [Any, Inbound, Outbound, Internal] {
            let policy = Policy { direction, ..policy("1y-received-permitted") };
            let matches = policy.matches(&tenant(), &internal(), mail);
            assert_eq!(matches, expected.contains(&direction), "{direction:?} {mail:?}");
        }
    };
    let (ann, bob, ext) = ("ann@acme.example", "bob@Acme.Test", "x@else.example");
    check(&mail(ext, &[ann]), &[Any, Inbound]);
    check(&mail(ext, &[ann, "y@else.example"]), &[Any, Inbound]);
    check(&mail(ann, &[ext]), &[Any, Outbound]);
    check(&mail(ann, &[bob]), &[Any, Internal]);
    check(&mail(ann, &[bob, ext]), &[Any, Outbound, Internal]);
    check(&mail(ext, &["y@else.example"]), &[Any]);
    check(&mail(ann, &[]), &[Any]);
    // The null sender is nobody of ours.
    check(&mail("", &[ann]), &[Any, Inbound]);
    // The envelope's sender counts, whoever the header says wrote it.
    let mut forged = mail(ext, &[ann]);
    forged.add_author(bob);
    check(&forged, &[Any, Inbound]);
    // Where the envelope says nothing, as in an import, the header counts.
    let mut imported = mail("", &[]);
    imported.add_author(bob);
    imported.add_recipient(ext);
    check(&imported, &[Any, Outbound]);
}

#[test]
fn the_policy_counts_that_keeps_this_very_mail_longest() {
    let mail = mail("a@b.example", &[]);
    let check = |classes: &[&str], received: &str, expected: &str| {
        let mut policies: Vec<Policy> = classes.iter().map(|class| policy(class)).collect();
        for _ in 0..2 {
            let class =
                class_of(&policies, RetentionClass::DEFAULT, &tenant(), &internal(), &mail, at(received));
            assert_eq!(class.to_string(), expected, "{classes:?} at {received}");
            policies.reverse();
        }
    };
    // 400 days beat a year and lose against the year's end of a mail of January.
    check(&["1y-received-permitted", "400d-received-permitted"], NOON, "400d-received-permitted");
    let two = ["400d-received-permitted", "6m-yearend-permitted"];
    check(&two, "2026-01-02T00:00:00.000Z", "6m-yearend-permitted");
    check(&two, "2026-12-02T00:00:00.000Z", "400d-received-permitted");
    // Erasure is the strictest, wherever the time comes from.
    check(&["9y-received-permitted", "1y-received-forbidden"], NOON, "9y-received-forbidden");
    // Two that end together are told apart by their names, whatever the order.
    check(&["12m-received-permitted", "1y-received-permitted"], NOON, "1y-received-permitted");
}

#[test]
fn a_locked_policy_only_grows() {
    let standing = Policy { locked: true, direction: Direction::Inbound, ..policy("6y-yearend-permitted") };
    let check = |next: &Policy, expected| assert_eq!(standing.check_lock(next), expected, "{next:?}");
    let same = || standing.clone();
    check(&same(), Ok(()));
    check(&Policy { keep_for: KeepFor::Years(7), revision: 9, ..same() }, Ok(()));
    check(&Policy { erasure: Erasure::Forbidden, ..same() }, Ok(()));
    check(&Policy { locked: false, keep_for: KeepFor::Years(7), ..same() }, Err(LockBreach::Unlocked));
    check(&Policy { keep_for: KeepFor::Years(5), ..same() }, Err(LockBreach::Shortened));
    check(&Policy { keep_for: KeepFor::Months(120), ..same() }, Err(LockBreach::Unit));
    check(&Policy { start_from: StartFrom::Received, ..same() }, Err(LockBreach::StartFrom));
    check(&Policy { direction: Direction::Any, ..same() }, Err(LockBreach::Match));
    check(&Policy { domains: domains(&["a.example"]), ..same() }, Err(LockBreach::Match));
    check(&Policy { tenant: Some(tenant()), ..same() }, Err(LockBreach::Match));
    let mailboxes = BTreeSet::from(["a@b.example".parse().unwrap()]);
    check(&Policy { mailboxes, ..same() }, Err(LockBreach::Match));
    let forbidden = Policy { erasure: Erasure::Forbidden, ..same() };
    assert_eq!(forbidden.check_lock(&standing), Err(LockBreach::Erasure));
    // Nothing is held against what is not locked.
    assert_eq!(Policy { locked: false, ..same() }.check_lock(&policy("1d-received-permitted")), Ok(()));
}

#[test]
fn mailboxes_and_domains_are_read_in_their_form_only() {
    for good in ["a@b", "A.b+c@Example.ORG", "\"a@b\"@c.example", "größe@example.org"] {
        assert_eq!(good.parse::<Mailbox>().unwrap().as_str(), good.to_lowercase());
    }
    let long = format!("{}@example.org", "a".repeat(MAILBOX_BYTES_MAX - 12));
    assert!(long.parse::<Mailbox>().is_ok() && format!("a{long}").parse::<Mailbox>().is_err());
    // Lower case of this letter is longer than the letter.
    let grows = format!("{}@example.org", "\u{130}".repeat(121));
    assert!(grows.len() <= MAILBOX_BYTES_MAX && grows.parse::<Mailbox>().is_err());
    for bad in ["", "a", "@b", "a@", "a b@c", "a@b\n", " a@b"] {
        let error = bad.parse::<Mailbox>().unwrap_err().to_string();
        assert!(bad.len() < 3 || !error.contains(bad), "{error}");
    }
    for good in ["example.org", "EXAMPLE.org", "a", "xn--gre-ioa.example", "1-2.a"] {
        assert_eq!(good.parse::<MailDomain>().unwrap().as_str(), good.to_lowercase());
    }
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert!(longest.parse::<MailDomain>().is_ok() && format!("{longest}a").parse::<MailDomain>().is_err());
    for bad in ["", ".", "a.", ".a", "a..b", "-a.b", "a-.b", "a b", "ä.example", "a@b", &format!("{label}a")]
    {
        assert!(bad.parse::<MailDomain>().is_err(), "{bad}");
    }
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let address = prop::sample::select(vec!["ann@acme.example", "bob@acme.test", "x@else.example"]);
    let domain = prop::sample::select(vec!["acme.example", "acme.test", "else.example"]);
    let direction = prop::sample::select(vec![
        Direction::Any,
        Direction::Inbound,
        Direction::Outbound,
        Direction::Internal,
    ]);
    let keep = prop_oneof![
        (1..1_200u32).prop_map(KeepFor::Days),
        (1..40u32).prop_map(KeepFor::Months),
        (1..4u32).prop_map(KeepFor::Years)
    ];
    (
        prop::collection::vec(address, 0..2),
        prop::collection::vec(domain, 0..2),
        direction,
        (keep, any::<bool>(), any::<bool>()),
    )
        .prop_map(|(mailboxes, names, direction, (keep_for, year_end, forbidden))| Policy {
            mailboxes: mailboxes.iter().map(|address| address.parse().unwrap()).collect(),
            domains: domains(&names),
            direction,
            keep_for,
            start_from: if year_end { StartFrom::YearEnd } else { StartFrom::Received },
            erasure: if forbidden { Erasure::Forbidden } else { Erasure::Permitted },
            ..policy("1d-received-permitted")
        })
}

fn any_mail() -> impl Strategy<Value = Correspondents> {
    let address = || {
        prop::sample::select(vec!["", "Ann@acme.example", "bob@ACME.test", "x@else.example", "y@far.example"])
    };
    let several = prop::collection::vec(address(), 0..3);
    (address(), several.clone(), several.clone(), several).prop_map(|(from, to, authors, recipients)| {
        let mut mail = Correspondents::of_envelope(from, to);
        for author in authors {
            mail.add_author(author);
        }
        for recipient in recipients {
            mail.add_recipient(recipient);
        }
        mail
    })
}

fn erasure_of(class: RetentionClass) -> Erasure {
    match class {
        RetentionClass::System => panic!("mail of class system"),
        RetentionClass::Mail { erasure, .. } => erasure,
    }
}

proptest! {
    #[test]
    fn the_latest_expiry_wins_and_erasure_forbidden_wins(
        policies in prop::collection::vec(any_policy(), 0..6),
        mail in any_mail(),
        millis in 1_600_000_000_000i64..1_900_000_000_000,
    ) {
        let received = Timestamp::from_millis(millis);
        let (tenant, internal, default) = (tenant(), internal(), RetentionClass::DEFAULT);
        let class = class_of(&policies, default, &tenant, &internal, &mail, received);
        let matching: Vec<&Policy> =
            policies.iter().filter(|policy| policy.matches(&tenant, &internal, &mail)).collect();
        let latest = matching.iter().map(|policy| expires_at(policy.class(), received).unwrap()).max();
        match latest {
            None => prop_assert_eq!(class, default),
            Some(latest) => {
                prop_assert_eq!(expires_at(class, received).unwrap(), latest);
                let forbidden = matching.iter().any(|policy| policy.erasure == Erasure::Forbidden);
                prop_assert_eq!(erasure_of(class) == Erasure::Forbidden, forbidden);
            }
        }
        let mut reversed = policies;
        reversed.reverse();
        prop_assert_eq!(class_of(&reversed, default, &tenant, &internal, &mail, received), class);
    }

    /// Of mail that a policy matches already; other mail leaves the default for the first policy that matches it.
    #[test]
    fn a_further_policy_neither_shortens_nor_permits(
        first in any_policy(),
        policies in prop::collection::vec(any_policy(), 0..4),
        further in any_policy(),
        mail in any_mail(),
        millis in 1_600_000_000_000i64..1_900_000_000_000,
    ) {
        let received = Timestamp::from_millis(millis);
        let (tenant, internal, default) = (tenant(), internal(), RetentionClass::DEFAULT);
        let mut policies = policies;
        // One that matches whatever the mail.
        policies.push(Policy {
            mailboxes: BTreeSet::new(), domains: BTreeSet::new(), direction: Direction::Any, ..first
        });
        let before = class_of(&policies, default, &tenant, &internal, &mail, received);
        policies.push(further);
        let after = class_of(&policies, default, &tenant, &internal, &mail, received);
        prop_assert!(expires_at(after, received).unwrap() >= expires_at(before, received).unwrap());
        prop_assert!(erasure_of(before) == Erasure::Permitted || erasure_of(after) == Erasure::Forbidden);
    }
}
