//! A client whose calls end.

use std::time::Duration;

use kube::{Client, Config, client::ClientBuilder};
use tower::timeout::TimeoutLayer;

/// Longest time until a call is answered, tries that the client makes by itself included. A watch is answered when it begins.
pub const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(30);
/// Longest silence within an answer. The API server ends a watch after 290 seconds at the latest.
const SILENCE_SECONDS_MAX: Duration = Duration::from_secs(300);

/// As the configuration says, but for waiting: an API server, or a balancer before it, that takes a call and never answers must
/// not hold up the first reading of a kind for ever.
pub fn client(mut config: Config, answer_within: Duration) -> Result<Client, kube::Error> {
    config.read_timeout = Some(SILENCE_SECONDS_MAX);
    config.reset_reader_on_write = true;
    Ok(ClientBuilder::try_from(config)?.with_layer(&TimeoutLayer::new(answer_within)).build())
}
