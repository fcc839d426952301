//! Writes rows: each is the kind's base object with one thing changed.

use serde_json::{Value, json};

use super::{Row, Verdict};
use crate::Kind;

/// The rows of one base object.
#[derive(Debug)]
pub(super) struct Rows {
    kind: Kind,
    base: Value,
    written: Vec<Row>,
}

/// A place in the object and what is put there; null removes it.
pub(super) type Edit<'a> = (&'a str, Value);

impl Rows {
    /// The base object itself is the first accepted row.
    pub(super) fn new(kind: Kind, name: &str, base: Value) -> Self {
        let mut rows = Self { kind, base, written: Vec::new() };
        rows.accepted(name, &[]);
        rows
    }

    pub(super) fn done(self) -> Vec<Row> {
        self.written
    }

    fn push(&mut self, name: &str, old: Option<&[Edit<'_>]>, new: &[Edit<'_>], verdict: Verdict) {
        let edited = |edits: &[Edit<'_>]| {
            let mut object = self.base.clone();
            for (pointer, value) in edits {
                put(&mut object, pointer, value);
            }
            object
        };
        let name = format!("{}: {name}", self.kind.name());
        self.written.push(Row { name, kind: self.kind, old: old.map(edited), object: edited(new), verdict });
    }

    pub(super) fn accepted(&mut self, name: &str, edits: &[Edit<'_>]) {
        self.push(name, None, edits, Verdict::Accepted);
    }

    pub(super) fn refused(&mut self, name: &str, (path, message): (&str, &str), edits: &[Edit<'_>]) {
        self.push(name, None, edits, refused(path, message));
    }

    pub(super) fn change_accepted(&mut self, name: &str, old: &[Edit<'_>], new: &[Edit<'_>]) {
        self.push(name, Some(old), new, Verdict::Accepted);
    }

    pub(super) fn change_refused(
        &mut self,
        name: &str,
        (path, message): (&str, &str),
        old: &[Edit<'_>],
        new: &[Edit<'_>],
    ) {
        self.push(name, Some(old), new, refused(path, message));
    }

    fn value_refused(&mut self, pointer: &str, what: &str, message: &str, value: Value) {
        let path = path_of(pointer);
        self.refused(&format!("{path} {what}"), (&path, message), &[(pointer, value)]);
    }

    fn value_accepted(&mut self, pointer: &str, what: &str, value: Value) {
        self.accepted(&format!("{} {what}", path_of(pointer)), &[(pointer, value)]);
    }

    pub(super) fn required(&mut self, pointers: &[&str]) {
        for pointer in pointers {
            self.value_refused(pointer, "is missing", "Required value", Value::Null);
        }
    }

    /// Objects take no field beside their own.
    pub(super) fn closed(&mut self, pointers: &[&str]) {
        for pointer in pointers {
            let pointer = format!("{pointer}/surplus");
            let message = format!("unknown field \"{}\"", path_of(&pointer));
            self.value_refused(&pointer, "is no field", &message, json!(1));
        }
    }

    pub(super) fn wrong_type(&mut self, pointers: &[&str], type_: &str, wrong: &Value) {
        for pointer in pointers {
            self.value_refused(
                pointer,
                &format!("is {wrong}"),
                &format!("must be of type {type_}"),
                wrong.clone(),
            );
        }
    }

    pub(super) fn one_of(&mut self, pointer: &str, values: &[&str]) {
        for value in values {
            self.value_accepted(pointer, &format!("is {value}"), json!(value));
        }
        self.value_refused(pointer, "is none of its values", "supported values", json!("Nonsense"));
    }

    /// Texts of `min` and `max` characters pass, one fewer and one more do not.
    pub(super) fn lengths(
        &mut self,
        pointer: &str,
        (min, max): (usize, usize),
        of: impl Fn(usize) -> String,
    ) {
        self.longest(pointer, max, &of);
        self.value_accepted(pointer, &format!("of {min} characters"), json!(of(min)));
        let message = format!("should be at least {min} chars long");
        self.value_refused(pointer, &format!("of {} characters", min - 1), &message, json!(of(min - 1)));
    }

    pub(super) fn longest(&mut self, pointer: &str, max: usize, of: impl Fn(usize) -> String) {
        self.value_accepted(pointer, &format!("of {max} characters"), json!(of(max)));
        let message = format!("may not be more than {max} bytes");
        self.value_refused(pointer, &format!("of {} characters", max + 1), &message, json!(of(max + 1)));
    }

    pub(super) fn numbers(&mut self, pointer: &str, (min, max): (i64, i64)) {
        for number in [min, max] {
            self.value_accepted(pointer, &format!("is {number}"), json!(number));
        }
        let low = format!("should be greater than or equal to {min}");
        self.value_refused(pointer, &format!("is {}", min - 1), &low, json!(min - 1));
        let high = format!("should be less than or equal to {max}");
        self.value_refused(pointer, &format!("is {}", max + 1), &high, json!(max + 1));
    }

    /// A list of `min` elements passes, one of one fewer does not.
    pub(super) fn fewest(&mut self, pointer: &str, min: usize, item: impl Fn(usize) -> Value) {
        let items = |count: usize| Value::Array((0..count).map(&item).collect());
        self.value_accepted(pointer, &format!("with {min} elements"), items(min));
        let message = format!("should have at least {min} items");
        self.value_refused(pointer, &format!("with {} elements", min - 1), &message, items(min - 1));
    }

    /// A list of `max` elements passes, one of one more does not.
    pub(super) fn most(&mut self, pointer: &str, max: usize, item: impl Fn(usize) -> Value) {
        let items = |count: usize| Value::Array((0..count).map(&item).collect());
        self.value_accepted(pointer, &format!("with {max} elements"), items(max));
        let message = format!("must have at most {max} items");
        self.value_refused(pointer, &format!("with {} elements", max + 1), &message, items(max + 1));
    }

    pub(super) fn duplicate(&mut self, pointer: &str, item: &Value) {
        let path = path_of(pointer);
        let twice = json!([item, item]);
        let at = format!("{path}[1]");
        self.refused(&format!("{path} has an element twice"), (&at, "Duplicate value"), &[(pointer, twice)]);
    }

    pub(super) fn pattern(&mut self, pointer: &str, good: &[&str], bad: &[&str]) {
        for good in good {
            self.value_accepted(pointer, &format!("is {good:?}"), json!(good));
        }
        for bad in bad {
            self.value_refused(pointer, &format!("is {bad:?}"), "should match '", json!(bad));
        }
    }

    /// A name of another object.
    pub(super) fn object_name(&mut self, pointer: &str) {
        self.lengths(pointer, (1, 253), |length| "a".repeat(length));
        self.pattern(pointer, &["a-1.b"], &["A", "a_b", "-a", "a-", "a..b", ".a", "a ", "ä"]);
    }

    pub(super) fn dns_label(&mut self, pointer: &str) {
        self.lengths(pointer, (1, 63), |length| "a".repeat(length));
        self.pattern(pointer, &["a-1", "1"], &["A", "a.b", "-a", "a-"]);
    }

    /// Domains, none of them twice.
    pub(super) fn domains(&mut self, pointer: &str) {
        self.most(pointer, 256, |index| json!(format!("d{index}.example.org")));
        self.duplicate(pointer, &json!("example.org"));
        let first = format!("{pointer}/0");
        self.lengths(&first, (1, 190), |length| "d".repeat(length));
        self.pattern(
            &first,
            &["example.org", "localhost"],
            &["Example.org", "example.org.", "a@example.org"],
        );
    }

    /// Address ranges, none of them twice.
    pub(super) fn cidrs(&mut self, pointer: &str) {
        let rule = "must be an address range such as";
        let path = format!("{}[0]", path_of(pointer));
        for range in ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "::/0", "2001:db8::/32", "2001:db8::1/128"] {
            self.value_accepted(pointer, &format!("holds {range}"), json!([range]));
        }
        let longest = format!("{}ffff/128", "ffff:".repeat(7));
        self.value_accepted(pointer, "holds 43 characters", json!([longest]));
        let beyond = ("may not be more than 43 bytes", format!("{longest}0"));
        self.refused(&format!("{path} of 44 characters"), (&path, beyond.0), &[(pointer, json!([beyond.1]))]);
        for wrong in ["10.0.0.1/8", "10.0.0.0/33", "256.0.0.0/8", "2001:db8::1/32", "::/129", ":::/1"] {
            self.refused(&format!("{path} is {wrong:?}"), (&path, rule), &[(pointer, json!([wrong]))]);
        }
        for wrong in [
            "10.0.0.0",
            "10.0.0/8",
            "10.0.0.0/-1",
            "10.0.0.0/08",
            "010.0.0.0/8",
            "10.0.0.0/8 ",
            "::ffff:10.0.0.0/104",
            "fe80::%eth0/64",
            "example.org",
            "",
        ] {
            let malformed = (path.as_str(), "should match '");
            self.refused(&format!("{path} is {wrong:?}"), malformed, &[(pointer, json!([wrong]))]);
        }
        self.most(pointer, 64, |index| json!(format!("10.{index}.0.0/16")));
        self.duplicate(pointer, &json!("10.0.0.0/8"));
        self.wrong_type(&[pointer], "array", &json!("10.0.0.0/8"));
    }

    /// Sizes of volumes and the like.
    pub(super) fn quantity(&mut self, pointer: &str, good: &[&str]) {
        for good in good {
            self.value_accepted(pointer, &format!("is {good}"), json!(good));
        }
        for zero in ["0", "0Gi", "0.000"] {
            self.value_refused(
                pointer,
                &format!("is {zero}"),
                "must be a quantity greater than zero",
                json!(zero),
            );
        }
        for wrong in
            ["", "10 Gi", " 10Gi", "10GB", "Gi", "-1Gi", "+1Gi", "1e3", "1e2147483647", "0x10", "1.Gi"]
        {
            self.value_refused(pointer, &format!("is {wrong:?}"), "should match '", json!(wrong));
        }
        let [most, beyond] = [32, 33].map(|length| "1".repeat(length));
        self.value_refused(pointer, "of 32 characters", "should match '", json!(most));
        self.value_refused(pointer, "of 33 characters", "may not be more than 32 bytes", json!(beyond));
        self.wrong_type(&[pointer], "string", &json!(10));
    }
}

fn refused(path: &str, message: &str) -> Verdict {
    Verdict::Refused { path: path.to_owned(), message: message.to_owned() }
}

/// `spec.tenants[0].name` of `/spec/tenants/0/name`.
fn path_of(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        if segment.parse::<usize>().is_ok() {
            path += &format!("[{segment}]");
        } else {
            let dot = if path.is_empty() { "" } else { "." };
            path += &format!("{dot}{segment}");
        }
    }
    path
}

/// Makes what is missing on the way; an index must be there.
fn put(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap_or_default();
    let place = parent.split('/').skip(1).fold(object, |place, segment| match segment.parse::<usize>() {
        Ok(index) => &mut place[index],
        Err(_) => &mut place[segment],
    });
    match (last.parse::<usize>(), place.as_object_mut()) {
        (Err(_), Some(fields)) if value.is_null() => _ = fields.remove(last),
        (Err(_), _) => place[last] = value.clone(),
        (Ok(index), _) => place[index] = value.clone(),
    }
}
