//! The table against `check`, and against the schema: no rule without a row on either side.

use serde_json::Value;
use std::collections::BTreeSet;

use super::schema_rules::{Bound, Rule, rules, values_at, without_indices};
use crate::{
    Kind, Problem, check,
    table::{Row, Verdict, rows},
};

fn told(row: &Row) -> Vec<Problem> {
    check(row.kind, &row.object, row.old.as_ref())
}

fn holds(row: &Row) -> Result<(), String> {
    if let Some(old) = &row.old {
        let problems = check(row.kind, old, None);
        if !problems.is_empty() {
            return Err(format!("{}: the old object is refused: {problems:?}", row.name));
        }
    }
    let problems = told(row);
    let as_written = match &row.verdict {
        Verdict::Accepted => problems.is_empty(),
        Verdict::Refused { path, message } => {
            problems.iter().any(|problem| problem.path == *path && problem.message.contains(message))
        }
    };
    if as_written { Ok(()) } else { Err(format!("{}: {:?}, but {problems:?}", row.name, row.verdict)) }
}

#[test]
fn every_row_of_the_table_is_judged_as_it_says() {
    let wrong: Vec<_> = rows().iter().filter_map(|row| holds(row).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_row_of_the_table_has_a_name_of_its_own() {
    let rows = rows();
    let names: BTreeSet<_> = rows.iter().map(|row| &row.name).collect();
    let mut twice: Vec<_> = rows.iter().map(|row| &row.name).collect();
    twice.retain(|name| rows.iter().filter(|row| row.name == **name).count() > 1);
    assert_eq!(names.len(), rows.len(), "{twice:?}");
}

#[test]
fn no_rule_of_a_schema_is_without_an_object_that_it_refuses() {
    let rows = rows();
    for kind in Kind::ALL {
        let refused: Vec<_> = rows.iter().filter(|row| row.kind == kind).flat_map(told).collect();
        let missing: Vec<_> = rules(&kind.schema())
            .into_iter()
            .filter(|rule| !refused.iter().any(|problem| breaks(problem, rule)))
            .collect();
        assert!(missing.is_empty(), "{kind:?}: {missing:#?}");
    }
}

#[test]
fn every_bound_of_a_schema_is_reached_by_an_object_that_it_lets_pass() {
    let rows = rows();
    for kind in Kind::ALL {
        let rows: Vec<_> = rows.iter().filter(|row| row.kind == kind).collect();
        for rule in rules(&kind.schema()) {
            let Some(bound) = &rule.bound else { continue };
            let passes = |row: &&&Row| {
                values_at(&row.object, &rule.path).iter().any(|value| bound.is_reached_by(value))
                    && !told(row).iter().any(|problem| breaks(problem, &rule))
            };
            assert!(rows.iter().any(|row| passes(&row)), "{kind:?}: nothing at the bound of {rule:?}");
        }
    }
}

#[test]
fn every_value_of_an_enumeration_is_accepted_somewhere() {
    let rows = rows();
    for kind in Kind::ALL {
        let accepted: Vec<_> =
            rows.iter().filter(|row| row.kind == kind && row.verdict == Verdict::Accepted).collect();
        for rule in rules(&kind.schema()) {
            for value in &rule.values {
                let there = |row: &&Row| values_at(&row.object, &rule.path).contains(&value);
                assert!(accepted.iter().any(there), "{kind:?}: {} is never {value}", rule.path);
            }
        }
    }
}

fn breaks(problem: &Problem, rule: &Rule) -> bool {
    without_indices(&problem.path) == rule.path && problem.message.contains(&rule.words)
}

impl Bound {
    fn is_reached_by(&self, value: &Value) -> bool {
        match self {
            Self::Characters(bound) => value.as_str().is_some_and(|text| text.chars().count() == *bound),
            Self::Elements(bound) => value.as_array().is_some_and(|list| list.len() == *bound),
            Self::Number(bound) => value.as_i64() == Some(*bound),
        }
    }
}
