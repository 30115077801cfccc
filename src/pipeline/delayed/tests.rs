//! A delayed feed whose reader is lost.

use sealfeed_wire::Conflation;
use tempfile::TempDir;

use super::*;
use crate::feed::{Encoding, RingBounds};
use crate::pipeline::PipelineOptions;
use crate::shutdown::Shutdown;
use crate::types::{BookDecimals, Channel, Decimals, Depth, Epoch, Instrument, MarketDepth, Price, Quantity};

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_a_delayed_feed_whose_thread_is_lost_are_told_stale_and_later_ones_are_refused() {
    let folder = TempDir::new().unwrap();
    let journal = crate::pipeline::tests::journal(&folder, &Shutdown::new());
    let mut instruments = Instruments::new();
    let decimals = Decimals::new(2).unwrap();
    instruments.add(|id| Instrument {
        id,
        symbol: Symbol::new("A").unwrap(),
        decimals: BookDecimals { price: decimals, quantity: decimals },
        tick: Price::from_nanos(1),
        lot: Quantity::from_nanos(1),
        band: None,
        depth: MarketDepth::Levels,
        tradable: false,
        paper: false,
    });
    let options = PipelineOptions { instruments: Arc::new(instruments), ..crate::pipeline::tests::options() };
    let mut core = Core::new(&options, journal.clone());
    let options = FeedOptions { epoch: Epoch(1), heartbeat_ns: u64::MAX, rings: RingBounds::NONE };
    let mut feed = Box::new(Feed::delayed(&core.instruments, options, 1, 900_000));
    let wanted = StreamRequest {
        channel: Channel::Book,
        depth: Depth::Ten,
        conflation: Conflation::Off,
        encoding: Encoding::Json,
    };
    let joined = feed.subscribe(InstrumentId(0), wanted, UnixNanos(1)).unwrap();
    core.delayed.slots.push(Some(Slot {
        delay_ms: 900_000,
        generation: 1,
        feed: Some(feed),
        is_lost: false,
        waiting: VecDeque::new(),
        readers: 1,
        left_at: UnixNanos(1),
        reading: Reading::none(),
    }));
    let mut batch = Batch::default();
    core.take_delayed((0, 1), Delayed::Lost, UnixNanos(2), &mut batch).unwrap();
    let told: Vec<_> = batch
        .outputs
        .iter()
        .filter_map(|output| match output {
            crate::pipeline::batch::Output::Publish(one) => Some(one),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 1);
    let text = String::from_utf8(told[0].message.to_vec()).unwrap();
    assert!(told[0].stream == joined.stream && text.contains("\"stale\""), "{text}");
    assert_eq!(core.feed_with_delay(900_000).err(), Some(Code::SubDelayUnavailable));
    drop(core);
    journal.stop().unwrap();
}
