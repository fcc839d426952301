//! Calls to the services of an archive, over mutual TLS with the certificate that the operator issued to itself.

mod dialler;
mod policies;
mod recorder;

pub use dialler::{Core, DIAL_OVERRIDE, DialOverrides, Dialler, OverrideError};
pub(crate) use policies::{Acknowledged, deliver_policies};
pub use recorder::read_config_log;
pub(crate) use recorder::{LogState, record};
