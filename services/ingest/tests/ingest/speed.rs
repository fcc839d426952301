//! Many mails in concurrent calls. Prints how many a second pass through; asserts only that all do.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::{
    agent::{Mail, noise},
    archive::Archive,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_mails_pass_through_in_calls_of_256() {
    let archive = Archive::start().await;
    let agent = archive.agent("acme/mx1");
    let mails: Vec<Mail> = (0..1024)
        .map(|number| match number % 4 {
            0 => Mail::with_attachment(number, &noise(u64::from(number), 8_000)),
            _ => Mail::plain(number),
        })
        .collect();
    let begun = Instant::now();
    let mut calls = Vec::new();
    for (call, group) in mails.chunks(256).enumerate() {
        let (agent, group) = (agent.clone(), group.to_vec());
        calls.push(tokio::spawn(async move {
            let numbered: Vec<(u64, &Mail)> = (call as u64 * 256 + 1..).zip(&group).collect();
            agent.archive(&numbered).await.len()
        }));
    }
    let mut archived = 0;
    for call in calls {
        archived += call.await.unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{archived} mails in {seconds:.2} s: {:.0} a second", archived as f64 / seconds);
    assert_eq!(archive.count("ingest.message").await, 1024);
    assert_eq!(archive.completeness("", "").await[0].gaps, []);
}

/// More uploads at a time than storage serves: those that wait must not hold up the others, nor anybody's questions.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_agents_that_upload_at_once_all_come_through() {
    const AGENTS: u32 = 100;
    let archive = Archive::start().await;
    let mails: Vec<Mail> =
        (0..AGENTS).map(|number| Mail::with_attachment(number, &noise(u64::from(number), 700_000))).collect();
    let all = join_all(mails.iter().enumerate().map(|(number, mail)| {
        let agent = archive.agent(&format!("acme/mx{number}"));
        async move { agent.archive(&[(1, mail)]).await.len() }
    }));
    let archived = tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    assert_eq!(archived.into_iter().sum::<usize>(), AGENTS as usize);
    assert_eq!(archive.count("ingest.message").await, i64::from(AGENTS));
}
