//! The floor's floor: its own record layer over secrets that were extracted from rustls, and one loop on one thread.
//!
//! Nothing that serves clients over TLS can do less: one byte log, a cursor for each client, AES-GCM over each piece of it,
//! one write for whatever has come since the last. No bound, no timers, no reading, no rekeying: no server for the world.

use std::io::{ErrorKind, Write as _};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ServerConnection};

use super::floor::{FloorOptions, frame, message};
use super::load::now_ns;

/// Plain bytes of a record.
const RECORD_BYTES: usize = 16 * 1024;
/// Plain bytes sealed for one write.
const WRITE_BYTES: usize = 2 * RECORD_BYTES;
/// Messages put into the log at once when all are due.
const STEP: u64 = 248;
/// How often a paced feed looks what is due.
const TICK: Duration = Duration::from_millis(1);

/// A client after its subscription.
pub(crate) struct Bare {
    socket: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    cursor: usize,
    unsent: Vec<u8>,
}

impl Bare {
    /// Takes a connection's secrets out of rustls.
    pub(crate) fn new(socket: std::net::TcpStream, tls: ServerConnection) -> Self {
        let secrets = tls.dangerous_extract_secrets().expect("extraction is enabled");
        let (sequence, secrets) = secrets.tx;
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            _ => panic!("neither of the suites"),
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).expect("a key"));
        let iv = iv.as_ref().try_into().expect("12 bytes");
        Self { socket: TcpStream::from_std(socket), key, iv, sequence, cursor: 0, unsent: Vec::new() }
    }

    /// Writes what is left, or the next piece of the log; whether the socket took everything.
    fn write(&mut self, log: &[u8], sealed: &mut Vec<u8>) -> bool {
        if self.unsent.is_empty() {
            sealed.clear();
            let piece = &log[self.cursor..log.len().min(self.cursor + WRITE_BYTES)];
            piece.chunks(RECORD_BYTES).for_each(|plain| self.seal(plain, sealed));
            self.cursor += piece.len();
            let written = write(&mut self.socket, sealed);
            self.unsent.extend_from_slice(&sealed[written..]);
        } else {
            let written = write(&mut self.socket, &self.unsent);
            self.unsent.drain(..written);
        }
        self.unsent.is_empty()
    }

    fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) {
        let length = u16::try_from(plain.len() + 17).expect("a record").to_be_bytes();
        let header = [23, 3, 3, length[0], length[1]];
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
        self.sequence += 1;
        sealed.extend_from_slice(&header);
        let start = sealed.len();
        sealed.extend_from_slice(plain);
        sealed.push(23);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), &mut sealed[start..])
            .expect("a record is sealed");
        sealed.extend_from_slice(tag.as_ref());
    }
}

fn write(socket: &mut TcpStream, bytes: &[u8]) -> usize {
    match socket.write(bytes) {
        Ok(written) => written,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        // The load has had enough; the process is about to be ended.
        Err(_) => bytes.len(),
    }
}

/// Waits for all subscribers, then feeds them.
pub(crate) fn serve(options: &FloorOptions, subscribed: &Receiver<Bare>) {
    let mut poll = Poll::new().expect("a poll");
    let mut clients = Vec::new();
    for place in 0..usize::try_from(options.subscribers).expect("a few") {
        let mut client = subscribed.recv().expect("a subscriber");
        let interests = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut client.socket, Token(place), interests).expect("a socket");
        clients.push(client);
    }
    let (mut events, mut log, mut sealed) = (Events::with_capacity(1_024), Vec::new(), Vec::new());
    let mut writable: Vec<usize> = Vec::new();
    let (start_ns, mut sent) = (now_ns(), 0);
    loop {
        let due = match options.messages_per_second {
            0 => options.messages.min(sent + if writable.is_empty() { STEP } else { 0 }),
            rate => {
                let owed = u128::from(now_ns() - start_ns) * u128::from(rate) / 1_000_000_000;
                u64::try_from(owed).unwrap_or(u64::MAX).min(options.messages)
            }
        };
        if due > sent {
            (sent + 1..=due).for_each(|seq| log.extend(frame(&message(seq, options.message_bytes))));
            sent = due;
            writable.clear();
            writable.extend((0..clients.len()).filter(|place| clients[*place].unsent.is_empty()));
        }
        let walked = std::mem::take(&mut writable);
        for place in walked {
            let client = &mut clients[place];
            if client.write(&log, &mut sealed) && client.cursor < log.len() {
                writable.push(place);
            }
        }
        let is_busy = !writable.is_empty() || (options.messages_per_second == 0 && sent < options.messages);
        poll.poll(&mut events, Some(if is_busy { Duration::ZERO } else { TICK })).expect("events");
        for event in events.iter().filter(|event| event.is_writable()) {
            let place = event.token().0;
            if !clients[place].unsent.is_empty() {
                writable.push(place);
            }
        }
    }
}
