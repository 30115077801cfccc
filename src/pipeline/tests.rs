//! The pipeline as its neighbours see it.

use std::collections::HashMap;

use sealfeed_audit::reader::entries;
use tempfile::TempDir;

use super::*;
use crate::config::{ClockConfig, FeedConfig, LogConfig, OrdersConfig};
use crate::execute::EngineOptions;
use crate::feed::{Encoding, Inbox, Inboxes};
use crate::journal;
use crate::types::{Epoch, Instruments, Principal, SessionId};

pub(super) fn journal(folder: &TempDir, shutdown: &Shutdown) -> Journal {
    let mut config = LogConfig::new(&folder.path().join("log"), "pipeline.test/log");
    config.segment_bytes = 1 << 20;
    Journal::new(journal::open(&config, &ClockConfig::default(), b"").unwrap(), shutdown.clone())
}

pub(super) fn options() -> PipelineOptions {
    PipelineOptions {
        instruments: Arc::new(Instruments::new()),
        source_instruments: HashMap::new(),
        publishers: Vec::new(),
        orders: OrdersConfig { nonces_max: 1_000, ..OrdersConfig::default() },
        feed: FeedConfig::default(),
        epoch: Epoch(1),
        engine: EngineOptions::default(),
    }
}

fn core(journal: &Journal) -> Core {
    Core::new(&options(), journal.clone())
}

fn inbox() -> Arc<Inbox> {
    Arc::new(Inbox::new(|| {}))
}

pub(super) fn session(number: u64) -> Arc<SessionHandle> {
    let (who, principal) = ((number, SessionId([0; 32])), Principal::new("acme", "alice").unwrap());
    Arc::new(SessionHandle::new(who, principal, Arc::default(), Encoding::Json, 1_000, inbox()))
}

fn closed(number: u64) -> Command {
    let principal = Principal::new("acme", "alice").unwrap();
    let event = Disconnect {
        principal: principal.to_string(),
        close_code: 1012,
        reason: "drain".to_owned(),
        received: 0,
        sent: 0,
    };
    Command::Closed { session: session(number), delivered: Vec::new(), event, is_last: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_over_before_the_stop_is_still_done() {
    let folder = TempDir::new().unwrap();
    let shutdown = Shutdown::new();
    let journal = journal(&folder, &shutdown);
    let ways = (Duration::ZERO, Inboxes::new([inbox()]));
    let pipeline =
        Pipeline::start(core(&journal), journal.clone(), Clock::System, shutdown.clone(), ways).unwrap();
    // More than one batch, and then the stop at once.
    let ends = 3 * COMMANDS_PER_BATCH_MAX;
    for number in 0..ends {
        assert!(pipeline.handle.try_send(closed(number as u64)).is_ok());
    }
    tokio::task::spawn_blocking(move || pipeline.stop()).await.unwrap();
    journal.stop().unwrap();
    let log = entries(&folder.path().join("log")).unwrap();
    let sealed = log.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.header.kind == 262)).count();
    assert_eq!(sealed, ends, "every session's end is sealed");
    assert_eq!(shutdown.reason(), None);
}
