//! Which subscriptions stand, by session and by their names.
//!
//! Thousands of sessions read one stream each, and a map of one entry is ten times as large as the entry. So the only subscription of a session
//! stands in the table itself, and what few sessions need stands in tables of its own (docs/adr/0047). Bounded by `subscriptions_max` of each session.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use sealfeed_wire::OnSlow;

use super::moves::Key;
use super::retell::Retold;
use crate::feed::{StreamId, Terms, records};
use crate::types::{Channel, Instrument, InstrumentId, UnixNanos};

/// Streams of every session.
#[derive(Default)]
pub(super) struct Subscriptions {
    /// Grows a node at a time: what a hash table leaves behind when it doubles is as large as what it holds.
    by_session: BTreeMap<u64, OfSession>,
    /// Subscriptions that are not live yet: what they miss is being read.
    retold: HashMap<u64, BTreeMap<Key, Retold>>,
    /// Instruments whose number in DBN records a session has been told; the first one came behind the metadata.
    mapped: BTreeSet<(u64, InstrumentId)>,
    count: usize,
    /// Number of the last one.
    last: u64,
}

/// One that stands. Its [`Terms`], taken apart: they fit into 16 bytes with the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    /// As in [`Terms`].
    number: u64,
    stream: StreamId,
    on_slow: OnSlow,
}

/// One that stands no more.
pub(super) struct Ended {
    pub(super) stream: StreamId,
    /// What was being read for it.
    pub(super) retold: Option<Retold>,
}

impl Ended {
    /// Its reader got what was published, and not what was read for it alone.
    pub(super) const fn was_live(&self) -> bool {
        self.retold.is_none()
    }
}

/// Streams of one session; never none.
enum OfSession {
    One(Key, Standing),
    Many(Box<Many>),
}

struct Many(BTreeMap<Key, Standing>);

// One for each session that subscribes.
const _: () = assert!(size_of::<OfSession>() <= 24);

impl OfSession {
    fn len(&self) -> usize {
        match self {
            Self::One(..) => 1,
            Self::Many(many) => many.0.len(),
        }
    }

    fn get(&self, key: Key) -> Option<&Standing> {
        match self {
            Self::One(held, one) => (*held == key).then_some(one),
            Self::Many(many) => many.0.get(&key),
        }
    }

    /// In the order of their names.
    fn iter(&self) -> impl Iterator<Item = (Key, Standing)> {
        let (one, many) = match self {
            Self::One(key, one) => (Some((*key, *one)), None),
            Self::Many(many) => (None, Some(many.0.iter().map(|(key, one)| (*key, *one)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Puts one in; returns the one that it replaces.
    fn insert(&mut self, key: Key, new: Standing) -> Option<Standing> {
        match self {
            Self::One(held, one) if *held == key => Some(std::mem::replace(one, new)),
            Self::One(held, one) => {
                *self = Self::Many(Box::new(Many(BTreeMap::from([(*held, *one), (key, new)]))));
                None
            }
            Self::Many(many) => many.0.insert(key, new),
        }
    }

    /// Takes one out that is not the only one; that one goes with the session's entry.
    fn remove(&mut self, key: Key) -> Option<Standing> {
        let Self::Many(many) = self else { return None };
        let Many(many) = &mut **many;
        let removed = many.remove(&key);
        if let (1, Some((held, one))) = (many.len(), many.first_key_value()) {
            *self = Self::One(*held, *one);
        }
        removed
    }
}

impl Subscriptions {
    /// How many stand over all sessions; private channels do not count.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// How many a session has.
    pub(super) fn of_session(&self, session: u64) -> usize {
        self.by_session.get(&session).map_or(0, OfSession::len)
    }

    /// Notes a subscription; returns its terms, and the one it replaces.
    pub(super) fn insert(
        &mut self,
        session: u64,
        key: Key,
        stream: StreamId,
        on_slow: OnSlow,
    ) -> (Terms, Option<Ended>) {
        let retold = self.end_retold(session, key);
        self.last += 1;
        let new = Standing { number: self.last, stream, on_slow };
        let replaced = match self.by_session.get_mut(&session) {
            Some(of_session) => of_session.insert(key, new),
            None => {
                self.by_session.insert(session, OfSession::One(key, new));
                None
            }
        };
        self.count += usize::from(replaced.is_none());
        let terms = Terms { subscription: self.last, on_slow };
        (terms, replaced.map(|one| Ended { stream: one.stream, retold }))
    }

    /// Whether a session has this one.
    pub(super) fn contains(&self, session: u64, key: Key) -> bool {
        self.by_session.get(&session).is_some_and(|of| of.get(key).is_some())
    }

    fn of(&self, session: u64) -> impl Iterator<Item = (Key, Standing)> {
        self.by_session.get(&session).into_iter().flat_map(OfSession::iter)
    }

    /// All streams of a session, each with what becomes of the session when it is slow.
    pub(super) fn streams(&self, session: u64) -> Vec<(Key, StreamId, OnSlow)> {
        self.of(session).map(|(key, one)| (key, one.stream, one.on_slow)).collect()
    }

    /// Ends one.
    pub(super) fn remove(&mut self, session: u64, key: Key) -> Option<Ended> {
        let of_session = self.by_session.get_mut(&session)?;
        let removed = match of_session {
            OfSession::One(held, one) if *held == key => {
                let one = *one;
                self.by_session.remove(&session);
                Some(one)
            }
            of_session => of_session.remove(key),
        }?;
        self.count -= 1;
        Some(Ended { stream: removed.stream, retold: self.end_retold(session, key) })
    }

    /// What is being read for a subscription.
    pub(super) fn retold(&self, session: u64, key: Key) -> Option<Retold> {
        self.retold.get(&session)?.get(&key).copied()
    }

    /// Notes what is being read for a subscription that stands.
    pub(super) fn set_retold(&mut self, session: u64, key: Key, retold: Retold) {
        if self.contains(session, key) {
            self.retold.entry(session).or_default().insert(key, retold);
        }
    }

    /// The subscription is live, or stands no more; returns what was being read for it.
    pub(super) fn end_retold(&mut self, session: u64, key: Key) -> Option<Retold> {
        let of_session = self.retold.get_mut(&session)?;
        let retold = of_session.remove(&key);
        if of_session.is_empty() {
            self.retold.remove(&session);
        }
        retold
    }

    /// All that is being read for a session.
    pub(super) fn all_retold(&self, session: u64) -> impl Iterator<Item = &Retold> {
        self.retold.get(&session).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether a session's subscription to a stream is still the one with this number.
    pub(super) fn holds(&self, session: u64, stream: StreamId, number: u64) -> bool {
        self.of(session).any(|(_, held)| held.stream == stream && held.number == number)
    }

    /// What a session reads of a channel.
    pub(super) fn keys(&self, session: u64, channel: Channel) -> Vec<Key> {
        self.of(session).map(|(key, _)| key).filter(|key| key.0 == channel).collect()
    }

    /// Forgets a session; returns what stood.
    pub(super) fn remove_session(&mut self, session: u64) -> Vec<Ended> {
        let retold = self.retold.remove(&session).unwrap_or_default();
        let mapped: Vec<_> = self.mapped_of(session).collect();
        for one in mapped {
            self.mapped.remove(&one);
        }
        let removed = self.by_session.remove(&session);
        self.count -= removed.as_ref().map_or(0, OfSession::len);
        let ended =
            |(key, one): (Key, Standing)| Ended { stream: one.stream, retold: retold.get(&key).copied() };
        removed.iter().flat_map(OfSession::iter).map(ended).collect()
    }

    fn mapped_of(&self, session: u64) -> impl Iterator<Item = (u64, InstrumentId)> {
        self.mapped.range((session, InstrumentId(0))..=(session, InstrumentId(u32::MAX))).copied()
    }

    /// What must stand in front of the first DBN record of an instrument on a connection: the metadata, once, and the
    /// instrument's number.
    pub(super) fn introduce(&mut self, session: u64, instrument: &Instrument, now: UnixNanos) -> Vec<Bytes> {
        let is_first = self.mapped_of(session).next().is_none();
        if !self.mapped.insert((session, instrument.id)) {
            return Vec::new();
        }
        let metadata = is_first.then(|| records::metadata(now));
        let mapping = records::symbol_mapping(instrument.id, instrument.symbol, now);
        metadata.into_iter().chain([mapping]).map(Bytes::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHANNELS: [Channel; 2] = [Channel::Trades, Channel::Bbo];

    proptest! {
        #[test]
        fn sessions_with_one_stream_and_with_many_are_told_the_same_as_by_plain_maps(
            steps in prop::collection::vec((0_u64..3, 0_usize..2, 0_u32..3, 0_u8..8), 1..120),
        ) {
            let (mut subscriptions, mut last) = (Subscriptions::default(), 0);
            let mut model: BTreeMap<(u64, Key), (u64, StreamId)> = BTreeMap::new();
            for (session, channel, instrument, step) in steps {
                let key = (CHANNELS[channel], InstrumentId(instrument));
                let of_channel = if channel == 0 { 0 } else { 100 };
                let stream = StreamId::from_index(u32::from(step) + 10 * instrument + of_channel);
                let of = |model: &BTreeMap<(u64, Key), (u64, StreamId)>| -> Vec<(Key, StreamId)> {
                    let of = model.iter().filter(|((one, _), _)| *one == session);
                    of.map(|((_, key), (_, stream))| (*key, *stream)).collect()
                };
                match step {
                    0..4 => {
                        last += 1;
                        let (terms, replaced) = subscriptions.insert(session, key, stream, OnSlow::Conflate);
                        prop_assert_eq!(terms, Terms { subscription: last, on_slow: OnSlow::Conflate });
                        let before = model.insert((session, key), (last, stream));
                        prop_assert_eq!(replaced.map(|one| one.stream), before.map(|(_, stream)| stream));
                    }
                    4..7 => {
                        let removed = subscriptions.remove(session, key).map(|one| one.stream);
                        prop_assert_eq!(removed, model.remove(&(session, key)).map(|(_, stream)| stream));
                    }
                    _ => {
                        let streams: Vec<_> = of(&model).into_iter().map(|(_, stream)| stream).collect();
                        let removed = subscriptions.remove_session(session);
                        prop_assert_eq!(removed.iter().map(|one| one.stream).collect::<Vec<_>>(), streams);
                        model.retain(|(one, _), _| *one != session);
                        prop_assert!(!subscriptions.by_session.contains_key(&session));
                    }
                }
                let held = of(&model);
                prop_assert_eq!(subscriptions.count(), model.len());
                prop_assert_eq!(subscriptions.of_session(session), held.len());
                prop_assert_eq!(subscriptions.contains(session, key), model.contains_key(&(session, key)));
                let streams = subscriptions.streams(session);
                prop_assert_eq!(streams.iter().map(|one| (one.0, one.1)).collect::<Vec<_>>(), held);
                for ((one, _), (number, stream)) in &model {
                    prop_assert!(subscriptions.holds(*one, *stream, *number));
                    prop_assert!(!subscriptions.holds(*one, *stream, number + 1));
                }
                let of_channel = subscriptions.keys(session, key.0);
                let expected = streams.iter().map(|one| one.0).filter(|one| one.0 == key.0);
                prop_assert_eq!(of_channel, expected.collect::<Vec<_>>());
            }
        }
    }
}
