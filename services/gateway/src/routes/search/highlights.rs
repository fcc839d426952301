//! Pieces of the found mails' text, read from the archive for this answer and kept nowhere.

use std::time::Duration;

use futures::StreamExt as _;
use openarchive_domain::Digest;
use openarchive_mail::text::{Address as MailAddress, Extracted, extract};
use openarchive_proto::index::v1::{self, HighlightRequest, MailText};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use super::super::content;
use crate::{
    backends::everything,
    caller::Caller,
    gateway::Services,
    problem::{Kind, Problem},
    refusal::Service,
};

/// Most hits of a page with highlights: each is a mail to open.
pub const HIGHLIGHTED_HITS_MAX: u32 = 50;
/// Most bytes from the beginning of a mail that are read for its highlights.
pub const HIGHLIGHT_SOURCE_BYTES_MAX: usize = 1024 * 1024;
/// Longest wait for the highlights of one page; hits that are not ready by then come without.
pub const HIGHLIGHTS_TIME_MAX: Duration = Duration::from_secs(3);
/// Mails that are opened for highlights at a time, over all searches; each holds its source and its text in memory.
pub const HIGHLIGHTS_AT_ONCE_MAX: usize = 8;

/// Where the query's words stand in a mail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Highlights {
    /// complete; partial: only the first part of the mail was read; late: the time for this page was over; unavailable:
    /// the mail could not be read.
    state: &'static str,
    fragments: Vec<FragmentAnswer>,
}

/// A piece of a mail's text. Plain text, never markup.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FragmentAnswer {
    /// As in a query: subject, body, attachment, from, to, cc, bcc.
    field: String,
    text: String,
    /// In order, not overlapping.
    matches: Vec<MatchAnswer>,
}

/// Characters (Unicode scalar values) of the text, counted from 0.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MatchAnswer {
    start: u32,
    /// The first one behind.
    end: u32,
}

impl Highlights {
    const fn none(state: &'static str) -> Self {
        Self { state, fragments: Vec::new() }
    }
}

/// In the order of `hits`. What goes wrong with one mail is said with it, and the search is answered all the same.
pub(super) async fn of_hits(
    caller: &Caller,
    services: &Services,
    query: &str,
    hits: &[Digest],
) -> Vec<Highlights> {
    let deadline = Instant::now() + HIGHLIGHTS_TIME_MAX;
    let one = |message| async move {
        match timeout_at(deadline, of_mail(caller, services, query, message)).await {
            Ok(Ok(highlights)) => highlights,
            Ok(Err(_)) => Highlights::none("unavailable"),
            Err(_) => Highlights::none("late"),
        }
    };
    futures::stream::iter(hits.iter().copied().map(one)).buffered(HIGHLIGHTS_AT_ONCE_MAX).collect().await
}

async fn of_mail(
    caller: &Caller,
    services: &Services,
    query: &str,
    message: Digest,
) -> Result<Highlights, Problem> {
    let broke_off = || Problem::new(Kind::Internal, "the highlights broke off");
    let _permit = services.highlights.acquire().await.map_err(|_| broke_off())?;
    let mut opened = content::open(caller, services, message).await?;
    let (source, is_longer) = opened
        .beginning(HIGHLIGHT_SOURCE_BYTES_MAX)
        .await
        .map_err(|status| Service::Catalogue.refused(&status))?;
    let text = tokio::task::spawn_blocking(move || extract(&source)).await.map_err(|_| broke_off())?;
    let request = HighlightRequest {
        scope: Some(everything()),
        tenant: caller.tenant.to_string(),
        query: query.to_owned(),
        mail: Some(mail_text(text)),
    };
    let found = services.backends.index.clone().highlight(caller.call(request)).await;
    let found = found.map_err(|status| Service::Index.refused(&status))?.into_inner();
    Ok(Highlights {
        state: if is_longer { "partial" } else { "complete" },
        fragments: found.fragments.into_iter().map(fragment).collect(),
    })
}

fn mail_text(mail: Extracted) -> MailText {
    let addresses = |list: Vec<MailAddress>| {
        list.into_iter().map(|who| v1::Address { name: who.name, address: who.address }).collect()
    };
    MailText {
        from: addresses(mail.from),
        to: addresses(mail.to),
        cc: addresses(mail.cc),
        bcc: addresses(mail.bcc),
        subject: mail.subject,
        body: mail.body,
        attachments: mail.attachments,
    }
}

fn fragment(fragment: v1::Fragment) -> FragmentAnswer {
    let matches = fragment.matches.into_iter();
    FragmentAnswer {
        field: fragment.field,
        text: fragment.text,
        matches: matches.map(|m| MatchAnswer { start: m.start, end: m.end }).collect(),
    }
}
