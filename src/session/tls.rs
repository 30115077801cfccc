//! TLS behind three verbs: [`Tls::input`], [`Tls::seal`] and [`Tls::flush`]. Nothing else in the server sees a record.
//!
//! rustls's unbuffered connection: the caller owns all memory, so that an idle connection holds none and sealed bytes
//! go from one buffer a thread to the socket. Records are of at most 16 KiB; rustls counts them, renews the keys
//! before AES-GCM's limit and answers the peer's `KeyUpdate`. The interface is rustls 0.23's: its successor's has the
//! same three verbs, and this file is what would change (docs/adr/0019).
//!
//! Sources: RFC 8446; section 7.5 for the exporter, RFC 9266 for its label.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hkdf::{Hkdf, hmac};
use parking_lot::Mutex;
use rustls::server::{ServerConfig, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error as TlsError, KeyLog};
use rustls_pki_types::CertificateDer;
use sealfeed_wire::reply::Welcome;
use sha2::{Digest, Sha256, Sha384};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// Bytes read from a socket at once: a full record with its header and tag fits.
pub const READ_BYTES: usize = 18 * 1024;
/// Bytes read at once before a shard takes over.
const HANDSHAKE_READ_BYTES: usize = 4 * 1024;
/// Plain bytes of one record.
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Bytes that a record is longer than what it carries: header, content type, tag.
const RECORD_OVERHEAD_BYTES: usize = 5 + 1 + 16;

/// Sealed bytes on their way to a socket. One a thread; its memory is kept.
#[derive(Debug, Default)]
pub struct Sealed {
    /// All of it is initialised; what counts are the first `length` bytes.
    bytes: Vec<u8>,
    length: usize,
}

impl Sealed {
    /// What is in it.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Empties it.
    pub const fn clear(&mut self) {
        self.length = 0;
    }

    /// Room for so many bytes behind those in it.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.length + bytes;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.length..]
    }
}

/// One connection's TLS.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// What came and is not used up: the beginning of a record, or records with the beginning of a handshake message.
    /// rustls keeps places in it, so that every call is given it again, whatever it is for.
    received: Vec<u8>,
    unsent: Option<Box<Unsent>>,
}

/// Sealed bytes that the socket has not taken; never none. While there are any nothing more is sealed: records cannot be
/// taken back.
struct Unsent {
    bytes: Vec<u8>,
    /// What has left of them since.
    at: usize,
}

impl Tls {
    /// A connection that has not begun its handshake.
    ///
    /// # Errors
    /// rustls finds the configuration unusable.
    fn new(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self { connection, received: Vec::new(), unsent: None })
    }

    /// Takes received bytes in: plain ones go behind those in `plain`, what has to be answered (alerts, key updates,
    /// the handshake) into `sealed`. What is not a whole record yet is kept; `received` is used up. Returns whether the peer
    /// has ended its side: then nothing more comes.
    ///
    /// # Errors
    /// The peer broke the protocol. The alert that says so stands in `sealed`; the connection is over once it is written.
    pub fn input(
        &mut self,
        received: &mut [u8],
        plain: &mut Vec<u8>,
        sealed: &mut Sealed,
    ) -> Result<bool, TlsError> {
        if self.received.is_empty() {
            // The usual case: whole records, read where they are.
            let (used, result) = take(&mut self.connection, received, plain, sealed);
            self.received.extend_from_slice(&received[used..]);
            return result;
        }
        self.received.extend_from_slice(received);
        let (used, result) = take(&mut self.connection, &mut self.received, plain, sealed);
        self.use_up(used);
        result
    }

    fn use_up(&mut self, bytes: usize) {
        if bytes == self.received.len() {
            self.received = Vec::new();
        } else if bytes > 0 {
            self.received.drain(..bytes);
        }
    }

    /// Seals plain bytes behind what is in `sealed`, in full records but for the last.
    ///
    /// # Errors
    /// The keys are used up and could not be renewed: the connection is over.
    pub fn seal(&mut self, plain: &[u8], sealed: &mut Sealed) -> Result<(), TlsError> {
        let records = plain.len().div_ceil(RECORD_BYTES_MAX);
        let room = plain.len() + records * RECORD_OVERHEAD_BYTES;
        self.write(sealed, room, |traffic, room| traffic.encrypt(plain, room))
    }

    /// Asks both sides for new keys, from the next record on.
    #[cfg(test)]
    pub(super) fn renew_keys(&mut self, sealed: &mut Sealed) -> Result<(), TlsError> {
        // What is to be encoded comes first.
        self.seal(b"", sealed)?;
        match self.connection.process_tls_records(&mut self.received).state? {
            ConnectionState::WriteTraffic(traffic) => traffic.refresh_traffic_keys(),
            _ => Err(TlsError::HandshakeNotComplete),
        }
    }

    /// Seals the end of our side (`close_notify`).
    ///
    /// # Errors
    /// The connection is over already.
    pub fn close(&mut self, sealed: &mut Sealed) -> Result<(), TlsError> {
        self.write(sealed, RECORD_OVERHEAD_BYTES + 2, |traffic, room| traffic.queue_close_notify(room))
    }

    /// Lets `seal` write behind what is in `sealed`, with as much room as it asks for: a key update goes in front.
    fn write(
        &mut self,
        sealed: &mut Sealed,
        mut room: usize,
        seal: impl Fn(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        loop {
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut self.received);
            let is_done = match state? {
                ConnectionState::WriteTraffic(mut traffic) => match seal(&mut traffic, sealed.room(room)) {
                    Ok(length) => {
                        sealed.length += length;
                        true
                    }
                    Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                        room = required_size;
                        false
                    }
                    Err(EncryptError::EncryptExhausted) => return Err(TlsError::EncryptError),
                },
                ConnectionState::EncodeTlsData(mut data) => {
                    encode(sealed, |room| data.encode(room))?;
                    false
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    false
                }
                _ => return Err(TlsError::HandshakeNotComplete),
            };
            self.use_up(discard);
            if is_done {
                return Ok(());
            }
        }
    }

    /// Writes to the socket, once: what it did not take before, or else what is sealed. `sealed` is empty afterwards;
    /// what the socket does not take is kept here. Returns whether all has left.
    ///
    /// # Errors
    /// The socket is broken. A socket that takes nothing now is no error.
    pub fn flush(&mut self, socket: &mut impl Write, sealed: &mut Sealed) -> io::Result<bool> {
        if let Some(Unsent { bytes, at }) = self.unsent.as_deref_mut() {
            bytes.extend_from_slice(sealed.as_slice());
            *at += write(socket, &bytes[*at..])?;
            if *at == bytes.len() {
                self.unsent = None;
            }
        } else {
            let bytes = sealed.as_slice();
            let written = if bytes.is_empty() { 0 } else { write(socket, bytes)? };
            // Exactly what is left: a connection that lags holds no more than it has to.
            self.keep_unsent(&bytes[written..]);
        }
        sealed.clear();
        Ok(self.unsent.is_none())
    }

    /// Whether the socket has not taken all that was sealed.
    #[must_use]
    pub const fn has_unsent(&self) -> bool {
        self.unsent.is_some()
    }

    fn keep(&mut self, sealed: &mut Sealed) {
        self.keep_unsent(sealed.as_slice());
        sealed.clear();
    }

    fn keep_unsent(&mut self, more: &[u8]) {
        match &mut self.unsent {
            Some(unsent) => unsent.bytes.extend_from_slice(more),
            None if more.is_empty() => {}
            None => self.unsent = Some(Box::new(Unsent { bytes: more.to_vec(), at: 0 })),
        }
    }

    /// The peer's certificates, its own first.
    #[must_use]
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }
}

/// [`Tls::input`] over one buffer: how many of its bytes are used up, and whether the peer has ended its side.
fn take(
    connection: &mut UnbufferedServerConnection,
    received: &mut [u8],
    plain: &mut Vec<u8>,
    sealed: &mut Sealed,
) -> (usize, Result<bool, TlsError>) {
    let (mut used, mut is_closed, mut failure) = (0, false, None::<TlsError>);
    loop {
        let UnbufferedStatus { mut discard, state } = connection.process_tls_records(&mut received[used..]);
        let step = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    Some(Ok(record)) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Some(Err(error)) => break Err(error),
                    None => break Ok(true),
                }
            },
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(sealed, |room| data.encode(room)).map(|()| true)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                // The caller writes what is sealed before anything that it seals later.
                data.done();
                Ok(true)
            }
            Ok(ConnectionState::PeerClosed) => {
                is_closed = true;
                Ok(true)
            }
            Ok(ConnectionState::Closed) => {
                is_closed = true;
                Ok(false)
            }
            // Waiting for the peer, or for us. Early data is never offered.
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        };
        used += discard;
        match (step, failure.take()) {
            // The alert is had by asking again, once: asking more often would read the bad record again.
            (Err(error), None) => failure = Some(error),
            (_, Some(error)) => return (used, Err(error)),
            (Ok(false), None) => return (used, Ok(is_closed)),
            (Ok(true), None) => {}
        }
    }
}

/// Lets `data` be encoded into `sealed`, with as much room as it asks for.
fn encode(
    sealed: &mut Sealed,
    mut data: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), TlsError> {
    let mut room = 512;
    loop {
        match data(sealed.room(room)) {
            Ok(length) => {
                sealed.length += length;
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                room = required_size;
            }
            Err(EncodeError::AlreadyEncoded) => return Ok(()),
        }
    }
}

/// One write; zero bytes if the socket takes nothing now.
fn write(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        return match socket.write(bytes) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => Ok(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

/// Takes the exporter secret of one handshake, which the unbuffered connection does not offer otherwise. No traffic
/// secret is asked for. Wiped when the name of the session has been made of it.
#[derive(Default)]
struct ExporterTap(Mutex<Option<Zeroizing<Vec<u8>>>>);

impl std::fmt::Debug for ExporterTap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ExporterTap")
    }
}

impl KeyLog for ExporterTap {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if self.will_log(label) {
            *self.0.lock() = Some(Zeroizing::new(secret.to_vec()));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == "EXPORTER_SECRET"
    }
}

impl ExporterTap {
    /// The exporter value of the connection, with [`Welcome::EXPORTER_LABEL`] and an empty context.
    fn export(&self) -> Option<[u8; 32]> {
        let secret = self.0.lock().take()?;
        // A suite's secrets are as long as its hash.
        if secret.len() == 48 { export::<Sha384>(&secret) } else { export::<Sha256>(&secret) }
    }
}

/// RFC 8446 section 7.5, for the hash of the suite.
fn export<H>(secret: &[u8]) -> Option<[u8; 32]>
where
    H: Digest + hmac::EagerHash,
{
    let empty = H::digest(b"");
    let mut derived = Zeroizing::new(vec![0; secret.len()]);
    expand_label::<H>(secret, Welcome::EXPORTER_LABEL, &empty, &mut derived)?;
    let mut value = [0; 32];
    expand_label::<H>(&derived, b"exporter", &empty, &mut value)?;
    Some(value)
}

/// HKDF-Expand-Label of RFC 8446 section 7.1.
fn expand_label<H>(secret: &[u8], label: &[u8], context: &[u8], out: &mut [u8]) -> Option<()>
where
    H: Digest + hmac::EagerHash,
{
    const PREFIX: &[u8] = b"tls13 ";
    let out_bytes = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_bytes = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let context_bytes = [u8::try_from(context.len()).ok()?];
    let info: [&[u8]; 6] = [&out_bytes, &label_bytes, PREFIX, label, &context_bytes, context];
    Hkdf::<H>::from_prk(secret).ok()?.expand_multi_info(&info, out).ok()
}

/// A connection on the acceptor's runtime: for handshake and upgrade, before a shard takes it over.
pub struct TlsStream {
    socket: TcpStream,
    tls: Tls,
    plain: Vec<u8>,
    plain_at: usize,
    sealed: Sealed,
    is_closed: bool,
    is_shut: bool,
}

/// What a shard takes over.
pub struct TlsParts {
    /// The socket, not blocking.
    pub socket: std::net::TcpStream,
    /// Its TLS; what it has not written yet stands in it.
    pub tls: Tls,
    /// Plain bytes that nobody has read yet.
    pub plain: Vec<u8>,
}

/// Takes a connection through its handshake. The caller holds the deadline; dropping this drops the connection.
/// Returns the connection and its exporter value, the name of the session.
///
/// # Errors
/// The connection broke or ended, or (as [`io::ErrorKind::InvalidData`] over the [`TlsError`]) was refused; the peer
/// has its alert then.
pub async fn accept(socket: TcpStream, mut config: ServerConfig) -> io::Result<(TlsStream, [u8; 32])> {
    let tap = Arc::new(ExporterTap::default());
    config.key_log = Arc::clone(&tap) as Arc<dyn KeyLog>;
    let mut stream = TlsStream {
        socket,
        tls: Tls::new(Arc::new(config)).map_err(invalid)?,
        plain: Vec::new(),
        plain_at: 0,
        sealed: Sealed::default(),
        is_closed: false,
        is_shut: false,
    };
    while stream.tls.connection.is_handshaking() {
        let input = std::future::poll_fn(|context| stream.poll_input(context)).await;
        // An alert leaves before the refusal is known, the last flight before the connection is used.
        let flushed = std::future::poll_fn(|context| stream.poll_sealed(context)).await;
        if !input? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        flushed?;
    }
    let exported = tap.export().ok_or_else(|| invalid(TlsError::HandshakeNotComplete))?;
    Ok((stream, exported))
}

fn invalid(error: TlsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl TlsStream {
    /// The peer's certificates, its own first.
    #[must_use]
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.peer_certificates()
    }

    /// Takes the connection off this runtime.
    ///
    /// # Errors
    /// The runtime does not let go of the socket.
    pub fn into_parts(mut self) -> io::Result<TlsParts> {
        self.tls.keep(&mut self.sealed);
        let plain = self.plain.split_off(self.plain_at);
        Ok(TlsParts { socket: self.socket.into_std()?, tls: self.tls, plain })
    }

    /// Reads once and takes in what came; whether the connection goes on.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // On the stack, and small: handshakes and upgrades are, and there may be thousands at once.
        let mut bytes = [0; HANDSHAKE_READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
        let received = buffer.filled_mut();
        if received.is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.is_closed |= self.tls.input(received, &mut self.plain, &mut self.sealed).map_err(invalid)?;
        Poll::Ready(Ok(true))
    }

    /// Writes all that is sealed.
    fn poll_sealed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.keep(&mut self.sealed);
        while self.tls.has_unsent() {
            ready!(self.socket.poll_write_ready(context))?;
            let mut socket = TryWrite(&self.socket);
            self.tls.flush(&mut socket, &mut self.sealed)?;
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes without waiting, on the runtime's socket.
struct TryWrite<'a>(&'a TcpStream);

impl Write for TryWrite<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.plain_at == this.plain.len() {
            (this.plain, this.plain_at) = (Vec::new(), 0);
            if this.is_closed {
                return Poll::Ready(Ok(()));
            }
            let input = ready!(this.poll_input(context));
            // What an error leaves to be said is said as far as the socket takes it.
            let flushed = this.poll_sealed(context);
            if !input? {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            if let Poll::Ready(flushed) = flushed {
                flushed?;
            }
        }
        let count = out.remaining().min(this.plain.len() - this.plain_at);
        out.put_slice(&this.plain[this.plain_at..this.plain_at + count]);
        this.plain_at += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, plain: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_sealed(context))?;
        let plain = &plain[..plain.len().min(RECORD_BYTES_MAX)];
        this.tls.seal(plain, &mut this.sealed).map_err(invalid)?;
        Poll::Ready(Ok(plain.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_sealed(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            this.is_shut = true;
            this.tls.close(&mut this.sealed).map_err(invalid)?;
        }
        ready!(this.poll_sealed(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
