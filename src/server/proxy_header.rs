//! Reads the header of a load balancer from its connection, to the byte: what it passes on begins right behind.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::proxy::{Announced, Parsed, parse};

/// Reads a whole header and nothing behind it. The caller holds the deadline.
///
/// # Errors
/// What is wrong, for the operator: the header is malformed, or the connection ended inside it.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Announced, String> {
    let mut header = Vec::with_capacity(64);
    loop {
        let missing = match parse(&header).map_err(|malformed| malformed.to_string())? {
            Parsed::Whole { announced, .. } => return Ok(announced),
            Parsed::Partial { missing } => missing,
        };
        match (&mut *stream).take(missing as u64).read_buf(&mut header).await {
            Ok(0) => {
                return Err("the connection ended before the end of the PROXY protocol header".to_owned());
            }
            Ok(_) => {}
            Err(error) => return Err(format!("the connection broke: {}", error.kind())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::proxy::SIGNATURE;
    use super::*;

    #[tokio::test]
    async fn what_follows_the_header_stays_in_the_connection_however_it_came() {
        let header = [&SIGNATURE[..], &[0x20, 0x00, 0, 3], b"abc"].concat();
        let sent = [&header[..], b"TLS"].concat();
        for step in 1..=sent.len() {
            let (mut ours, mut theirs) = tokio::io::duplex(step);
            let sent = sent.clone();
            let sending =
                tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut theirs, &sent).await });
            assert_eq!(read(&mut ours).await, Ok(Announced::Local));
            let mut rest = Vec::new();
            ours.read_to_end(&mut rest).await.unwrap();
            sending.await.unwrap().unwrap();
            assert_eq!(rest, b"TLS", "{step}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_inside_the_header_is_refused() {
        for end in 0..SIGNATURE.len() {
            let error = read(&mut &SIGNATURE[..end]).await.unwrap_err();
            assert!(error.starts_with("the connection ended"), "{error}");
        }
    }
}
