//! Calls to the services of an archive, over mutual TLS with the certificate that the operator issued to itself.

mod dialler;
mod history;
mod policies;
mod recorder;

pub use dialler::{Core, DIAL_OVERRIDE, DialOverrides, Dialler, OverrideError};
pub use history::{History, Step, read_history, read_log_policy};
pub(crate) use policies::{Acknowledged, deliver_policies};
pub use recorder::read_config_log;
pub(crate) use recorder::{LogState, record};
