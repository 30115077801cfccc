//! A stream cut anywhere between tape, ring and live: the pieces are, byte for byte, what a reader got who never left.

use proptest::prelude::*;
use sealfeed_wire::Conflation;
use sealfeed_wire::request::ResumePoint;

use super::*;
use crate::feed::frame::frame_bytes;
use crate::feed::{Missed, StreamId, push_frame};
use crate::types::Sequence;

/// Streams that follow from the tape, of every kind of instrument.
const STREAMS: [(u32, Channel, Depth, Encoding); 12] = [
    (0, Channel::Trades, Depth::Ten, Encoding::Json),
    (0, Channel::Trades, Depth::Ten, Encoding::Dbn),
    (0, Channel::Mbo, Depth::Ten, Encoding::Json),
    (0, Channel::Bbo, Depth::Ten, Encoding::Json),
    (0, Channel::Book, Depth::Ten, Encoding::Json),
    (0, Channel::Book, Depth::Ten, Encoding::Dbn),
    (0, Channel::Book, Depth::Full, Encoding::Json),
    (1, Channel::Bbo, Depth::Ten, Encoding::Json),
    (2, Channel::Trades, Depth::Ten, Encoding::Json),
    (3, Channel::Book, Depth::Fifty, Encoding::Json),
    (3, Channel::Status, Depth::Ten, Encoding::Json),
    (3, Channel::Definition, Depth::Ten, Encoding::Json),
];

/// Bounds that a stream without a delay does not have.
const LIVE: (Sequence, UnixNanos) = (Sequence::ZERO, UnixNanos(0));

/// What happens, as parts of all events (of 1,000).
#[derive(Clone, Debug)]
struct Script {
    stream: usize,
    /// The unbroken reader comes.
    reader: usize,
    /// The server is stopped and started again.
    restart: usize,
    /// Somebody asks the tape, and has this part of what was published so far.
    asks: usize,
    has: usize,
    /// Asked again after so many events each, until memory holds the rest.
    step: usize,
    ring_bytes_max: usize,
    bytes_max: usize,
    events_max: usize,
}

fn script() -> impl Strategy<Value = Script> {
    let times = (0..STREAMS.len(), 0..400_usize, 0..1_500_usize, 400..900_usize, 0..1_000_usize, 1..60_usize);
    (times, 0..3_000_usize, 1..5_000_usize, 1..700_usize).prop_map(
        |((stream, reader, restart, asks, has, step), ring_bytes_max, bytes_max, events_max)| Script {
            stream,
            reader,
            restart,
            asks,
            has,
            step,
            ring_bytes_max,
            bytes_max,
            events_max,
        },
    )
}

/// A live feed that is recorded, and what its unbroken reader got.
struct Live {
    site: Site,
    recorder: Option<Recorder>,
    feed: Feed,
    events: Vec<(MarketEvent, UnixNanos)>,
    at: usize,
    /// Where the server is stopped and started again: at the first whole event from here on.
    restarts_at: usize,
    request: (InstrumentId, StreamRequest),
    stream: Option<StreamId>,
    got: Vec<(Sequence, Vec<u8>)>,
}

impl Live {
    fn play_until(&mut self, until: usize) {
        while self.at < until && self.restarts_at < until {
            let next = self.at.max(self.restarts_at).min(until);
            self.play(next);
            if self.feed.books().is_some() {
                self.restarts_at = usize::MAX;
                self.restart();
            } else {
                self.restarts_at += 1;
            }
        }
        self.play(until);
    }

    /// A clean stop, and a start that goes on. The unbroken reader is there again before anything happens, and nothing is missing.
    fn restart(&mut self) {
        self.recorder.take().unwrap().end(&self.feed);
        let position = Position::Event { epoch: EPOCH, number: u64::MAX };
        let mut reader = Reader::open(&self.site.directory(), position).unwrap();
        let Some(Item::Keyframe(keyframe)) = reader.next().unwrap() else { panic!("no keyframe") };
        let mut feed = Feed::new(&instruments(), FeedOptions { epoch: Epoch(1), ..self.feed.options() });
        let before = self.stream.map(|stream| (stream, self.feed.position(stream)));
        assert!(feed.go_on(&keyframe, &instruments(), UnixNanos(1)));
        if let Some((stream, position)) = before {
            assert_eq!(feed.position(stream), position, "it is kept, though nobody reads it yet");
        }
        if self.stream.is_some() {
            let joined = feed.subscribe(self.request.0, self.request.1, UnixNanos(1)).unwrap();
            assert_eq!(Some(joined.stream), self.stream);
            if let Some((last, _)) = self.got.last() {
                assert_eq!((joined.epoch, joined.seq), (EPOCH, *last));
            }
        }
        let mut recorder = self.site.recorder(RecorderOptions { next: keyframe.next, ..options() });
        recorder.begin(&feed, UnixNanos(1));
        (self.recorder, self.feed) = (Some(recorder), feed);
    }

    fn play(&mut self, until: usize) {
        let events = self.events[self.at..until.max(self.at)].to_vec();
        self.at = until.max(self.at);
        for publication in record(self.recorder.as_mut().unwrap(), &mut self.feed, &events) {
            if Some(publication.stream) == self.stream {
                self.got.push((publication.seq, publication.message.to_vec()));
            }
        }
    }

    /// Lets everything so far be on the tape.
    fn settle(&mut self) {
        self.recorder.as_mut().unwrap().flush();
        while written(&self.site) < self.at as u64 {
            std::thread::yield_now();
        }
    }

    /// What the unbroken reader got behind a message.
    fn behind(&self, after: Sequence) -> Vec<Vec<u8>> {
        let behind = self.got.iter().filter(|(seq, _)| *seq > after);
        behind.map(|(_, message)| message.clone()).collect()
    }
}

/// The messages in frames: texts, or records, of which a frame may hold many.
fn unframed(mut frames: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !frames.is_empty() {
        let (frame, rest) = frames.split_at(frame_bytes(frames));
        let header = if frame[1] == 126 { 4 } else { 2 };
        let mut payload = &frame[header..];
        while !payload.is_empty() {
            let bytes = if frame[0] == 0x81 { payload.len() } else { usize::from(payload[0]) * 4 };
            let (message, more) = payload.split_at(bytes);
            messages.push(message.to_vec());
            payload = more;
        }
        frames = rest;
    }
    messages
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_between_tape_ring_and_live_gives_what_an_unbroken_reader_got(script in script()) {
        let site = Site::new();
        let rings = RingBounds {
            ring_bytes_max: script.ring_bytes_max,
            total_bytes_max: usize::MAX,
            keep_ns: u64::MAX,
        };
        let mut feed = Feed::new(&instruments(), FeedOptions { epoch: EPOCH, heartbeat_ns: HEARTBEAT_NS, rings });
        let mut recorder = site.recorder(options());
        recorder.begin(&feed, UnixNanos(1));
        // Others read, too: their streams stand in the keyframes.
        let (number, channel, depth, encoding) = STREAMS[script.stream];
        let instrument = InstrumentId(number);
        if script.has % 2 == 0 {
            let other = StreamRequest { channel: Channel::Trades, depth, conflation: Conflation::Off, encoding: Encoding::Json };
            feed.subscribe(InstrumentId(2), other, UnixNanos(1)).unwrap();
        }
        let events = long_activity();
        let part = |thousandth: usize| events.len() * thousandth / 1_000;
        let (joins, asks) = (part(script.reader), part(script.asks));
        let request = StreamRequest { channel, depth, conflation: Conflation::Off, encoding };
        let mut live = Live {
            site,
            recorder: Some(recorder),
            feed,
            events: events.clone(),
            at: 0,
            restarts_at: part(script.restart),
            request: (instrument, request),
            stream: None,
            got: Vec::new(),
        };
        live.play_until(joins);
        let joined = live.feed.subscribe(instrument, request, UnixNanos(1)).unwrap();
        live.stream = Some(joined.stream);
        live.play_until(asks);
        let seq = live.got.last().map_or(joined.seq, |(seq, _)| *seq);
        let behind = (seq.get() - joined.seq.get()) * script.has as u64 / 1_000;
        let after = Sequence::new(joined.seq.get() + behind).unwrap();
        let missing = live.feed.missing(instrument, request, ResumePoint { epoch: EPOCH, seq: after });
        let Some(missing) = missing else {
            prop_assert_eq!(after, seq, "only nothing is not missing");
            return Ok(());
        };
        live.settle();
        let mut retold = Retold::find(&live.site.directory(), missing).unwrap();
        let (mut frames, mut sent) = (Vec::new(), after);
        loop {
            let mut piece = Vec::new();
            let (count, pause) = retold.read((script.bytes_max, script.events_max), LIVE, &mut piece).unwrap();
            prop_assert_eq!(unframed(&piece).len() as u64, count);
            frames.extend_from_slice(&piece);
            sent = sent.max(retold.seq());
            if pause != Pause::End {
                // The market goes on while a client takes a piece.
                live.play_until((live.at + script.step / 10).min(events.len()));
                continue;
            }
            live.play_until((live.at + script.step).min(events.len()));
            if let Missed::Held(messages) = live.feed.missed(joined.stream, sent) {
                messages.iter().for_each(|message| push_frame(&mut frames, encoding.frame(), message));
                break;
            }
            live.settle();
        }
        // From here on it is the live stream, the same for both.
        prop_assert!(unframed(&frames) == live.behind(after), "{:?} behind {}", STREAMS[script.stream], after.get());
    }
}

#[test]
fn of_a_stream_that_nobody_followed_everything_is_on_the_tape_but_of_bars_and_conflated_ones() {
    let rings = RingBounds { ring_bytes_max: 0, total_bytes_max: 0, keep_ns: 0 };
    let mut feed = Feed::new(&instruments(), FeedOptions { epoch: EPOCH, heartbeat_ns: HEARTBEAT_NS, rings });
    let request = |channel, conflation| StreamRequest {
        channel,
        depth: Depth::Full,
        conflation,
        encoding: Encoding::Json,
    };
    let mut published = Vec::new();
    for (event, now) in long_activity() {
        feed.apply(&event, now, &mut published);
    }
    let has = |channel, conflation, epoch, seq| {
        let at = ResumePoint { epoch, seq: Sequence::new(seq).unwrap() };
        feed.missing(InstrumentId(0), request(channel, conflation), at).is_some()
    };
    for channel in [Channel::Trades, Channel::Mbo, Channel::Bbo, Channel::Book, Channel::Status] {
        assert!(has(channel, Conflation::Off, EPOCH, 1), "{channel:?}");
        assert!(!has(channel, Conflation::Off, Epoch(1), 1), "of another epoch nothing is known");
        assert!(!has(channel, Conflation::Off, EPOCH, 1 << 40), "nothing is missing");
    }
    assert!(!has(Channel::Book, Conflation::Ms100, EPOCH, 1), "conflated streams follow the ticks");
    assert!(!has(Channel::Ohlcv1s, Conflation::Off, EPOCH, 0), "bars follow the venue's clock");
}
