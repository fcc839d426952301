use std::{fmt::Write as _, sync::Arc};

use axum::{extract::State, http::header, response::IntoResponse};
use openarchive_mail::text::{Address, Extracted, extract};

use super::content;
use crate::{
    audit::Action,
    caller::Caller,
    extract::MessageId,
    gateway::Services,
    problem::{Kind, Problem},
    refusal::Service,
};

/// Most bytes from the beginning of a mail that its text is taken from.
pub const TEXT_SOURCE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Text views that are made at a time; each holds its source in memory.
pub const TEXT_VIEWS_MAX: usize = 4;

/// Read a mail's text: some headers, names of attachments, the text parts. Not the mail itself: nothing can be
/// proved with it.
#[utoipa::path(
    get,
    path = "/api/v1/archive/emails/{id}/text",
    operation_id = "viewEmailText",
    tag = "mail",
    params(("id" = String, Path, description = "`sha256:` and 64 hex digits.")),
    responses(
        (status = 200, description = "The mail as text.", content_type = "text/plain; charset=utf-8", body = String),
        (status = 404, description = "No such mail.", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn view(
    caller: Caller,
    MessageId(message): MessageId,
    State(services): State<Arc<Services>>,
) -> Result<impl IntoResponse, Problem> {
    let read = async {
        let _permit = services.text_views.acquire().await.map_err(|_| broke_off())?;
        let mut opened = content::open(&caller, &services, message).await?;
        let (source, longer) = opened
            .beginning(TEXT_SOURCE_BYTES_MAX)
            .await
            .map_err(|status| Service::Catalogue.refused(&status))?;
        let view = tokio::task::spawn_blocking(move || render(&extract(&source), longer));
        view.await.map_err(|_| broke_off())
    };
    let text = services.audited(&caller, Action::MessageText, &message.to_string(), read).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text))
}

fn broke_off() -> Problem {
    Problem::new(Kind::Internal, "the text view broke off: read the mail itself instead")
}

fn render(mail: &Extracted, longer: bool) -> String {
    let mut text = String::new();
    let addresses = |addresses: &[Address]| addresses.iter().map(address).collect::<Vec<_>>().join(", ");
    let fields = [
        ("From", addresses(&mail.from)),
        ("To", addresses(&mail.to)),
        ("Cc", addresses(&mail.cc)),
        ("Bcc", addresses(&mail.bcc)),
        ("Date", mail.date.map(|date| date.to_string()).unwrap_or_default()),
        ("Subject", mail.subject.clone()),
        ("Message-ID", mail.message_id.clone().unwrap_or_default()),
        ("Attachments", mail.attachments.join(", ")),
    ];
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        // One line each: a field cannot pretend to be another, nor the body.
        let _ = writeln!(text, "{name}: {}", value.replace(['\r', '\n'], " "));
    }
    text.push('\n');
    text.push_str(mail.body.trim_end());
    text.push('\n');
    if longer {
        let mebibytes = TEXT_SOURCE_BYTES_MAX / (1024 * 1024);
        let _ =
            writeln!(text, "\n[The mail is longer: only its first {mebibytes} MiB were read for this view.]");
    } else if mail.partly_indexed {
        text.push_str("\n[Some text of this mail cannot be shown here: read the mail itself.]\n");
    }
    text
}

fn address(address: &Address) -> String {
    match (address.name.as_str(), address.address.as_str()) {
        ("", address) => address.to_owned(),
        (name, "") => name.to_owned(),
        (name, address) => format!("{name} <{address}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_shown_as_header_lines_an_empty_line_and_its_text() {
        let mail = b"From: \"A. Smith\" <a@x.test>\r\nTo: b@x.test, c@x.test\r\nSubject: one\r\n two\r\n\r\nHello\r\n";
        let expected = "From: A. Smith <a@x.test>\nTo: b@x.test, c@x.test\nSubject: one two\n\nHello\n";
        assert_eq!(render(&extract(mail), false), expected);
        assert!(render(&extract(mail), true).ends_with("first 16 MiB were read for this view.]\n"));
        assert!(
            render(&Extracted { partly_indexed: true, ..Extracted::default() }, false).contains("[Some text")
        );
    }

    #[test]
    fn a_field_cannot_pretend_to_be_another() {
        let mail = Extracted { subject: "x\r\nFrom: forged@x.test".to_owned(), ..Extracted::default() };
        assert_eq!(render(&mail, false).lines().filter(|line| line.starts_with("From")).count(), 0);
    }
}
