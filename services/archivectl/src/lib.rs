//! The command line: everything a person does with the archive, and offline verification.
//!
//! Architecture invariants: `verify` touches no network. Whatever comes from mail or from a server is foreign text and
//! reaches the terminal only through [`terminal`]. Content is given out only under its own digest.

mod answers;
mod api;
mod arguments;
mod commands;
mod confirmation;
mod connection;
mod exit_code;
mod failure;
mod file;
mod output;
mod table;
mod terminal;
mod whole_file;

use std::process::ExitCode;

use clap::Parser as _;

pub use arguments::Arguments;
pub use exit_code::{EXIT_ERROR, EXIT_NOT_ANCHORED, EXIT_OK, EXIT_USAGE, EXIT_VERIFICATION_FAILED};

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match commands::run(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}
