//! Which of an instrument's streams.

use sealfeed_wire::Conflation;

use crate::types::{Channel, Depth, Sequence};

/// Streams of one instrument: four of events, `status` and `definition`, `bbo` at four intervals, `book` at three depths and four
/// intervals.
pub(super) const KINDS: u32 = 6 + CONFLATIONS + DEPTHS * CONFLATIONS;

const CONFLATIONS: u32 = 4;
const DEPTHS: u32 = 3;
const FIRST_BBO: u32 = 6;
const FIRST_BOOK: u32 = FIRST_BBO + CONFLATIONS;

/// All streams but the conflated ones, each at its place: their messages are counted from the beginning of the epoch, whoever reads.
pub(super) const COUNTED_KINDS: [StreamKind; 10] = [
    StreamKind::Trades,
    StreamKind::Mbo,
    StreamKind::Ohlcv(OhlcvLength::Second),
    StreamKind::Ohlcv(OhlcvLength::Minute),
    StreamKind::Status,
    StreamKind::Definition,
    StreamKind::Bbo(Conflation::Off),
    StreamKind::Book(Depth::Ten, Conflation::Off),
    StreamKind::Book(Depth::Fifty, Conflation::Off),
    StreamKind::Book(Depth::Full, Conflation::Off),
];

/// One of an instrument's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    Trades,
    Mbo,
    /// 0: one second; 1: one minute.
    Ohlcv(OhlcvLength),
    Status,
    Definition,
    Bbo(Conflation),
    Book(Depth, Conflation),
}

/// Length of the intervals of a stream of bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OhlcvLength {
    Second,
    Minute,
}

impl StreamKind {
    /// The stream of a channel; `None` if the channel has no public one.
    pub(super) const fn of(channel: Channel, depth: Depth, conflation: Conflation) -> Option<Self> {
        Some(match channel {
            Channel::Trades => Self::Trades,
            Channel::Mbo => Self::Mbo,
            Channel::Ohlcv1s => Self::Ohlcv(OhlcvLength::Second),
            Channel::Ohlcv1m => Self::Ohlcv(OhlcvLength::Minute),
            Channel::Status => Self::Status,
            Channel::Definition => Self::Definition,
            Channel::Bbo => Self::Bbo(conflation),
            Channel::Book => Self::Book(depth, conflation),
            Channel::Orders | Channel::DropCopy => return None,
        })
    }

    /// Its place among an instrument's streams, below [`KINDS`].
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Trades => 0,
            Self::Mbo => 1,
            Self::Ohlcv(OhlcvLength::Second) => 2,
            Self::Ohlcv(OhlcvLength::Minute) => 3,
            Self::Status => 4,
            Self::Definition => 5,
            Self::Bbo(conflation) => FIRST_BBO + conflation as u32,
            Self::Book(depth, conflation) => FIRST_BOOK + depth as u32 * CONFLATIONS + conflation as u32,
        }
    }

    /// The stream of a place; places are taken modulo [`KINDS`].
    pub(super) fn from_number(number: u32) -> Self {
        let conflation = |place: u32| Conflation::ALL[(place % CONFLATIONS) as usize];
        match number % KINDS {
            0 => Self::Trades,
            1 => Self::Mbo,
            2 => Self::Ohlcv(OhlcvLength::Second),
            3 => Self::Ohlcv(OhlcvLength::Minute),
            4 => Self::Status,
            5 => Self::Definition,
            place @ FIRST_BBO..FIRST_BOOK => Self::Bbo(conflation(place - FIRST_BBO)),
            place => {
                let place = place - FIRST_BOOK;
                Self::Book(Depth::ALL[(place / CONFLATIONS) as usize], conflation(place))
            }
        }
    }

    /// The place in [`COUNTED_KINDS`]; `None` for a conflated stream.
    pub(super) const fn counted(self) -> Option<usize> {
        match self {
            Self::Trades => Some(0),
            Self::Mbo => Some(1),
            Self::Ohlcv(OhlcvLength::Second) => Some(2),
            Self::Ohlcv(OhlcvLength::Minute) => Some(3),
            Self::Status => Some(4),
            Self::Definition => Some(5),
            Self::Bbo(Conflation::Off) => Some(6),
            Self::Book(depth, Conflation::Off) => Some(7 + depth as usize),
            Self::Bbo(_) | Self::Book(..) => None,
        }
    }

    /// The number of its last message before anything has happened. What has a present state begins with that as message 1.
    pub(super) const fn first(self) -> Sequence {
        if self.has_state() { Sequence::ZERO.next() } else { Sequence::ZERO }
    }

    /// Whether it shows a state, rather than events.
    pub(super) const fn has_state(self) -> bool {
        self.channel().is_state()
    }

    pub(super) const fn channel(self) -> Channel {
        match self {
            Self::Trades => Channel::Trades,
            Self::Mbo => Channel::Mbo,
            Self::Ohlcv(OhlcvLength::Second) => Channel::Ohlcv1s,
            Self::Ohlcv(OhlcvLength::Minute) => Channel::Ohlcv1m,
            Self::Status => Channel::Status,
            Self::Definition => Channel::Definition,
            Self::Bbo(_) => Channel::Bbo,
            Self::Book(..) => Channel::Book,
        }
    }

    /// Its depth; the full one where there is none.
    pub(super) const fn depth(self) -> Depth {
        match self {
            Self::Book(depth, _) => depth,
            _ => Depth::Full,
        }
    }

    /// Its conflation; none where there cannot be any.
    pub(super) const fn conflation(self) -> Conflation {
        match self {
            Self::Bbo(conflation) | Self::Book(_, conflation) => conflation,
            _ => Conflation::Off,
        }
    }

    /// Whether its messages follow from the events of the tape alone. Bars follow the venue's clock and conflated streams the ticks, which
    /// are not on the tape: these begin anew with each run, in an epoch of the run's own.
    pub(super) fn is_taped(self) -> bool {
        !matches!(self, Self::Ohlcv(_)) && self.conflation() == Conflation::Off
    }

    /// How long its messages are held back, in nanoseconds; 0 for every other stream.
    pub(super) fn interval_ns(self) -> u64 {
        u64::from(self.conflation().get()) * 1_000_000
    }
}

const _: () = assert!(Conflation::ALL.len() == CONFLATIONS as usize && Depth::ALL.len() == DEPTHS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_that_is_counted_stands_at_its_place_and_no_other_one_has_a_place() {
        for (place, kind) in COUNTED_KINDS.into_iter().enumerate() {
            assert_eq!(kind.counted(), Some(place));
        }
        let conflated = (0..KINDS).map(StreamKind::from_number).filter(|kind| kind.counted().is_none());
        assert!(conflated.clone().all(|kind| kind.conflation() != Conflation::Off));
        assert_eq!(conflated.count() + COUNTED_KINDS.len(), KINDS as usize);
    }

    #[test]
    fn every_place_is_one_stream_and_every_stream_has_its_place() {
        for number in 0..KINDS {
            let kind = StreamKind::from_number(number);
            assert_eq!(kind.number(), number);
            for (depth, conflation) in [(Depth::Fifty, Conflation::Ms100), (Depth::Full, Conflation::Off)] {
                let same = StreamKind::of(kind.channel(), depth, conflation).unwrap();
                assert_eq!(same.channel(), kind.channel());
            }
        }
        for channel in Channel::ALL.iter().filter(|channel| channel.is_private()) {
            assert_eq!(StreamKind::of(*channel, Depth::Ten, Conflation::Off), None);
        }
    }
}
