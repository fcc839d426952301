//! Ingest on the real storage and trust services, with a database and an object store of its own for each test.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it finds the unexpected")]

mod agent;
mod archive;
mod catalogue;
mod certificates;
mod commit;
mod crashes;
mod damage;
mod enrolment;
mod expiry;
mod faults;
mod governance;
mod keeping;
mod policies;
mod policies_agent;
mod policies_damage;
mod quarantine;
mod races;
mod rebuild;
mod shred_again;
mod shred_job;
mod speed;
mod tenants;
