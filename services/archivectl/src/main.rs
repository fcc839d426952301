use std::process::ExitCode;

fn main() -> ExitCode {
    openarchive_archivectl::main()
}
