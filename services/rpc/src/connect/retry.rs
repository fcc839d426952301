//! Calls that may be repeated.

use std::time::Duration;

use tokio::time::sleep;
use tonic::{Code, Status};

/// Most times that a call is made in all.
pub const ATTEMPTS_MAX: u32 = 4;

/// Before the second attempt; the pause before each further one is longer by as much.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes a call again, up to [`ATTEMPTS_MAX`] times in all, while it answers UNAVAILABLE. Only for calls that may happen
/// twice: the first may have been carried out by a replica that died before it could answer.
pub async fn retry_unavailable<T, F>(mut call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let mut attempt = 1;
    loop {
        match call().await {
            Err(status) if status.code() == Code::Unavailable && attempt < ATTEMPTS_MAX => {
                sleep(PAUSE * attempt).await;
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_call_is_repeated_while_it_is_unavailable_and_not_for_ever() {
        let check = async |failures: u32, code: Code, expected: Result<u32, Code>| {
            let calls = AtomicU32::new(0);
            let answer = retry_unavailable(|| async {
                let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
                if call <= failures { Err(Status::new(code, "")) } else { Ok(call) }
            });
            assert_eq!(answer.await.map_err(|status| status.code()), expected);
        };
        check(0, Code::Unavailable, Ok(1)).await;
        check(ATTEMPTS_MAX - 1, Code::Unavailable, Ok(ATTEMPTS_MAX)).await;
        check(ATTEMPTS_MAX, Code::Unavailable, Err(Code::Unavailable)).await;
        check(1, Code::Aborted, Err(Code::Aborted)).await;
    }
}
