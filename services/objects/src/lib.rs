//! The object store: a closed set of backends behind one contract.
//!
//! The contract, whichever backend: an object is created once and whole, or not at all; what a call acknowledged is
//! durable; names are [`ObjectKey`]s. `tests/contract/` states it and is run against every backend.
//!
//! Architecture invariant: nothing here knows what an object means. Who calls decides about formats, locks and names.

mod error;
mod faulty;
mod key;
mod local;
mod store;

pub use error::ObjectError;
pub use faulty::{Calls, Fault, Faults, FaultyStore};
pub use key::{KEY_BYTES_MAX, ObjectKey, SEGMENT_BYTES_MAX};
pub use local::LocalStore;
pub use store::{
    Content, Meta, ObjectReader, ObjectStore, PIECE_BYTES_MAX, Version, WHOLE_BYTES_MAX, WormStatus,
};
