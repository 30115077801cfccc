//! What operators do to the venue: kill switches and phases.

use sealfeed_wire::{KillAction, KillTarget, TradingPhase};

use super::{Engine, OrderRecord};
use crate::gate::AdminCommand;
use crate::types::{CancelReason, Code, InstrumentId, OwnerId, Phase, Price, Principal};
use crate::venue::VenueEvent;

impl Engine {
    /// Carries out an operator's command. A kill switch that is engaged cancels every order of a client that it stops, owner by owner and
    /// in the order of names; members of the synthetic market are no clients. What the venue does is appended to `events`.
    ///
    /// # Errors
    /// Too many switches are engaged, or the venue does not trade the instrument. Nothing has happened then.
    pub fn operate(&mut self, command: &AdminCommand, events: &mut Vec<VenueEvent>) -> Result<(), Code> {
        self.inputs += 1;
        match command {
            AdminCommand::Kill { target, action } => self.kill(target, *action, events),
            AdminCommand::Trading { instrument, state } => {
                self.venue.set_phase(*instrument, phase_of(*state), events)
            }
            AdminCommand::Reload => Ok(()),
        }
    }

    /// The phase of an instrument; `None` where the venue does not trade it.
    #[must_use]
    pub fn phase(&self, instrument: InstrumentId) -> Option<Phase> {
        self.venue.phase(instrument)
    }

    /// Price of the last trade in an instrument; `None` before the first one, and where the venue does not trade it.
    #[must_use]
    pub fn last_trade(&self, instrument: InstrumentId) -> Option<Price> {
        self.venue.last_price(instrument)
    }

    fn kill(
        &mut self,
        target: &KillTarget,
        action: KillAction,
        events: &mut Vec<VenueEvent>,
    ) -> Result<(), Code> {
        let (scope, name) = (target.scope(), target.text().unwrap_or_default());
        match action {
            KillAction::Release => {
                self.kills.release(scope, &name)?;
            }
            KillAction::Engage => {
                self.kills.engage(scope, &name)?;
                let owners: Vec<OwnerId> = self.open.keys().copied().collect();
                for owner in owners {
                    let Some(principal) = self.owners.name(owner).cloned() else { continue };
                    let instruments = std::sync::Arc::clone(&self.instruments);
                    self.cancel_all(owner, CancelReason::Kill, events, |record: &OrderRecord| {
                        let symbol = instruments.by_id(record.instrument).map(|one| one.symbol.as_str());
                        covers(target, &principal, symbol)
                    });
                }
            }
        }
        Ok(())
    }
}

fn covers(target: &KillTarget, of: &Principal, in_symbol: Option<&str>) -> bool {
    match target {
        KillTarget::Principal { firm, user } => (&**firm, &**user) == (of.firm(), of.user()),
        KillTarget::Firm(firm) => **firm == *of.firm(),
        KillTarget::Symbol(symbol) => in_symbol == Some(symbol.as_str()),
        KillTarget::All => true,
    }
}

const fn phase_of(state: TradingPhase) -> Phase {
    match state {
        TradingPhase::Open => Phase::Open,
        TradingPhase::Auction => Phase::AuctionCall,
        TradingPhase::Halted => Phase::Halted,
        TradingPhase::Closed => Phase::Closed,
    }
}
