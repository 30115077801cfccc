//! The gate of `publish`: who may publish what, and whether its numbers are the instrument's.

use sealfeed_wire::publish::{Published, PublishedLevel};
use sealfeed_wire::{Aggressor, Code};

use super::freshness;
use super::{AuthenticRequest, DecodedBody, Gate, Refused};
use crate::types::{
    Entitlement, Instrument, InstrumentId, Instruments, MarketDepth, MarketEvent, MarketEventKind, Quantity,
    Side, TopLevel, UnixNanos,
};

/// Market data that passed every check. Only [`Gate::admit_publish`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedPublish {
    instrument: InstrumentId,
    pub_seq: u64,
    events: Vec<MarketEvent>,
    starts_afresh: bool,
    messages: usize,
}

impl AdmittedPublish {
    /// Which instrument.
    #[must_use]
    pub const fn instrument(&self) -> InstrumentId {
        self.instrument
    }

    /// The publisher's number of it.
    #[must_use]
    pub const fn pub_seq(&self) -> u64 {
        self.pub_seq
    }

    /// How many messages it has.
    #[must_use]
    pub const fn messages(&self) -> usize {
        self.messages
    }

    /// Whether it needs nothing of what was published before: its first message about the quotes is a whole state, or there is none.
    #[must_use]
    pub const fn starts_afresh(&self) -> bool {
        self.starts_afresh
    }

    /// What happened, in order; whole events.
    #[must_use]
    pub fn events(&self) -> &[MarketEvent] {
        &self.events
    }
}

impl Gate {
    /// Judges a `publish` whose nonce was spent.
    ///
    /// # Errors
    /// [`Refused`] by the first check that fails: entitlement, instrument, messages and their decimals, time.
    pub fn admit_publish(
        &self,
        request: &AuthenticRequest,
        entitlement: &Entitlement,
        instruments: &Instruments,
        now: UnixNanos,
    ) -> Result<AdmittedPublish, Refused> {
        let DecodedBody::Publish(publish) = request.decoded().map_err(|error| error.code)? else {
            return Err(Code::SesOpNotOffered.into());
        };
        let symbol = publish.symbol.as_str();
        entitlement.may_publish(symbol)?;
        let instrument = instruments.by_symbol(symbol).ok_or(Code::PubSymbolNotYours)?;
        let mut events = Vec::new();
        let mut starts_afresh = None;
        for message in &publish.messages {
            match message {
                Published::Snapshot { .. } | Published::Bbo { .. } => drop(starts_afresh.get_or_insert(true)),
                Published::Delta { .. } => drop(starts_afresh.get_or_insert(false)),
                Published::Trade { .. } => {}
            }
            append(message, instrument, request.received(), &mut events).ok_or(Code::PubMessageInvalid)?;
        }
        freshness::check(request.ts(), now, self.window_ns)?;
        Ok(AdmittedPublish {
            instrument: instrument.id,
            pub_seq: publish.pub_seq.get(),
            events,
            starts_afresh: starts_afresh.unwrap_or(true),
            messages: publish.messages.len(),
        })
    }
}

/// Appends one message as one event; `None` if the instrument cannot have it.
fn append(
    message: &Published,
    instrument: &Instrument,
    received: UnixNanos,
    events: &mut Vec<MarketEvent>,
) -> Option<()> {
    let start = events.len();
    let mut push = |ts_event, kind| {
        events.push(MarketEvent {
            instrument: instrument.id,
            ts_event,
            ts_recv: received,
            last: false,
            kind,
        });
    };
    match message {
        Published::Trade { ts_event, price, qty, side, trade_id } => {
            let price = price.within(instrument.decimals.price).ok()?;
            let quantity =
                qty.within(instrument.decimals.quantity).ok().filter(|quantity| !quantity.is_zero())?;
            let aggressor = match side {
                Aggressor::Buy => Some(Side::Buy),
                Aggressor::Sell => Some(Side::Sell),
                Aggressor::None => None,
            };
            let trade_id = trade_id.as_ref().map_or(Some(0), |id| id.as_str().parse().ok())?;
            push(*ts_event, MarketEventKind::Trade { price, quantity, aggressor, trade_id });
        }
        Published::Bbo { ts_event, bid, ask } if instrument.depth == MarketDepth::Top => {
            let side = |side: &Option<PublishedLevel>| match side {
                None => Some(None),
                Some(level) => top(level, instrument).map(Some),
            };
            push(*ts_event, MarketEventKind::Top { bid: side(bid)?, ask: side(ask)? });
        }
        Published::Snapshot { ts_event, bids, asks } if instrument.depth == MarketDepth::Levels => {
            push(*ts_event, MarketEventKind::Clear);
            for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
                for one in levels {
                    let TopLevel { price, quantity, orders } = top(one, instrument)?;
                    push(*ts_event, MarketEventKind::Level { side, price, quantity, orders });
                }
            }
        }
        Published::Delta { ts_event, bids, asks } if instrument.depth == MarketDepth::Levels => {
            for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
                for one in levels {
                    let TopLevel { price, quantity, orders } = level(one, instrument)?;
                    push(*ts_event, MarketEventKind::Level { side, price, quantity, orders });
                }
            }
        }
        Published::Bbo { .. } | Published::Snapshot { .. } | Published::Delta { .. } => return None,
    }
    // A delta that says nothing is no event.
    events.get_mut(start..)?.last_mut()?.last = true;
    Some(())
}

/// A level with the instrument's decimals.
fn level(
    PublishedLevel(price, quantity, orders): &PublishedLevel,
    instrument: &Instrument,
) -> Option<TopLevel> {
    let price = price.within(instrument.decimals.price).ok()?;
    let quantity = quantity.within(instrument.decimals.quantity).ok()?;
    let orders = if quantity == Quantity::ZERO { 0 } else { *orders };
    Some(TopLevel { price, quantity, orders })
}

/// A level that holds something.
fn top(published: &PublishedLevel, instrument: &Instrument) -> Option<TopLevel> {
    level(published, instrument).filter(|level| !level.quantity.is_zero())
}
