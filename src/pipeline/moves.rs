//! Subscriptions whose delay was changed go on by themselves, with the stream of the new delay in place of the one before.
//!
//! A subscription is *moved*: it joins the new stream as if it were asked for now, the same depth, interval and treatment when slow included, and
//! leaves the old one; the message `entitlement` stands between the two. Where the delayed feed is still being made, the subscription leaves its stream all the same and
//! waits here; where it cannot be had, it has ended, with the code that a `subscribe` gets. Whatever begins is sealed as a `subscribe`
//! entry, as what a client asked for is.
//!
//! Bounded: what waits was subscribed before, and counts as that (`subscriptions_max`).

use std::collections::BTreeMap;
use std::sync::Arc;

use sealfeed_wire::reply::{Changed, ChangedStream, Ended, EntitlementChanged, Refused};
use sealfeed_wire::{OnSlow, StreamSymbol};

use super::SessionHandle;
use super::answers::encoded;
use super::batch::Batch;
use super::core::Core;
use super::subscriptions::{Asked, Granted};
use crate::feed::StreamRequest;
use crate::journal::{JournalError, event};
use crate::types::{Channel, Code, Depth, InstrumentId, Symbol, UnixNanos};

/// A subscription of a session, by name.
pub(super) type Key = (Channel, InstrumentId);

/// What a subscription asks for, and the delay with which it is granted now.
#[derive(Clone, Copy)]
pub(super) struct Move {
    pub(super) request: StreamRequest,
    pub(super) on_slow: OnSlow,
    pub(super) delay_ms: u64,
}

/// The subscriptions that wait for a delayed feed, of every session that has any.
#[derive(Default)]
pub(super) struct Moves(BTreeMap<u64, Waiting>);

/// Those of one session.
struct Waiting {
    session: Arc<SessionHandle>,
    /// What the session may do, as it was told last.
    notice: EntitlementChanged,
    moves: BTreeMap<Key, Move>,
}

impl Moves {
    /// What waits for a session.
    pub(super) fn of(&self, session: u64) -> Vec<(Key, Move)> {
        let of = self.0.get(&session).into_iter().flat_map(|waiting| &waiting.moves);
        of.map(|(key, one)| (*key, *one)).collect()
    }

    /// How many wait for a session.
    pub(super) fn count(&self, session: u64) -> usize {
        self.0.get(&session).map_or(0, |waiting| waiting.moves.len())
    }

    /// Whether this one waits.
    pub(super) fn contains(&self, session: u64, key: Key) -> bool {
        self.0.get(&session).is_some_and(|waiting| waiting.moves.contains_key(&key))
    }

    /// Lets one wait no more; whether it did.
    pub(super) fn remove(&mut self, session: u64, key: Key) -> bool {
        let Some(waiting) = self.0.get_mut(&session) else { return false };
        let was_there = waiting.moves.remove(&key).is_some();
        if waiting.moves.is_empty() {
            self.0.remove(&session);
        }
        was_there
    }

    /// Forgets a session.
    pub(super) fn forget(&mut self, session: u64) {
        self.0.remove(&session);
    }

    /// Whether something waits for the feed of this delay.
    pub(super) fn wait_for(&self, delay_ms: u64) -> bool {
        self.0.values().flat_map(|waiting| waiting.moves.values()).any(|one| one.delay_ms == delay_ms)
    }

    fn insert(&mut self, session: &Arc<SessionHandle>, notice: &EntitlementChanged, key: Key, one: Move) {
        let waiting = self.0.entry(session.number).or_insert_with(|| Waiting {
            session: Arc::clone(session),
            notice: notice.clone(),
            moves: BTreeMap::new(),
        });
        waiting.moves.insert(key, one);
    }

    /// What a session that waits may do from now on.
    pub(super) fn renew(&mut self, session: u64, notice: &EntitlementChanged) {
        if let Some(waiting) = self.0.get_mut(&session) {
            waiting.notice = notice.clone();
        }
    }
}

/// What came of moving the subscriptions of a session.
#[derive(Default)]
pub(super) struct Moved {
    begun: BTreeMap<(Channel, Depth), Vec<(Symbol, Granted)>>,
    refused: BTreeMap<(Channel, Depth), Vec<(Symbol, Code)>>,
    changed: BTreeMap<Channel, BTreeMap<StreamSymbol, ChangedStream>>,
}

impl Core {
    /// Lets subscriptions of a session leave their streams, and joins them to those of their delays as far as these are there. The entitlement of the
    /// session is the new one already. `notice` is what the session is told about that, for those that have to wait.
    pub(super) fn move_streams(
        &mut self,
        session: &Arc<SessionHandle>,
        moves: Vec<(Key, Move)>,
        notice: &EntitlementChanged,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<Moved, JournalError> {
        let mut moved = Moved::default();
        for (key, one) in moves {
            let (channel, instrument) = key;
            let Some(symbol) = self.instruments.by_id(instrument).map(|one| one.symbol) else { continue };
            let Move { request, on_slow, delay_ms } = one;
            let delayed_ms = (delay_ms != 0).then_some(delay_ms);
            let group = (channel, request.depth);
            let position = if self.is_being_made(delay_ms, now) {
                self.leave_stream(session, key, now, batch)?;
                self.moves.insert(session, notice, key, one);
                None
            } else {
                match self.join(session, &mut Asked::afresh(request, on_slow), &symbol, None, now) {
                    Ok(mut granted) => {
                        if let Some(ended) = granted.replaced.take() {
                            self.end(session, &ended, now, batch)?;
                        }
                        let position = (granted.stream.epoch, granted.stream.seq);
                        moved.begun.entry(group).or_default().push((symbol, granted));
                        Some(position)
                    }
                    Err(code) => {
                        self.leave_stream(session, key, now, batch)?;
                        self.moves.remove(session.number, key);
                        moved.refused.entry(group).or_default().push((symbol, code));
                        continue;
                    }
                }
            };
            let (epoch, seq) = position.unzip();
            let stream = ChangedStream { delayed_ms, epoch, seq };
            moved.changed.entry(channel).or_default().insert(symbol.into(), stream);
        }
        Ok(moved)
    }

    /// Ends a subscription, if it stands.
    fn leave_stream(
        &mut self,
        session: &Arc<SessionHandle>,
        key: Key,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        match self.subscriptions.remove(session.number, key) {
            Some(ended) => self.end(session, &ended, now, batch),
            None => Ok(()),
        }
    }

    /// Seals what was moved, tells the client, and begins the streams behind that. What the `entitlement` entry says stands before.
    pub(super) fn tell_moved(
        &mut self,
        session: &Arc<SessionHandle>,
        moved: Moved,
        mut notice: EntitlementChanged,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let Moved { begun, mut refused, changed } = moved;
        for (group, granted) in &begun {
            let refused = refused.get(group).map(Vec::as_slice).unwrap_or_default();
            self.record_subscribed(session, *group, granted, refused, batch)?;
        }
        for (group, refused) in refused.iter().filter(|(group, _)| !begun.contains_key(group)) {
            self.record_subscribed(session, *group, &[], refused, batch)?;
        }
        for ((channel, _), symbols) in std::mem::take(&mut refused) {
            let symbols = symbols.into_iter().map(|(symbol, code)| (symbol.into(), Refused::from(code)));
            match notice.ended.iter_mut().find(|ended| ended.channel == channel) {
                Some(ended) => ended.symbols.extend(symbols),
                None => notice.ended.push(Ended { channel, symbols: symbols.collect() }),
            }
        }
        notice.changed = changed.into_iter().map(|(channel, symbols)| Changed { channel, symbols }).collect();
        batch.send(session, encoded(&notice));
        for ((channel, _), granted) in begun {
            self.begin_streams(session, channel, granted.into_iter().map(|(_, one)| one), batch)?;
        }
        Ok(())
    }

    /// Seals which streams of a channel a session has from now on, which it is refused, and which of them come late.
    pub(super) fn record_subscribed(
        &self,
        session: &SessionHandle,
        (channel, depth): (Channel, Depth),
        granted: &[(Symbol, Granted)],
        refused: &[(Symbol, Code)],
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let row = |(symbol, code): &(Symbol, Code)| (symbol.to_string(), code.as_str().to_owned());
        let event = event::Subscribe {
            principal: session.principal.to_string(),
            channel: channel.as_str().to_owned(),
            depth: if channel == Channel::Book { depth.get().into() } else { 0 },
            granted: granted.iter().map(|(symbol, _)| symbol.to_string()).collect(),
            refused: refused.iter().map(row).collect(),
        };
        batch.depends_on(self.journal.record_in(&session.trail, event)?);
        let mut by_delay: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (symbol, Granted { stream, .. }) in granted {
            if let Some(delayed_ms) = stream.delayed_ms {
                by_delay.entry(delayed_ms).or_default().push(symbol.to_string());
            }
        }
        for (delayed_ms, symbols) in by_delay {
            let (principal, channel) = (session.principal.to_string(), channel.as_str().to_owned());
            let event = event::Delayed { principal, channel, symbols, delayed_ms };
            batch.depends_on(self.journal.record_in(&session.trail, event)?);
        }
        Ok(())
    }

    /// A delayed feed stands, or cannot be had: what waited for it begins, or has ended.
    pub(super) fn go_on_with_delay(
        &mut self,
        delay_ms: u64,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        let of_delay = |waiting: &Waiting| {
            let moves = waiting.moves.iter().filter(|(_, one)| one.delay_ms == delay_ms);
            moves.map(|(key, one)| (*key, *one)).collect::<Vec<_>>()
        };
        let waiting = self.moves.0.values();
        let waiting = waiting.map(|one| (Arc::clone(&one.session), one.notice.clone(), of_delay(one)));
        let waiting: Vec<_> = waiting.filter(|(_, _, moves)| !moves.is_empty()).collect();
        for (session, notice, moves) in waiting {
            let moved = self.move_streams(&session, moves, &notice, now, batch)?;
            self.tell_moved(&session, moved, EntitlementChanged { ts: now, ..notice }, batch)?;
        }
        Ok(())
    }
}
