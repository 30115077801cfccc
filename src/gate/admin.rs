//! The gate of what operators sign: who may do it, and whether what they name is there.
//!
//! No rate but that of messages: whoever stops a market must not be stopped by a limit on orders.

use sealfeed_wire::{Code, KillAction, KillTarget, OperatorReason, TradingPhase};

use super::{AuthenticRequest, DecodedBody, Gate, Refused, freshness};
use crate::types::{AdminVerb, Entitlement, InstrumentId, Instruments, UnixNanos};

/// What an operator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCommand {
    /// Engage or release a kill switch.
    Kill {
        /// Whose orders.
        target: KillTarget,
        /// Stop them, or let them be again.
        action: KillAction,
    },
    /// Change how an instrument of the venue trades.
    Trading {
        /// Which one.
        instrument: InstrumentId,
        /// How it trades from now on.
        state: TradingPhase,
    },
    /// Read files again: nothing that the venue has to do with.
    Reload,
}

/// A command of an operator that passed every check. Only [`Gate::admit_admin`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedAdmin {
    command: AdminCommand,
    reason: OperatorReason,
}

impl AdmittedAdmin {
    /// What is to be done.
    #[must_use]
    pub const fn command(&self) -> &AdminCommand {
        &self.command
    }

    /// Why, in the operator's words: printable, at most 200 characters.
    #[must_use]
    pub const fn reason(&self) -> &OperatorReason {
        &self.reason
    }
}

impl Gate {
    /// Judges an `admin.kill`, `admin.trading` or `admin.reload` whose nonce was spent.
    ///
    /// # Errors
    /// [`Refused`] by the first check that fails: entitlement, instrument, time.
    pub fn admit_admin(
        &self,
        request: &AuthenticRequest,
        entitlement: &Entitlement,
        instruments: &Instruments,
        now: UnixNanos,
    ) -> Result<AdmittedAdmin, Refused> {
        let body = request.decoded().map_err(|error| error.code)?;
        let (verb, reason) = match body {
            DecodedBody::Kill(kill) => (AdminVerb::Kill, &kill.reason),
            DecodedBody::Trading(trading) => (AdminVerb::Trading, &trading.reason),
            DecodedBody::Reload(reload) => (AdminVerb::Reload, &reload.reason),
            _ => return Err(Code::SesOpNotOffered.into()),
        };
        if !entitlement.may_administer(verb) {
            return Err(Code::OrdAdminNotEntitled.into());
        }
        let command = command(body, instruments)?;
        freshness::check(request.ts(), now, self.window_ns)?;
        Ok(AdmittedAdmin { command, reason: reason.clone() })
    }
}

/// Reads what operators sign in the terms of the venue: the one way from what was signed to what is done, at the first execution and at
/// every later one.
///
/// # Errors
/// There is no such instrument, or the venue does not trade it; or this is nothing that operators sign.
pub fn command(body: &DecodedBody, instruments: &Instruments) -> Result<AdminCommand, Code> {
    match body {
        DecodedBody::Kill(kill) => {
            if let KillTarget::Symbol(symbol) = &kill.target {
                // A misspelt symbol must not look like a switch that was thrown.
                instruments.by_symbol(symbol.as_str()).ok_or(Code::OrdSymbolUnknown)?;
            }
            Ok(AdminCommand::Kill { target: kill.target.clone(), action: kill.action })
        }
        DecodedBody::Trading(trading) => {
            let instrument = instruments.by_symbol(trading.symbol.as_str()).ok_or(Code::OrdSymbolUnknown)?;
            if !instrument.tradable {
                return Err(Code::OrdSymbolNotTradable);
            }
            Ok(AdminCommand::Trading { instrument: instrument.id, state: trading.state })
        }
        DecodedBody::Reload(_) => Ok(AdminCommand::Reload),
        _ => Err(Code::SesOpNotOffered),
    }
}
