//! A market that is published late goes from one run of the tape to the next.

use super::super::kind::{COUNTED_KINDS, StreamKind};
use super::super::stream::Outgoing;
use super::{Market, Scratch};
use crate::journal::tape::MarketState;
use crate::types::{Instrument, MarketEvent, MarketEventKind, Side, UnixNanos};

impl Market {
    /// Goes on as the market of a keyframe: publishes the state that the keyframe's `events` make, in place of its own, as its source would
    /// say it, and goes on with the numbers that the streams had there. `taped` is its entry in the tape's table, and what was saved of it.
    /// Where its terms are others than on the tape, its messages may be others, and it goes on with numbers of its own.
    pub(in crate::feed) fn take_over(
        &mut self,
        ts_out: UnixNanos,
        taped: Option<(&Instrument, &MarketState)>,
        events: &[&MarketEvent],
        scratch: &mut Scratch,
        out: &mut Outgoing<'_>,
    ) {
        self.taped = None;
        if [Side::Buy, Side::Sell].iter().any(|side| self.best(*side).is_some()) {
            let (instrument, kind) = (self.instrument.id, MarketEventKind::Clear);
            let clear = MarketEvent { instrument, ts_event: ts_out, ts_recv: ts_out, last: true, kind };
            self.apply(&clear, scratch, out);
        }
        let Some((taped, state)) = taped else {
            // Nothing is left that could trade.
            return self.set_indication(None, out);
        };
        let mut anew = Self::new(&self.instrument);
        for event in events {
            self.apply(event, scratch, out);
            let silent = &mut Outgoing { now: out.now, publications: &mut Vec::new(), encoder: out.encoder };
            anew.apply(event, scratch, silent);
        }
        let is_loaded = anew.load(state);
        (self.book, self.best, self.best_next) = (anew.book, anew.best, anew.best_next);
        (self.times, self.trades_counted) = (anew.times, anew.trades_counted);
        let before = std::mem::replace(&mut self.facts, anew.facts);
        // What the run before had said, and this one has not.
        let is_other_state = before.state != self.facts.state;
        let is_other_call = before.indication != self.facts.indication;
        if is_other_state || before.reason != self.facts.reason || is_other_call {
            self.publish_facts(StreamKind::Status, out);
        }
        let steps = |facts: &super::Facts| (facts.tick, facts.lot, facts.round_lot);
        if is_other_state || steps(&before) != steps(&self.facts) {
            self.publish_facts(StreamKind::Definition, out);
        }
        if is_loaded && self.instrument == (Instrument { id: self.instrument.id, ..taped.clone() }) {
            self.taped = Some(taped.id);
            for ((own, taped), kind) in self.counted.iter_mut().zip(anew.counted).zip(COUNTED_KINDS) {
                // Bars follow the clock by which they are published.
                if kind.is_taped() {
                    *own = taped;
                }
            }
        }
    }
}
