//! Asking a person whether he means what cannot be undone.

use std::io::{self, BufRead, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Goes on only if a person at a terminal writes `yes`. `what` is one line: what will be done.
pub(crate) fn confirm(what: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::other(format!(
            "{what}: nobody is there to confirm it; --yes says that it is meant"
        )));
    }
    let mut asked = io::stderr();
    let _ = write!(asked, "{what}. It cannot be undone. Write `yes` to do it: ").and_then(|()| asked.flush());
    decided(io::stdin().lock())
}

fn decided(mut answers: impl BufRead) -> Result<(), Failure> {
    let mut answer = String::new();
    let read = answers.read_line(&mut answer);
    read.map_err(|error| Failure::other(format!("cannot read the answer: {error}")))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::other("nothing was done")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert_eq!(decided(b"yes\n".as_slice()), Ok(()));
        for no in ["", "\n", "y\n", "YES\n", "yes, but\n", "no\nyes\n"] {
            assert!(decided(no.as_bytes()).is_err(), "{no:?}");
        }
    }
}
