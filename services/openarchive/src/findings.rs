//! Damage, as every service's check names it, and how it is shown.

use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    pub(crate) service: &'static str,
    /// What is broken, and where.
    pub(crate) what: String,
    /// Notes are no damage: an unreferenced pack after a crash, for example.
    pub(crate) damage: bool,
}

impl Finding {
    pub(crate) const fn damage(service: &'static str, what: String) -> Self {
        Self { service, what, damage: true }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) clean: bool,
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(findings: Vec<Finding>) -> Self {
        Self { clean: !findings.iter().any(|finding| finding.damage), findings }
    }

    pub(crate) fn print(&self) {
        for Finding { service, what, damage } in &self.findings {
            let kind = if *damage { "DAMAGE" } else { "note  " };
            println!("{kind}  {service:<8} {what}");
        }
        let damaged = self.findings.iter().filter(|finding| finding.damage).count();
        if self.clean {
            println!("fsck: clean");
        } else {
            println!("fsck: {damaged} damaged");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_with_notes_is_clean_and_one_with_damage_is_not() {
        let note =
            || Finding { service: "storage", what: "left by an interrupted write".to_owned(), damage: false };
        assert!(Report::new(vec![]).clean && Report::new(vec![note(), note()]).clean);
        assert!(!Report::new(vec![note(), Finding::damage("trust", "gone".to_owned())]).clean);
    }
}
