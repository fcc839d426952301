use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Mutex,
};

use openarchive_proto::worker::v1::{
    ListJobsRequest, RetryJobRequest, worker_service_client::WorkerServiceClient,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, timeout},
};
use tonic::{Code, Request, Status};

use super::*;
use crate::{
    serve::{
        fixture::{Replica, Start, WAIT_MAX, until},
        server_builder,
    },
    tls::fixture::{Authority, loaded},
};

type Client = WorkerServiceClient<RpcChannel>;

fn targets(addresses: &[SocketAddr]) -> Vec<Target> {
    addresses.iter().map(|address| address.to_string().parse().unwrap()).collect()
}

/// The number of the replica that answers.
async fn ask(client: &Client) -> Result<u64, Status> {
    Ok(client.clone().list_jobs(ListJobsRequest::default()).await?.into_inner().ready)
}

async fn who_answers(client: &Client) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        seen.extend(ask(client).await);
    }
    seen
}

#[tokio::test]
async fn a_replica_that_dies_costs_only_the_calls_it_had_in_hand_and_is_used_again_when_it_is_back() {
    let files = loaded(&Authority::new("ours"), 1);
    let (one, two) = (Replica::start(1, &files).await, Replica::start(2, &files).await);
    let client = Client::new(connect(&targets(&[one.address, two.address]), files.clone(), Pace::NEAR));
    until("both are used", async || who_answers(&client).await == BTreeSet::from([1, 2])).await;

    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = client.clone();
        slow.spawn(async move { client.retry_job(RetryJobRequest::default()).await });
    }
    one.begun(2).await;
    two.begun(2).await;
    let address = one.kill().await;
    // Whoever asks while it dies may be unlucky once; retry_unavailable is for that.
    for _ in 0..20 {
        assert_eq!(retry_unavailable(|| ask(&client)).await.unwrap(), 2);
    }
    // From now on nobody is given to the dead one.
    for _ in 0..20 {
        assert_eq!(ask(&client).await.unwrap(), 2);
    }
    two.probe.release.add_permits(2);
    let ended: Vec<_> =
        slow.join_all().await.into_iter().map(|slow| slow.map_err(|status| status.code())).collect();
    assert_eq!(ended.iter().filter(|slow| slow.is_ok()).count(), 2, "{ended:?}");
    assert_eq!(ended.iter().filter(|slow| matches!(slow, Err(Code::Unavailable))).count(), 2, "{ended:?}");

    let _back = Start { address, ..Start::default() }.replica(3, &files).await;
    until("the new one is used", async || who_answers(&client).await == BTreeSet::from([2, 3])).await;
}

#[tokio::test]
async fn where_nobody_can_be_reached_a_call_fails_at_once_and_says_why() {
    let files = loaded(&Authority::new("ours"), 1);
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(connect(&targets(&[free]), files.clone(), Pace::NEAR));
    for _ in 0..3 {
        let begun = Instant::now();
        let refused = ask(&client).await.unwrap_err();
        assert!(
            begun.elapsed() < Duration::from_secs(CONNECT_SECONDS_MAX),
            "it waited {:?}",
            begun.elapsed()
        );
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().contains(&free.to_string()), "{refused}");
    }
    let unknown =
        Client::new(connect(&["no-such-name.invalid:1".parse().unwrap()], files.clone(), Pace::NEAR));
    let refused = ask(&unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("no-such-name.invalid:1 cannot be looked up"), "{refused}");
    let nobody = ask(&Client::new(connect(&[], files, Pace::NEAR))).await.unwrap_err();
    assert_eq!(
        (nobody.code(), nobody.message()),
        (Code::Unavailable, "no replica can be reached: no target is configured")
    );
}

#[tokio::test]
async fn all_addresses_of_a_name_are_used_and_followed_when_they_change() {
    let files = loaded(&Authority::new("ours"), 1);
    let one = Replica::start(1, &files).await;
    let at = |host: &str| format!("{host}:{}", one.address.port()).parse::<SocketAddr>().unwrap();
    let two = Start { address: at("127.0.0.2"), ..Start::default() }.replica(2, &files).await;
    let both = BTreeSet::from([one.address, two.address]);
    let table = Arc::new(Mutex::new(BTreeMap::from([("replicas.test".to_owned(), both.clone())])));
    let set = |addresses: BTreeSet<SocketAddr>| {
        table.lock().unwrap().insert("replicas.test".to_owned(), addresses);
    };
    let pace = Pace { resolve: Duration::from_millis(50), ..Pace::NEAR };
    let target = format!("replicas.test:{}", one.address.port()).parse().unwrap();
    let channel = RpcChannel::from(Balanced::new(&[target], files, Names::Table(table.clone()), pace));
    let client = Client::new(channel);
    until("both are used", async || who_answers(&client).await == BTreeSet::from([1, 2])).await;

    let slow = tokio::spawn({
        let mut client = client.clone();
        async move { client.retry_job(RetryJobRequest::default()).await }
    });
    until("a call is in hand", async || {
        [&one, &two].iter().any(|replica| replica.probe.begun.load(std::sync::atomic::Ordering::SeqCst) > 0)
    })
    .await;
    let one_has_it = one.probe.begun.load(std::sync::atomic::Ordering::SeqCst) > 0;
    let (busy, other, number) = if one_has_it { (&one, &two, 2) } else { (&two, &one, 1) };
    set(BTreeSet::from([other.address]));
    until("only the other is used", async || who_answers(&client).await == BTreeSet::from([number])).await;
    // What the name no longer stands for keeps the calls that it has.
    busy.probe.release.add_permits(1);
    assert!(slow.await.unwrap().unwrap().into_inner().retried);

    // A name server that answers nothing is no reason to leave who is there.
    set(BTreeSet::new());
    for _ in 0..20 {
        assert_eq!(ask(&client).await.unwrap(), number);
    }
    set(both);
    until("both are used again", async || who_answers(&client).await == BTreeSet::from([1, 2])).await;
}

#[tokio::test]
async fn a_replica_that_hangs_is_found_by_pings() {
    let files = loaded(&Authority::new("ours"), 1);
    let replica = Replica::start(1, &files).await;
    // What stands between lets everything through until it is told not to; then it keeps the sockets and moves nothing.
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = between.local_addr().unwrap();
    let (freeze, frozen) = watch::channel(false);
    let behind = replica.address;
    tokio::spawn(async move {
        loop {
            let (mut client, _) = between.accept().await.unwrap();
            let mut frozen = frozen.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(behind).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => return,
                    _ = frozen.wait_for(|frozen| *frozen) => {}
                }
                std::future::pending::<()>().await;
            });
        }
    });
    let pace =
        Pace { ping: Duration::from_millis(100), ping_patience: Duration::from_millis(200), ..Pace::NEAR };
    let mut client =
        Client::new(RpcChannel::from(Balanced::new(&targets(&[front]), files, Names::System, pace)));
    ask(&client).await.unwrap();
    let slow = tokio::spawn(async move { client.retry_job(RetryJobRequest::default()).await });
    replica.begun(1).await;
    freeze.send(true).unwrap();
    assert_eq!(timeout(WAIT_MAX, slow).await.unwrap().unwrap().unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_call_ends_with_its_deadline_even_if_the_server_does_not_answer() {
    let files = loaded(&Authority::new("ours"), 1);
    let replica = Replica::start(1, &files).await;
    let mut client = Client::new(connect(&targets(&[replica.address]), files, Pace::NEAR));
    ask(&client).await.unwrap();
    let mut request = Request::new(RetryJobRequest::default());
    request.set_timeout(Duration::from_millis(100));
    let status = timeout(WAIT_MAX, client.retry_job(request)).await.unwrap().unwrap_err();
    // The server watches the deadline too, and may be first.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn connections_that_end_again_and_again_lose_no_call() {
    let files = loaded(&Authority::new("ours"), 1);
    let mut load = tokio::task::JoinSet::new();
    let mut replicas = Vec::new();
    for number in 0..6 {
        let builder = server_builder().max_connection_age(Duration::from_millis(30));
        let replica = Start { builder, ..Start::default() }.replica(number, &files).await;
        let client = Client::new(connect(&targets(&[replica.address]), files.clone(), Pace::NEAR));
        replicas.push(replica);
        for _ in 0..3 {
            let client = client.clone();
            load.spawn(async move {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_secs(2) {
                    let answer = timeout(WAIT_MAX, ask(&client)).await.expect("a call gets no answer");
                    assert_eq!(answer.unwrap(), number);
                }
            });
        }
    }
    load.join_all().await;
}
