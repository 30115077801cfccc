//! What is held back, and what takes it along.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sealfeed_wire::OnSlow;
use tempfile::TempDir;

use super::batch::{Batch, Output};
use super::release::{self, ReleaseSender};
use super::tests::journal;
use crate::feed::{Delivery, Encoding, Inbox, Inboxes, Item, Publication, ReaderId, StreamId, Terms};
use crate::journal::Journal;
use crate::shutdown::Shutdown;
use crate::types::Sequence;

const FOR_EVER: Duration = Duration::from_secs(3_600);

/// The release thread with one reader of one stream.
struct Bench {
    sender: ReleaseSender,
    thread: std::thread::JoinHandle<()>,
    inbox: Arc<Inbox>,
    woken: std::sync::mpsc::Receiver<()>,
    journal: Journal,
    _folder: TempDir,
}

/// The one reader.
const READER: ReaderId = 1;

fn stream() -> StreamId {
    StreamId::from_index(0)
}

impl Bench {
    fn new(flush_interval: Duration) -> Self {
        let folder = TempDir::new().unwrap();
        let shutdown = Shutdown::new();
        let journal = journal(&folder, &shutdown);
        let (wake, woken) = std::sync::mpsc::sync_channel(64);
        let inbox = Arc::new(Inbox::new(move || {
            let _ = wake.try_send(());
        }));
        let inboxes = Inboxes::new([Arc::clone(&inbox)]);
        let (sender, thread) = release::start(journal.clone(), shutdown, flush_interval, inboxes).unwrap();
        let bench = Self { sender, thread, inbox, woken, journal, _folder: folder };
        let joined = Output::Subscribe {
            stream: stream(),
            seq: Sequence::ZERO,
            terms: Terms { subscription: 1, on_slow: OnSlow::Disconnect },
            reader: READER,
        };
        bench.turn(joined);
        assert_eq!(bench.arrived().items.len(), 1, "a subscription does not wait");
        bench
    }

    fn turn(&self, output: Output) {
        let batch = Batch { outputs: vec![output], ..Batch::default() };
        assert!(self.sender.send(batch).is_ok());
    }

    fn publish(&self, seq: u64) {
        let message = Bytes::from_static(b"{}");
        let encoding = Encoding::of(&message);
        self.turn(Output::Publish(Publication {
            stream: stream(),
            encoding,
            seq: Sequence::new(seq).unwrap(),
            message,
        }));
    }

    fn reply(&self) {
        self.turn(Output::Send { reader: READER, message: Bytes::from_static(b"{}") });
    }

    /// What the shard finds when it is woken.
    fn arrived(&self) -> Delivery {
        self.woken.recv_timeout(Duration::from_secs(60)).unwrap();
        let mut taken = Delivery::default();
        self.inbox.take(&mut taken);
        taken
    }

    fn stop(self) -> Arc<Inbox> {
        drop(self.sender);
        self.thread.join().unwrap();
        self.journal.stop().unwrap();
        self.inbox
    }
}

fn published(item: &Item) -> Option<(u64, u64)> {
    match item {
        Item::Frames { messages, last, .. } => Some((*messages, *last)),
        _ => None,
    }
}

#[test]
fn without_an_interval_every_publication_leaves_when_it_comes() {
    let bench = Bench::new(Duration::ZERO);
    for seq in 1..=3 {
        bench.publish(seq);
        assert_eq!(bench.arrived().items.first().and_then(published), Some((1, seq)));
    }
    bench.stop();
}

#[test]
fn what_is_held_back_leaves_as_one_run_in_front_of_the_next_reply() {
    let bench = Bench::new(FOR_EVER);
    (1..=3).for_each(|seq| bench.publish(seq));
    bench.reply();
    let items = bench.arrived().items;
    assert_eq!(items.first().and_then(published), Some((3, 3)));
    assert!(matches!(items[1..], [Item::Message { .. }]), "{items:?}");
    bench.stop();
}

#[test]
fn what_is_held_back_leaves_when_its_interval_is_over_and_at_the_end() {
    let bench = Bench::new(Duration::from_millis(1));
    bench.publish(1);
    assert_eq!(bench.arrived().items.first().and_then(published), Some((1, 1)));
    bench.stop();

    let bench = Bench::new(FOR_EVER);
    bench.publish(1);
    let inbox = bench.stop();
    let mut taken = Delivery::default();
    inbox.take(&mut taken);
    assert_eq!(taken.items.first().and_then(published), Some((1, 1)));
}
