//! What the two programs say of themselves.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::plugin::{command, complained, plugin, said};

fn help(args: &[&str]) -> String {
    let (status, text) = said(&plugin(Path::new("/nonexistent"), &[args, &["--help"]].concat()));
    assert_eq!(status, Some(0), "{args:?}");
    assert!(!text.contains('\u{1b}'), "colour where no person looks: {text:?}");
    text
}

fn operator(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_openarchive-operator")).args(args).output().unwrap()
}

#[test]
fn help_names_every_exit_code_and_each_command_tells_its_own() {
    let text = help(&[]);
    for code in ["  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "  5  "] {
        assert!(text.contains(code), "{text}");
    }
    for command in ["status", "netpol", "config", "support-bundle"] {
        assert!(text.contains(command), "{text}");
    }
    assert!(help(&["netpol", "explain"]).contains("5: refused"));
    assert!(help(&["config", "verify"]).contains("3: something is wrong; 4:"));
    assert!(help(&["config", "export"]).contains("3: it is written, and something is wrong"));
    for command in
        [&["config", "history"][..], &["config", "diff"], &["config", "policy"], &["support-bundle"]]
    {
        help(command);
    }
}

#[test]
fn the_operators_program_names_its_exit_codes_and_keeps_to_them() {
    let (status, text) = said(&operator(&["--help"]));
    assert_eq!(status, Some(0));
    assert!(text.contains("1  a manifest is refused") && text.contains("2  "), "{text}");
    assert_eq!(operator(&["validate", "/nonexistent"]).status.code(), Some(2));
    assert_eq!(operator(&["no-such-command"]).status.code(), Some(2));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error_and_changes_no_exit_code() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/standalone.yaml");
    for (port, code) in [("9443", 0), ("9444", 5)] {
        let words = ["netpol", "explain", "operator", "all", port, "--file", example.to_str().unwrap()];
        let seen = command(Path::new("/nonexistent"), &words).output().unwrap();
        assert_eq!(seen.status.code(), Some(code), "{port}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(Path::new("/nonexistent"), &words).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), complained(&output)), (Some(code), String::new()), "{port}");
    }
}
