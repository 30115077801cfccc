//! The venue with all that turns its inputs into sealed outputs: owners' numbers, names of orders, numbers of reports.
//!
//! One [`Engine`] executes in the pipeline, another one executes the same inputs again from the log ([`replay`]): the same code, so
//! that what differs was not what the log says. Inputs are the entries of kinds `order`, `synthetic`, `day_end`, `owner` and `paper`;
//! outputs are `execution`, `order_refused` with an order's link, and `STATE_HASH`. An input's entry stands in the log before its
//! outputs, and all of them before the next input.
//!
//! No clock, no I/O, no hash order. Its life begins empty at an entry of kind `venue`, and goes on over every later run of the server
//! ([`restore`]): what was answered, what rests and how far the reports are is all rebuilt from the log.

mod answers;
mod instruments;
mod kill;
mod message;
mod operate;
mod order;
mod owners;
mod paper;
mod position;
mod positions;
pub mod replay;
mod restore;
mod snapshot;
mod withdraw;

pub use answers::{Answer, Answers, Outcome};
pub use kill::{KillSwitches, SWITCHES_MAX};
pub use message::{ReportMessage, ReportStream};
pub use order::{OrderRecord, Origin};
pub use owners::synthetic_owner;
pub use position::{OpenPart, OpenSide, Position};
pub use positions::{Account, Positions, Row};
pub use restore::{RestoreError, Restored, restore};
pub use snapshot::SnapshotError;
pub use withdraw::{Mass, Withdrawn, dead_man_due};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sealfeed_audit::{StateHash, sha256_of};
use sealfeed_wire::market::ExecKind;

use crate::journal::event::{self, SyntheticInput};
use crate::journal::{Event, OrderTrail};
use crate::types::{
    CancelOrder, CancelReason, ClientOrderId, Code, Epoch, Execution, ExecutionKind, Instrument,
    InstrumentId, Instruments, NewOrder, OrderId, OrderKind, OrderMap, OwnerId, Price, Principal, Quantity,
    ReplaceOrder, Sequence, Side, TimeInForce, UnixNanos,
};
use crate::venue::{OrderIndex, RESTING_ORDERS_MAX_DEFAULT, RULES, RestingOrder, Venue, VenueEvent};
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
    orders: OrderMap<OrderRecord>,
    /// Clients' orders that rest or may still trade, by owner.
    open: BTreeMap<OwnerId, BTreeSet<OrderId>>,
    /// Where the orders of the synthetic market rest. A client's order is in `orders`.
    synthetic: OrderMap<OrderIndex>,
    answers: Answers,
    /// Number of each owner's last report.
    reports: BTreeMap<OwnerId, Sequence>,
    /// Number of the last report of each firm.
    firm_reports: BTreeMap<Arc<str>, Sequence>,
    /// When the orders of an owner are cancelled unless it says again that it is there, in nanoseconds.
    dead_men: BTreeMap<OwnerId, UnixNanos>,
    synthetic_name: Option<ClientOrderId>,
    next_id: u64,
    day: u64,
    inputs: u64,
    hashed_at: u64,
}

/// Which message made the venue act.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cause {
    /// The order that came in, or was replaced: its fills took liquidity, all others gave it.
    pub taker: Option<OrderId>,
    /// The client's name of the message that cancelled or replaced.
    pub name: Option<ClientOrderId>,
}

/// A report to the owner of an order, beside what is sealed of it as the next event of that order.
pub struct Report<'a> {
    /// Whose order.
    pub principal: &'a Principal,
    /// The order, as it stands after this.
    pub record: &'a mut OrderRecord,
    /// What it trades.
    pub instrument: &'a Instrument,
    /// Number of the report.
    pub seq: Sequence,
    /// Number of the owner's report before.
    pub previous_seq: Sequence,
    /// Its number among the reports of the firm.
    pub firm_seq: Sequence,
    /// Number of the firm's report before.
    pub firm_previous_seq: Sequence,
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
            orders: OrderMap::default(),
            open: BTreeMap::new(),
            synthetic: OrderMap::default(),
            answers: Answers::default(),
            reports: BTreeMap::new(),
            firm_reports: BTreeMap::new(),
            dead_men: BTreeMap::new(),
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

    /// What is sealed before the first input of a run, and then [`Engine::state`]: how the venue begins, or that it `continues` and
    /// trades `instruments` from here on.
    pub fn opening(
        &self,
        instruments: &Instruments,
        options: &EngineOptions,
        continues: bool,
    ) -> impl Iterator<Item = Event> {
        let EngineOptions { resting_orders_max, state_hash_inputs, .. } = *options;
        let first_id = self.options.first_id;
        let count = u32::try_from(instruments.count()).unwrap_or(u32::MAX);
        let venue = event::Venue {
            rules: RULES,
            day: self.day,
            first_id,
            resting_orders_max,
            state_hash_inputs,
            instruments: count,
            continues,
        };
        std::iter::once(Event::from(venue)).chain(instruments::listed(instruments).map(Event::from))
    }

    /// Names the run of all numbers of reports: another one when they began anew.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        Epoch(self.options.first_id)
    }

    /// The trading day, in days since 1970-01-01 UTC.
    #[must_use]
    pub const fn day(&self) -> u64 {
        self.day
    }

    /// Inputs taken so far.
    #[must_use]
    pub const fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Every order that rests: instrument by instrument, bids before asks, in the order in which they trade.
    pub fn resting(&self) -> impl Iterator<Item = RestingOrder> {
        self.venue.resting()
    }

    /// What was answered.
    #[must_use]
    pub const fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Binds a client's name by its first final answer.
    pub fn bind(&mut self, owner: OwnerId, answer: Answer) -> Arc<Answer> {
        self.answers.bind(owner, answer)
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

    /// Every principal that has a number, with it, in their order.
    pub fn principals(&self) -> impl Iterator<Item = (OwnerId, &Principal)> {
        self.owners.numbered()
    }

    /// The principal of a number; `None` for the synthetic market.
    #[must_use]
    pub fn principal(&self, owner: OwnerId) -> Option<&Principal> {
        self.owners.name(owner)
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

    /// Number of the last report of all principals of a firm; 0 before the first.
    #[must_use]
    pub fn last_firm_report(&self, firm: &str) -> Sequence {
        self.firm_reports.get(firm).copied().unwrap_or_default()
    }

    /// Takes a client's order, whose entry was `trail`'s last. What the venue does is appended to `events`.
    ///
    /// # Errors
    /// As [`Venue::submit`]; the order is not remembered then.
    pub fn submit(
        &mut self,
        order: NewOrder,
        origin: Origin,
        trail: OrderTrail,
        events: &mut Vec<VenueEvent>,
    ) -> Result<(), Code> {
        self.inputs += 1;
        let place = self.venue.submit(order, events)?;
        self.orders.insert(order.id, OrderRecord::new(&order, origin, trail, place));
        self.open.entry(order.owner).or_default().insert(order.id);
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
        let place = record.place;
        debug_assert!(self.venue.is_resting_at(place, cancel.id), "{} rests elsewhere", cancel.id);
        self.venue.cancel_at(place, cancel, events)
    }

    /// Takes a client's replace, whose entry was `trail`'s last. What the venue does is appended to `events`.
    ///
    /// # Errors
    /// The order is finished, or as [`Venue::replace`].
    pub fn replace(
        &mut self,
        replace: ReplaceOrder,
        trail: OrderTrail,
        events: &mut Vec<VenueEvent>,
    ) -> Result<(), Code> {
        self.inputs += 1;
        let record = self.orders.get_mut(&replace.id).ok_or(Code::OrdOrderUnknown)?;
        record.trail = trail;
        if !record.is_open() {
            return Err(Code::OrdTooLateToCancel);
        }
        debug_assert!(self.venue.is_resting_at(record.place, replace.id), "{} rests elsewhere", replace.id);
        record.place = self.venue.replace_at(record.place, replace, events)?;
        Ok(())
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
                    post_only: false,
                    self_trade: None,
                };
                if let Ok(place) = self.venue.submit(order, events)
                    && place != OrderIndex::NONE
                {
                    self.synthetic.insert(order.id, place);
                }
                Some(order.id)
            }
            SyntheticInput::Cancel { owner, order_id } => {
                let reason = CancelReason::Requested;
                let cancel = CancelOrder { owner: OwnerId(owner), id: OrderId(order_id), reason };
                // Who is not in there is gone, or a client's, which no member of the synthetic market can cancel.
                if let Some(place) = self.synthetic.get(&cancel.id) {
                    let _ = self.venue.cancel_at(*place, cancel, events);
                } else {
                    debug_assert!(
                        self.orders.contains_key(&cancel.id) || !self.venue.is_resting(cancel.id),
                        "{} rests, and nobody knows where",
                        cancel.id
                    );
                }
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

    /// Forgets clients' orders that are finished, and frees their names.
    pub fn forget_finished(&mut self) {
        self.orders.retain(|_, record| record.is_open());
        let orders = &self.orders;
        self.answers.end_day(|order| orders.get(&order).is_some_and(OrderRecord::is_open));
    }

    /// Makes the report of an execution; `None` where nobody reads one: members of the synthetic market do not.
    pub fn report(&mut self, execution: &Execution, cause: Cause) -> Option<(event::Execution, Report<'_>)> {
        let record = self.orders.get_mut(&execution.order);
        let mark = self.venue.paper_mark(execution.instrument);
        self.positions
            .apply(execution, record.as_ref().map_or_else(OpenPart::default, |one| one.open_part()));
        if let Some(price) = mark {
            self.positions.restore_mark(execution.instrument, price);
        }
        if record.is_none() && execution.leaves.is_zero() {
            self.synthetic.remove(&execution.order);
        }
        let principal = self.owners.name(execution.owner)?;
        let record = record?;
        let instrument = self.instruments.by_id(execution.instrument)?;
        record.advance(execution);
        if !record.is_open()
            && let Some(open) = self.open.get_mut(&execution.owner)
        {
            open.remove(&execution.order);
            if open.is_empty() {
                self.open.remove(&execution.owner);
            }
        }
        let last = self.reports.entry(execution.owner).or_default();
        let previous_seq = *last;
        let seq = last.next();
        *last = seq;
        let firm_last = match self.firm_reports.get_mut(principal.firm()) {
            Some(last) => last,
            None => self.firm_reports.entry(principal.firm().into()).or_default(),
        };
        let firm_previous_seq = *firm_last;
        let firm_seq = firm_last.next();
        *firm_last = firm_seq;
        let (price, quantity, trade_id) = match execution.kind {
            ExecutionKind::Fill { price, quantity, trade_id } => (price, quantity, trade_id),
            ExecutionKind::Replaced { price, quantity } => (price, quantity, 0),
            ExecutionKind::New | ExecutionKind::Canceled { .. } | ExecutionKind::Expired => {
                Default::default()
            }
        };
        let names_cause = is_canceled_by_name(execution) || is_replaced(execution);
        let event = event::Execution {
            principal: principal.name_shared().into(),
            cl_ord_id: record.client_order_id.into(),
            order_id: execution.order.0,
            symbol: instrument.symbol.into(),
            exec: name_of(kind_of(execution)).into(),
            side: execution.side.as_str().into(),
            price: price.nanos(),
            quantity: quantity.nanos(),
            trade_id,
            leaves: execution.leaves.nanos(),
            cumulative: execution.cumulative.nanos(),
            report: seq.get(),
            reason: match execution.kind {
                ExecutionKind::Canceled { reason } => reason.as_str().into(),
                _ => event::Text::default(),
            },
            cause: cause.name.filter(|_| names_cause).map(event::Text::from).unwrap_or_default(),
            taker: is_taker(execution, cause),
            firm_report: firm_seq.get(),
        };
        let report = Report { principal, record, instrument, seq, previous_seq, firm_seq, firm_previous_seq };
        Some((event, report))
    }

    /// The digest of the state as it is now: SHA-256 over the next order's name, the day, how many owners there are and how
    /// many of them have had a report, for each of these its number and the last report's, how many dead-man timers are armed, for each its owner and when it runs out, the positions as [`Positions`] writes them, the engaged kill switches as [`KillSwitches`] writes them, and the
    /// venue's own digest. Numbers are little-endian: 4 bytes for an owner, 8 for any other that does not say otherwise.
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
        bytes.extend((self.dead_men.len() as u64).to_le_bytes());
        for (owner, due) in &self.dead_men {
            bytes.extend(owner.0.to_le_bytes());
            bytes.extend(due.0.to_le_bytes());
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

/// Whether the message that brought it about was a cancel of its owner.
const fn is_canceled_by_name(execution: &Execution) -> bool {
    use CancelReason::{MassCancel, Requested};
    matches!(execution.kind, ExecutionKind::Canceled { reason: Requested | MassCancel })
}

/// Whether the message that brought it about was a replace of this order.
const fn is_replaced(execution: &Execution) -> bool {
    use ExecutionKind::{Canceled, Replaced};
    matches!(execution.kind, Replaced { .. } | Canceled { reason: CancelReason::Replaced })
}

/// Whether this is a fill that took liquidity.
fn is_taker(execution: &Execution, cause: Cause) -> bool {
    matches!(execution.kind, ExecutionKind::Fill { .. }) && cause.taker == Some(execution.order)
}

/// What an execution is called on the wire.
#[must_use]
pub fn kind_of(execution: &Execution) -> ExecKind {
    match execution.kind {
        ExecutionKind::New => ExecKind::New,
        ExecutionKind::Fill { .. } if execution.leaves.is_zero() => ExecKind::Fill,
        ExecutionKind::Fill { .. } => ExecKind::PartialFill,
        ExecutionKind::Canceled { .. } => ExecKind::Canceled,
        ExecutionKind::Replaced { .. } => ExecKind::Replaced,
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
