//! RetentionPolicy.

use serde_json::{Value, json};

use super::{
    Row,
    archive_core::metadata,
    rows::{Edit, Rows},
};
use crate::Kind;

fn base() -> Value {
    json!({
        "apiVersion": "openarchive.dev/v1alpha1",
        "kind": "RetentionPolicy",
        "metadata": metadata("board"),
        "spec": {
            "archiveRef": {"name": "mail"},
            "match": {"mailboxes": ["jane@example.org"], "domains": ["example.org"], "direction": "Any"},
            "keepFor": {"years": 10},
            "startFrom": "YearEnd",
            "erasure": "Permitted",
            "locked": false,
        },
    })
}

const KEEP: &str = "/spec/keepFor";

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Rows::new(Kind::RetentionPolicy, "a whole policy", base());
    object(&mut rows);
    matches(&mut rows);
    times(&mut rows);
    changes(&mut rows);
    locked(&mut rows);
    rows.done()
}

fn object(rows: &mut Rows) {
    rows.closed(&["", "/metadata"]);
    let least = json!({"archiveRef": {"name": "mail"}, "keepFor": {"days": 1}});
    rows.accepted("the least that it takes", &[("/spec", least)]);
    rows.required(&["/spec", "/spec/archiveRef", "/spec/archiveRef/name", KEEP]);
    rows.closed(&["/spec", "/spec/archiveRef", "/spec/match", KEEP]);
    rows.object_name("/spec/archiveRef/name");
    rows.one_of("/spec/startFrom", &["Received", "YearEnd"]);
    rows.one_of("/spec/erasure", &["Forbidden", "Permitted"]);
    rows.one_of("/spec/match/direction", &["Inbound", "Outbound", "Internal", "Any"]);
    rows.wrong_type(&["/spec", "/spec/archiveRef", "/spec/match", KEEP], "object", &json!([]));
    rows.wrong_type(&["/spec/locked"], "boolean", &json!("true"));
    let rule = ("", "metadata.name must be at most 63 characters without dots");
    rows.accepted("a name of 63 characters", &[("/metadata/name", json!("a".repeat(63)))]);
    rows.refused("a name of 64 characters", rule, &[("/metadata/name", json!("a".repeat(64)))]);
    rows.refused("a name with a dot", rule, &[("/metadata/name", json!("a.b"))]);
}

fn matches(rows: &mut Rows) {
    let mailboxes = "/spec/match/mailboxes";
    rows.most(mailboxes, 256, |index| json!(format!("m{index}@example.org")));
    rows.duplicate(mailboxes, &json!("jane@example.org"));
    let first = "/spec/match/mailboxes/0";
    rows.longest(first, 254, |length| format!("{}@example.org", "m".repeat(length - 12)));
    rows.pattern(
        first,
        &["o'brien+x@example.org", "jürgen@example.org"],
        &["jane", "jane@", "@example.org", "a@b@c", "jane @example.org", "jane@example.org\n", ""],
    );
    rows.domains("/spec/match/domains");
    rows.wrong_type(&[mailboxes, "/spec/match/domains"], "array", &json!("jane@example.org"));
    rows.accepted("it matches everything", &[("/spec/match", json!({}))]);
}

fn times(rows: &mut Rows) {
    let one = ("spec.keepFor", "give exactly one of days, months, years");
    for (unit, max) in [("days", 36525), ("months", 1200), ("years", 100)] {
        for count in [1, max] {
            rows.accepted(&format!("{count} {unit}"), &[(KEEP, json!({unit: count}))]);
        }
        let path = format!("spec.keepFor.{unit}");
        let low = (path.as_str(), "should be greater than or equal to 1");
        rows.refused(&format!("0 {unit}"), low, &[(KEEP, json!({unit: 0}))]);
        let high = format!("should be less than or equal to {max}");
        let beyond = max + 1;
        rows.refused(&format!("{beyond} {unit}"), (&path, &high), &[(KEEP, json!({unit: beyond}))]);
        rows.refused(
            &format!("{unit} as text"),
            (&path, "must be of type integer"),
            &[(KEEP, json!({unit: "1"}))],
        );
    }
    rows.refused("no time", one, &[(KEEP, json!({}))]);
    rows.refused("days and years", one, &[(KEEP, json!({"days": 1, "years": 1}))]);
    rows.refused("days and months", one, &[(KEEP, json!({"days": 1, "months": 1}))]);
    rows.refused("all three", one, &[(KEEP, json!({"days": 1, "months": 1, "years": 1}))]);
}

fn changes(rows: &mut Rows) {
    let new = ("spec", "archiveRef is immutable");
    rows.change_refused("another archive", new, &[], &[("/spec/archiveRef/name", json!("other"))]);
    let unit = ("spec", "the unit of keepFor is immutable");
    rows.change_refused("years become months", unit, &[], &[(KEEP, json!({"months": 120}))]);
    rows.change_refused("years become days", unit, &[], &[(KEEP, json!({"days": 36525}))]);
    let days: &[Edit<'_>] = &[(KEEP, json!({"days": 30}))];
    rows.change_refused("days become months", unit, days, &[(KEEP, json!({"months": 12}))]);
    rows.change_accepted("what is not locked shrinks", &[], &[(KEEP, json!({"years": 1}))]);
    rows.change_accepted("what is not locked matches less", &[], &[("/spec/match", json!({}))]);
    rows.change_accepted("it is locked", &[], &[("/spec/locked", json!(true))]);
}

fn locked(rows: &mut Rows) {
    let lock: Edit<'_> = ("/spec/locked", json!(true));
    let before = std::slice::from_ref(&lock);
    let after = |edit: Edit<'static>| [lock.clone(), edit];
    rows.change_refused("a lock opens", ("spec", "a locked policy is never unlocked"), before, &[]);
    let grows = ("spec", "a locked policy's keepFor only grows");
    for (unit, less, now, more) in [("years", 9, 10, 11), ("months", 119, 120, 121), ("days", 29, 30, 31)] {
        let old = [lock.clone(), (KEEP, json!({unit: now}))];
        let shorter = after((KEEP, json!({unit: less})));
        rows.change_refused(&format!("locked {unit} shrink"), grows, &old, &shorter);
        rows.change_accepted(&format!("locked {unit} grow"), &old, &after((KEEP, json!({unit: more}))));
        rows.change_accepted(&format!("locked {unit} stay"), &old, &old);
    }
    let stays = ("spec", "a locked policy's match is immutable");
    for (field, value) in [
        ("/spec/match/mailboxes", json!([])),
        ("/spec/match/domains", json!(["example.net"])),
        ("/spec/match/direction", json!("Inbound")),
        ("/spec/match", json!({})),
    ] {
        rows.change_refused(
            &format!("a locked policy's {field} changes"),
            stays,
            before,
            &after((field, value)),
        );
    }
    let two = after(("/spec/match/mailboxes", json!(["a@example.org", "b@example.org"])));
    let swapped = after(("/spec/match/mailboxes", json!(["b@example.org", "a@example.org"])));
    rows.change_accepted("a locked policy's mailboxes change places", &two, &swapped);
    rows.change_refused("a locked policy gets a mailbox", stays, before, &two);
    rows.change_refused("a locked policy loses a mailbox", stays, &two, before);
    let start = ("spec", "a locked policy's startFrom is immutable");
    let received = after(("/spec/startFrom", json!("Received")));
    rows.change_refused("a locked policy starts earlier", start, before, &received);
    let stricter = after(("/spec/erasure", json!("Forbidden")));
    rows.change_accepted("a locked policy forbids erasure", before, &stricter);
    let weaker = ("spec", "a locked policy's erasure may only become Forbidden");
    rows.change_refused("a locked policy permits erasure", weaker, &stricter, before);
}
