//! What peers do to a server on purpose, and what becomes of it: each attack on the real program, over real sockets, while a
//! client that does nothing wrong reads its streams from the same address.
//!
//! Three things hold in each of them. The attacker is ended as documented, not before its deadline and not long after: by a close
//! frame, by an HTTP answer or by a TLS alert, and with its entry in the sealed log. The other client misses nothing. And the server
//! has not grown by more than [`ground::GROWTH_BYTES_MAX`].
//!
//! `SEALFEED_ABUSE_GAP_MS=250` also bounds the longest time between two messages of the other client, and how long after its
//! deadline an attacker may live; for machines that do nothing else. `--nocapture` shows the figures.

mod door;
mod floods;
mod frames;
mod ground;
mod healthy;
mod raw_tls;
mod readers;
mod records;
