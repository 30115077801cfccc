//! The pipeline as its neighbours see it.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use sealfeed_audit::reader::entries;
use tempfile::TempDir;

use super::*;
use crate::config::{ClockConfig, FeedConfig, LogConfig, OrdersConfig};
use crate::execute::EngineOptions;
use crate::feed::{Encoding, Inbox, OutboundQueue};
use crate::gate::PublishedRate;
use crate::journal::{self, SessionTrail};
use crate::types::{Entitlement, Epoch, Instruments, Principal, SessionId};

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

pub(super) fn session(number: u64) -> Arc<SessionHandle> {
    Arc::new(SessionHandle {
        number,
        principal: Principal::new("acme", "alice").unwrap(),
        entitlement: ArcSwap::from_pointee(Entitlement::default()),
        encoding: Encoding::Json,
        resume_bytes_max: 1_000,
        messages: PublishedRate::default(),
        queue: Arc::new(OutboundQueue::new(Arc::new(Inbox::new(|| {})), 1)),
        trail: SessionTrail::new(SessionId([0; 32])),
        is_revoked: std::sync::atomic::AtomicBool::new(false),
    })
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
    let pipeline =
        Pipeline::start(core(&journal), journal.clone(), Clock::System, shutdown.clone(), Duration::ZERO)
            .unwrap();
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
