use std::{collections::HashSet, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use kube::{Resource, runtime::reflector::ObjectRef};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until},
};

/// The first reference at once, then those of each pause together, each once. Ends with its senders.
pub(crate) fn gathered<K>(
    references: UnboundedReceiver<ObjectRef<K>>,
    pause: Duration,
) -> impl Stream<Item = ObjectRef<K>> + Send
where
    K: Resource<DynamicType = ()> + 'static,
{
    let begun = (references, None::<Instant>);
    let batches = stream::unfold(begun, move |(mut references, until)| async move {
        if let Some(until) = until {
            sleep_until(until).await;
        }
        let mut batch = HashSet::from([references.recv().await?]);
        while let Ok(next) = references.try_recv() {
            batch.insert(next);
        }
        Some((stream::iter(batch), (references, Some(Instant::now() + pause))))
    });
    batches.flatten()
}

#[cfg(test)]
mod tests {
    use openarchive_operator_api::ArchiveCore;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_comes_within_a_pause_comes_once_and_the_first_at_once() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let send = |name: &str| sender.send(ObjectRef::<ArchiveCore>::new(name)).unwrap();
        let pause = Duration::from_millis(500);
        let mut stream = std::pin::pin!(gathered(receiver, pause));
        let begun = Instant::now();
        send("main");
        assert_eq!(stream.next().await.unwrap().name, "main");
        assert!(begun.elapsed() < pause);
        for _ in 0..1_000 {
            send("main");
        }
        send("other");
        let mut second = [stream.next().await.unwrap().name, stream.next().await.unwrap().name];
        second.sort();
        assert_eq!(second, ["main", "other"]);
        assert!(begun.elapsed() >= pause);
        drop(sender);
        assert!(stream.next().await.is_none());
    }
}
