use std::{io::Write as _, path::Path};

use super::given;
use crate::{api::Api, arguments::ProofArguments, failure::Failure, output, terminal, whole_file::WholeFile};

pub(crate) fn run(api: &Api, arguments: &ProofArguments) -> Result<(), Failure> {
    let id = arguments.id;
    let which =
        given([("agent", arguments.agent.clone()), ("seq", arguments.seq.map(|seq| seq.to_string()))]);
    let proof = api.text(&format!("/api/v1/archive/emails/{id}/proof"), &which)?;
    let path = &arguments.output;
    if path == Path::new("-") {
        return output::say(&terminal::paragraphs(&proof));
    }
    let mut file = WholeFile::create(path)?;
    file.write_all(proof.as_bytes()).map_err(|error| Failure::file("cannot write", path, &error))?;
    file.keep()?;
    output::remark(&format!(
        "the proof is in {0}: check it with `archivectl verify EML --proof {0} --policy POLICY`",
        path.display()
    ));
    Ok(())
}
