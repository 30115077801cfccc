//! The venue with all that turns its inputs into sealed outputs: owners' numbers, names of orders, numbers of reports.
//!
//! One [`Engine`] executes in the pipeline, another one executes the same inputs again from the log ([`replay`]): the same code, so
//! that what differs was not what the log says. Inputs are the entries of kinds `order`, `synthetic`, `day_end` and `owner`;
//! outputs are `execution`, `order_refused` with an order's link, and `STATE_HASH`. An input's entry stands in the log before its
//! outputs, and all of them before the next input.
//!
//! No clock, no I/O, no hash order. State starts empty with every run of the server, at the entry of kind `venue`. A later
//! snapshot of the state would stand there, and a re-execution could start from it.

mod instruments;
mod kill;
mod order;
mod owners;
mod position;
mod positions;
pub mod replay;

pub use kill::{KillScope, KillSwitches, SWITCHES_MAX};
pub use order::OrderRecord;
pub use owners::synthetic_owner;
pub use position::{OpenPart, OpenSide, Position};
pub use positions::{Account, Positions, Row};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sealfeed_audit::{StateHash, sha256_of};
use sealfeed_wire::market::ExecKind;

use crate::journal::event::{self, SyntheticInput};
use crate::journal::{Event, OrderTrail};
use crate::types::{
    CancelOrder, ClientOrderId, Code, Execution, ExecutionKind, Instrument, InstrumentId, Instruments,
    NewOrder, OrderId, OrderKind, OwnerId, Price, Principal, Quantity, Sequence, Side, TimeInForce,
};
use crate::venue::{RESTING_ORDERS_MAX_DEFAULT, RULES, Venue, VenueEvent};
use owners::Owners;

/// The digest of the state is sealed after so many inputs, unless told otherwise.
pub const STATE_HASH_INPUTS_DEFAULT: u64 = 10_000;
/// What `STATE_HASH` entries say they digest; the number is raised when [`Engine::state`] digests anything else.
const STATE_OF: &str = "venue/2";
/// Name of every synthetic order: its owner reads no reports.
const SYNTHETIC_NAME: &str = "synthetic";

/// What an engine starts from, the instruments apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// First name of orders to give out; trades are numbered from the one after it.
    pub first_id: u64,
    /// Trading day, in days since 1970-01-01 UTC.
    pub day: u64,
    /// Most orders that may rest in one instrument.
    pub resting_orders_max: u32,
    /// The digest of the state is sealed whenever so many inputs were taken; not zero.
    pub state_hash_inputs: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            first_id: 1,
            day: 0,
            resting_orders_max: RESTING_ORDERS_MAX_DEFAULT,
            state_hash_inputs: STATE_HASH_INPUTS_DEFAULT,
        }
    }
}

/// The venue and what goes with it. One owner.
pub struct Engine {
    options: EngineOptions,
    instruments: Arc<Instruments>,
    venue: Venue,
    owners: Owners,
    positions: Positions,
    kills: KillSwitches,
    orders: HashMap<OrderId, OrderRecord>,
    /// Number of each owner's last report.
    reports: BTreeMap<OwnerId, Sequence>,
    synthetic_name: Option<ClientOrderId>,
    next_id: u64,
    day: u64,
    inputs: u64,
    hashed_at: u64,
}

/// A report to the owner of an order, to be sealed as the next event of that order.
pub struct Report<'a> {
    /// What is sealed.
    pub event: event::Execution,
    /// The order, as it stands after this.
    pub record: &'a mut OrderRecord,
    /// What it trades.
    pub instrument: &'a Instrument,
    /// Number of the report.
    pub seq: Sequence,
    /// Number of the owner's report before.
    pub previous_seq: Sequence,
}

impl Engine {
    /// An engine with an empty book for every tradable instrument of the table.
    #[must_use]
    pub fn new(instruments: Arc<Instruments>, options: EngineOptions) -> Self {
        let venue = Venue::new(&instruments)
            .with_resting_orders_max(options.resting_orders_max)
            .with_trade_ids_after(options.first_id);
        Self {
            options,
            instruments,
            venue,
            owners: Owners::default(),
            positions: Positions::default(),
            kills: KillSwitches::default(),
            orders: HashMap::new(),
            reports: BTreeMap::new(),
            synthetic_name: ClientOrderId::new(SYNTHETIC_NAME).ok(),
            next_id: options.first_id,
            day: options.day,
            inputs: 0,
            hashed_at: 0,
        }
    }

    /// The same engine with a venue whose newest order of a price trades first.
    #[cfg(test)]
    pub(crate) fn with_newest_first(mut self) -> Self {
        self.venue = self.venue.with_newest_first();
        self
    }

    /// What is sealed before the first input, and then [`Engine::state`].
    pub fn opening(&self) -> impl Iterator<Item = Event> {
        let EngineOptions { first_id, resting_orders_max, state_hash_inputs, .. } = self.options;
        let instruments = u32::try_from(self.instruments.count()).unwrap_or(u32::MAX);
        let day = self.day;
        let venue =
            event::Venue { rules: RULES, day, first_id, resting_orders_max, state_hash_inputs, instruments };
        std::iter::once(Event::from(venue)).chain(instruments::listed(&self.instruments).map(Event::from))
    }

    /// What is traded.
    #[must_use]
    pub const fn instruments(&self) -> &Arc<Instruments> {
        &self.instruments
    }

    /// The number of a principal that has one.
    #[must_use]
    pub fn owner(&self, principal: &Principal) -> Option<OwnerId> {
        self.owners.find(principal)
    }

    /// Gives a principal that has none its number. To be sealed before anything is done for it.
    pub fn add_owner(&mut self, principal: &Principal) -> event::Owner {
        let owner = self.owners.add(principal);
        self.positions.add_owner(owner, principal.firm());
        event::Owner { number: owner.0, principal: principal.to_string() }
    }

    /// What principals and firms hold and have open, by the reports so far.
    #[must_use]
    pub const fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The kill switches that are engaged.
    #[must_use]
    pub const fn kill_switches(&self) -> &KillSwitches {
        &self.kills
    }

    /// The kill switches, to engage and release them. What is done is an input: it has to stand in the log first.
    pub const fn kill_switches_mut(&mut self) -> &mut KillSwitches {
        &mut self.kills
    }

    /// The name of the next order.
    pub const fn next_id(&mut self) -> OrderId {
        let id = OrderId(self.next_id);
        self.next_id += 1;
        id
    }

    /// How many orders of this owner rest now.
    #[must_use]
    pub fn open_orders(&self, owner: OwnerId) -> u32 {
        self.venue.open_orders(owner)
    }

    /// Best price that rests on a side of an instrument's book.
    #[must_use]
    pub fn best_price(&self, instrument: InstrumentId, side: Side) -> Option<Price> {
        self.venue.best_price(instrument, side)
    }

    /// An order of a client, as long as it is remembered.
    #[must_use]
    pub fn order(&self, id: OrderId) -> Option<&OrderRecord> {
        self.orders.get(&id)
    }

    /// Whether this order rests or may still trade.
    #[must_use]
    pub fn is_open(&self, id: OrderId) -> bool {
        self.order(id).is_some_and(OrderRecord::is_open)
    }

    /// Number of the owner's last report; 0 before the first.
    #[must_use]
    pub fn last_report(&self, owner: OwnerId) -> Sequence {
        self.reports.get(&owner).copied().unwrap_or_default()
    }

    /// Takes a client's order, whose entry was `trail`'s last. What the venue does is appended to `events`.
    ///
    /// # Errors
    /// As [`Venue::submit`]; the order is not remembered then.
    pub fn submit(
        &mut self,
        order: NewOrder,
        trail: OrderTrail,
        events: &mut Vec<VenueEvent>,
    ) -> Result<(), Code> {
        self.inputs += 1;
        self.venue.submit(order, events)?;
        self.orders.insert(order.id, OrderRecord::new(&order, trail));
        Ok(())
    }

    /// Takes a client's cancel, whose entry was `trail`'s last. What the venue does is appended to `events`.
    ///
    /// # Errors
    /// The order is finished, or as [`Venue::cancel`].
    pub fn cancel(
        &mut self,
        cancel: CancelOrder,
        trail: OrderTrail,
        events: &mut Vec<VenueEvent>,
    ) -> Result<(), Code> {
        self.inputs += 1;
        let record = self.orders.get_mut(&cancel.id).ok_or(Code::OrdOrderUnknown)?;
        record.trail = trail;
        if !record.is_open() {
            return Err(Code::OrdTooLateToCancel);
        }
        self.venue.cancel(cancel, events)
    }

    /// Where the order's trail stands after what was sealed of it outside a [`Report`].
    pub fn keep_trail(&mut self, id: OrderId, trail: OrderTrail) {
        if let Some(record) = self.orders.get_mut(&id) {
            record.trail = trail;
        }
    }

    /// Takes an order or cancel of the synthetic market, as it was sealed; returns the order that came in, if one did.
    ///
    /// What the venue refuses (an order that is gone, nothing to trade against) has no effect.
    pub fn take_synthetic(
        &mut self,
        input: &SyntheticInput,
        events: &mut Vec<VenueEvent>,
    ) -> Option<OrderId> {
        self.inputs += 1;
        match *input {
            SyntheticInput::New { owner, order_id, instrument, buys, price, rests, quantity } => {
                let order = NewOrder {
                    id: OrderId(order_id),
                    owner: OwnerId(owner),
                    client_order_id: self.synthetic_name?,
                    instrument: InstrumentId(instrument),
                    side: if buys { Side::Buy } else { Side::Sell },
                    quantity: Quantity::from_nanos(quantity),
                    kind: price.map_or(OrderKind::Market, |price| OrderKind::Limit(Price::from_nanos(price))),
                    time_in_force: if rests {
                        TimeInForce::GoodTillCancel
                    } else {
                        TimeInForce::ImmediateOrCancel
                    },
                };
                let _ = self.venue.submit(order, events);
                Some(order.id)
            }
            SyntheticInput::Cancel { owner, order_id } => {
                let cancel = CancelOrder { owner: OwnerId(owner), id: OrderId(order_id) };
                let _ = self.venue.cancel(cancel, events);
                None
            }
        }
    }

    /// Ends the trading day; after the reports of it, [`Engine::forget_finished`].
    pub fn end_day(&mut self, day: u64, events: &mut Vec<VenueEvent>) {
        self.inputs += 1;
        self.day = day;
        self.positions.end_day();
        self.venue.expire_day_orders(events);
    }

    /// Forgets clients' orders that are finished.
    pub fn forget_finished(&mut self) {
        self.orders.retain(|_, record| record.is_open());
    }

    /// Makes the report of an execution; `None` where nobody reads one: members of the synthetic market do not.
    pub fn report(&mut self, execution: &Execution) -> Option<Report<'_>> {
        let record = self.orders.get_mut(&execution.order);
        self.positions
            .apply(execution, record.as_ref().map_or_else(OpenPart::default, |one| one.open_part()));
        let principal = self.owners.name(execution.owner)?;
        let record = record?;
        let instrument = self.instruments.by_id(execution.instrument)?;
        record.advance(execution);
        let last = self.reports.entry(execution.owner).or_default();
        let previous_seq = *last;
        let seq = last.next();
        *last = seq;
        let (price, quantity, trade_id) = match execution.kind {
            ExecutionKind::Fill { price, quantity, trade_id } => (price, quantity, trade_id),
            ExecutionKind::New | ExecutionKind::Canceled | ExecutionKind::Expired => Default::default(),
        };
        let event = event::Execution {
            principal: principal.to_string(),
            cl_ord_id: record.client_order_id.to_string(),
            order_id: execution.order.0,
            symbol: instrument.symbol.to_string(),
            exec: name_of(kind_of(execution)).to_owned(),
            side: execution.side.as_str().to_owned(),
            price: price.nanos(),
            quantity: quantity.nanos(),
            trade_id,
            leaves: execution.leaves.nanos(),
            cumulative: execution.cumulative.nanos(),
            report: seq.get(),
        };
        Some(Report { event, record, instrument, seq, previous_seq })
    }

    /// The digest of the state as it is now: SHA-256 over the next order's name, the day, how many owners there are and how
    /// many of them have had a report, for each of these its number and the last report's, the positions as [`Positions`] writes them, the engaged kill
    /// switches as [`KillSwitches`] writes them, and the venue's own digest. Numbers are little-endian: 4 bytes for an owner, 8 for any other that does not say otherwise.
    #[must_use]
    pub fn state(&self) -> StateHash {
        let mut bytes = Vec::with_capacity(64 + 12 * self.reports.len());
        for number in [self.next_id, self.day, self.owners.count(), self.reports.len() as u64] {
            bytes.extend(number.to_le_bytes());
        }
        for (owner, report) in &self.reports {
            bytes.extend(owner.0.to_le_bytes());
            bytes.extend(report.get().to_le_bytes());
        }
        self.positions.digest_into(&mut bytes);
        self.kills.digest_into(&mut bytes);
        let digest = sha256_of(&[&bytes, &self.venue.state_digest()]);
        StateHash { of: STATE_OF.to_owned(), inputs: self.inputs, digest }
    }

    /// The digest of the state, if it is time to seal one. To be asked after the outputs of every entry that holds inputs.
    pub fn state_if_due(&mut self) -> Option<StateHash> {
        (self.inputs - self.hashed_at >= self.options.state_hash_inputs).then(|| {
            self.hashed_at = self.inputs;
            self.state()
        })
    }
}

/// What an execution is called on the wire.
#[must_use]
pub fn kind_of(execution: &Execution) -> ExecKind {
    match execution.kind {
        ExecutionKind::New => ExecKind::New,
        ExecutionKind::Fill { .. } if execution.leaves.is_zero() => ExecKind::Fill,
        ExecutionKind::Fill { .. } => ExecKind::PartialFill,
        ExecutionKind::Canceled => ExecKind::Canceled,
        ExecutionKind::Expired => ExecKind::Expired,
    }
}

const fn name_of(kind: ExecKind) -> &'static str {
    match kind {
        ExecKind::New => "new",
        ExecKind::PartialFill => "partial_fill",
        ExecKind::Fill => "fill",
        ExecKind::Canceled => "canceled",
        ExecKind::Replaced => "replaced",
        ExecKind::Rejected => "rejected",
        ExecKind::Expired => "expired",
        ExecKind::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests;
