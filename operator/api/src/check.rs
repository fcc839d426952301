//! What the API server would refuse, found out without one: for pull requests, and for the operator's own tests.

mod admission;
mod duplicates;
mod schema;
mod structure;

use kube::core::cel::{ErrorKind, ValidationError};
use serde_json::Value;
use std::fmt::{self, Display, Formatter};

use crate::Kind;
use schema::Checker;

/// One reason to refuse an object. It names places and rules, never the value: a manifest may hold a password by mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Such as `spec.tenants[1].name`; empty for a rule about the whole object.
    pub path: String,
    /// In the API server's words where it has any.
    pub message: String,
}

impl Display for Problem {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => formatter.write_str(&self.message),
            path => write!(formatter, "{path}: {}", self.message),
        }
    }
}

/// Everything for which the API server would refuse `object` under strict field validation, ordered by path; `old` is what
/// it would replace. As there, status is left aside, and the rules in CEL are asked only of what has the right structure.
///
/// It knows no cluster: a name that is taken, quotas and admission webhooks stay the API server's. Of `metadata` it knows
/// types and the name, not the grammar of labels. It wants a name: `generateName` is not for manifests. An old object that
/// breaks today's rules is not excused (the API server lets unchanged parts pass).
pub fn check(kind: Kind, object: &Value, old: Option<&Value>) -> Vec<Problem> {
    let checker = match Checker::of(kind) {
        Ok(checker) => checker,
        Err(broken) => return vec![Problem { path: String::new(), message: broken.clone() }],
    };
    let object = admission::admitted(&checker.schema, object);
    let mut problems = structure::problems(&checker.structure, &object);
    problems.extend(duplicates::problems(&checker.schema, &object));
    if problems.is_empty() {
        let mut old = old.map(|old| admission::admitted(&checker.schema, old));
        if let Some(old) = &mut old {
            admission::align(&checker.schema, old, &object);
        }
        let broken = kube::core::cel::validate_compiled(&checker.rules, &object, old.as_ref()).err();
        problems.extend(broken.into_iter().flatten().map(Problem::from));
    }
    problems.sort();
    problems.dedup();
    problems
}

impl From<ValidationError> for Problem {
    fn from(error: ValidationError) -> Self {
        let message = match error.kind {
            ErrorKind::ValidationFailure => error.message,
            // Refused there as well: a rule that cannot be computed does not hold.
            _ => format!("the rule {:?} cannot be computed: {}", error.rule, error.message),
        };
        Self { path: error.field_path, message }
    }
}
