use std::io::{Error, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// One request by HTTP/1.0, whose answer ends with the connection: status and body. It has no deadline of its own; dropping it
/// ends it. `InvalidData`: the answer is too long, or no HTTP.
pub async fn http_get(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
    token: Option<&str>,
    answer_bytes_max: u64,
) -> std::io::Result<(u16, String)> {
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    // A server that ends a TLS stream without saying so has said enough if its answer is whole, which JSON shows.
    let _ = stream.take(answer_bytes_max + 1).read_to_end(&mut answer).await;
    if answer.len() as u64 > answer_bytes_max {
        let text = format!("the answer is longer than {answer_bytes_max} bytes");
        return Err(Error::new(ErrorKind::InvalidData, text));
    }
    let answer = String::from_utf8_lossy(&answer);
    let no_http = || Error::new(ErrorKind::InvalidData, "the answer is not HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(no_http)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(no_http)?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of an answer, where it may be so long.
    async fn check(answer: &str, answer_bytes_max: u64) -> std::io::Result<(u16, String)> {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        theirs.write_all(answer.as_bytes()).await?;
        theirs.shutdown().await?;
        let got = http_get(ours, "localhost", "/metrics", None, answer_bytes_max).await;
        drop(theirs);
        got
    }

    #[tokio::test]
    async fn an_answer_is_taken_whole_or_not_at_all() {
        let answer = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab";
        let length = answer.len() as u64;
        assert_eq!(check(answer, length).await.unwrap(), (200, "ab".to_owned()));
        assert!(check(answer, length - 1).await.is_err());
        assert!(check("220 mx.example.org ESMTP\r\n", length).await.is_err());
        assert!(check("", length).await.is_err());
    }
}
