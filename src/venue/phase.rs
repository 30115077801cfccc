//! The phases of an instrument: what each takes, and what a change of it brings about.
//!
//! | phase | limit orders of day and gtc | market, ioc, fok, post-only | replace | cancel | book |
//! |---|---|---|---|---|---|
//! | open | trade and rest | as they say | yes | yes | never crossed |
//! | auction call | rest | refused | yes, a post-only order only downwards | yes | may be crossed |
//! | halted, closed | refused | refused | refused | yes | as it was |
//!
//! Going to open or closed trades what is crossed at one price first, whatever phase it comes from: a halt in the middle of an auction
//! call keeps what has gathered. A refusal for a halt or an auction is worth another try later; one for a closed instrument is not.

use super::{Venue, VenueEvent, event};
use crate::types::{Code, InstrumentId, MarketEventKind, Phase};

/// Whether a phase takes an order; `gathers` says whether it is one that an auction call takes.
pub(super) const fn check_order(phase: Phase, gathers: bool) -> Result<(), Code> {
    match phase {
        Phase::AuctionCall if !gathers => Err(Code::OrdNotInAuction),
        Phase::Open | Phase::AuctionCall => Ok(()),
        Phase::Halted => Err(Code::OrdInstrumentHalted),
        Phase::Closed => Err(Code::OrdInstrumentClosed),
    }
}

impl Venue {
    /// Puts an instrument into a phase. What trades for it and the status of it form one market event; a phase that it is in
    /// already brings nothing about. Events are appended to `events`.
    ///
    /// # Errors
    /// [`Code::OrdSymbolNotTradable`]: the venue does not trade the instrument, or on paper, where there is no auction call.
    pub fn set_phase(
        &mut self,
        instrument: InstrumentId,
        phase: Phase,
        events: &mut Vec<VenueEvent>,
    ) -> Result<(), Code> {
        let before = self.phase(instrument).ok_or(Code::OrdSymbolNotTradable)?;
        if before == phase {
            return Ok(());
        }
        if self.is_paper(instrument) {
            // What is on paper never trades with itself, and the market hears nothing of it: its status is the recording's.
            if phase == Phase::AuctionCall {
                return Err(Code::OrdSymbolNotTradable);
            }
            if let Some(book) = super::book_of(&mut self.books, instrument) {
                book.phase = phase;
            }
            return Ok(());
        }
        let start = events.len();
        if matches!(phase, Phase::Open | Phase::Closed) {
            self.uncross(instrument, events);
        }
        if let Some(book) = super::book_of(&mut self.books, instrument) {
            book.phase = phase;
        }
        let (state, reason) = phase.to_status();
        events.push(VenueEvent::market(instrument, MarketEventKind::Status { state, reason }));
        event::mark_last(&mut events[start..]);
        Ok(())
    }
}
