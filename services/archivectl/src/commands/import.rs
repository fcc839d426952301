use std::{env, path::PathBuf, process::Command};

use crate::{
    arguments::{ArchiveArguments, ImportArguments},
    exit_code::{EXIT_ERROR, EXIT_OK},
    failure::Failure,
};

const AGENT: &str = "openarchive-edge";

/// Mail comes in through agents only, so that every observation has its seat and its receipt: this runs the agent's own
/// import, from beside this program or from the PATH. What goes wrong in it, it says itself.
pub(crate) fn run(archive: &ArchiveArguments, arguments: &ImportArguments) -> Result<u8, Failure> {
    let of_dev = || archive.data.as_ref().map(|data| data.join("edge/agent.yaml"));
    let Some(config) = arguments.config.clone().or_else(of_dev) else {
        let which =
            "which agent? Give --config of an agent, or --data of an archive that `openarchive dev` runs";
        return Err(Failure::other(which));
    };
    let beside = env::current_exe().ok().map(|path| path.with_file_name(AGENT)).filter(|path| path.is_file());
    let program = beside.unwrap_or_else(|| PathBuf::from(AGENT));
    let status =
        Command::new(&program).arg("import").arg(&arguments.path).arg("--config").arg(config).status();
    let status = status.map_err(|error| {
        Failure::other(format!(
            "cannot run {}: {error}: install the agent beside archivectl",
            program.display()
        ))
    })?;
    Ok(if status.success() { EXIT_OK } else { EXIT_ERROR })
}
