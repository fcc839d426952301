use openarchive_domain::{Digest, random};
use serde_json::json;
use uuid::Uuid;

use super::mails;
use crate::{
    answers::{self, Shred, ShredOrdered},
    api::Api,
    arguments::{ShredArguments, ShredCertificateArguments, ShredCommand, ShredShowArguments},
    confirmation::confirm,
    failure::Failure,
    file, output, terminal,
};

pub(crate) fn run(
    connect: impl FnOnce() -> Result<Api, Failure>,
    arguments: &ShredArguments,
) -> Result<(), Failure> {
    match &arguments.command {
        None => order(connect, arguments),
        Some(ShredCommand::Show(arguments)) => show(&connect()?, arguments),
        Some(ShredCommand::Certificate(arguments)) => certificate(&connect()?, arguments),
    }
}

fn order(connect: impl FnOnce() -> Result<Api, Failure>, arguments: &ShredArguments) -> Result<(), Failure> {
    if !arguments.yes {
        let count = mails(arguments.ids.len() as u64);
        confirm(&format!("this destroys {count} in the archive for ever"))?;
    }
    // Chosen here, so that an order whose answer is lost can be sent again.
    let made_up = || uuid::Builder::from_random_bytes(random::bytes()).into_uuid();
    let shred: Uuid = arguments.order.unwrap_or_else(made_up);
    let ids: Vec<String> = arguments.ids.iter().map(Digest::to_string).collect();
    let body = json!({ "shred": shred, "messages": ids, "reason": arguments.reason });
    let answer = connect()?.post("/api/v1/shreds/", &body).map_err(|failure| match failure {
        Failure::Other(line) => Failure::Other(format!(
            "{line}; if the answer was lost, --order {shred} sends the same order again"
        )),
        other => other,
    })?;
    let ordered: ShredOrdered = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || Ok(format!("{}\n", terminal::line(&ordered.shred))))?;
    output::remark(&format!(
        "no reader gets the mail any more (leaf {} of the evidence log); its keys follow: `archivectl shred show {shred}`",
        ordered.leaf_index
    ));
    Ok(())
}

fn show(api: &Api, arguments: &ShredShowArguments) -> Result<(), Failure> {
    let answer = api.get(&format!("/api/v1/shreds/{}", arguments.order), &[])?;
    let shred: Shred = answers::read(&answer)?;
    output::answer(&answer, arguments.list.format, || Ok(description(&shred)))
}

fn description(shred: &Shred) -> String {
    let Shred { order, cause, state, leaf_index, messages } = shred;
    let mut lines = vec![
        format!("Order: {order}"),
        format!("Cause: {cause}"),
        format!("State: {state}"),
        format!("Leaf: {leaf_index} of the evidence log"),
    ];
    lines.extend(messages.iter().map(|message| format!("Mail: {message}")));
    lines.iter().map(|line| terminal::line(line) + "\n").collect()
}

fn certificate(api: &Api, arguments: &ShredCertificateArguments) -> Result<(), Failure> {
    let id = arguments.id;
    let document = api.text(&format!("/api/v1/archive/emails/{id}/shred-certificate"), &[])?;
    if file::write(&arguments.output, &document)? {
        let path = arguments.output.display();
        output::remark(&format!(
            "the certificate is in {path}: check it with `archivectl verify-shred {path} --policy POLICY --receipt \
             PROOF`, where PROOF is the mail's proof from before"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_described_with_every_mail() {
        let answer = json!({ "shred": "0195f1e2-7b7c-7000-8000-000000000000", "cause": "erasure", "state": "ordered",
            "leaf_index": 12, "messages": ["sha256:aa", "sha256:bb"] });
        insta::assert_snapshot!(description(&answers::read(&answer).unwrap()), @r"
        Order: 0195f1e2-7b7c-7000-8000-000000000000
        Cause: erasure
        State: ordered
        Leaf: 12 of the evidence log
        Mail: sha256:aa
        Mail: sha256:bb
        ");
    }
}
