//! The whole state out of an engine, and an engine out of it: the same bytes for the same state, and the same behaviour afterwards.
//!
//! What comes back may be the bytes of any file, so everything is checked as if a stranger had written it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use sealfeed_audit::{Hash, Receipt};
use sealfeed_wire::KillScope;

use super::replay::principal_of;
use super::{
    Answer, Engine, EngineOptions, OpenSide, OrderRecord, Origin, Outcome, Position, Row, instruments, paper,
};
use crate::journal::state::Rows;
use crate::journal::{OrderTrail, state};
use crate::types::{
    CancelOnDisconnect, CancelOrder, CancelReason, ClientOrderId, Code, InstrumentId, Instruments, OrderId,
    OrderKind, OrderState, OwnerId, Phase, Price, Quantity, SelfTrade, Sequence, SessionId, Side,
    TimeInForce, UnixNanos,
};
use crate::venue::{
    BookState, Counters, OrderIndex, PaperState, RULES, RestingOrder, RestoreError, RestoreFault, Venue,
    VenueEvent,
};

/// Why bytes are no state to go on from.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// They do not decode.
    #[error("its bytes are no state of a version that this program knows")]
    Encoding(#[source] postcard::Error),
    /// A value that no state has.
    #[error("{0}")]
    Value(&'static str),
    /// The books are none that a venue can have.
    #[error("its books cannot be")]
    Books(#[source] RestoreError),
}

impl Engine {
    /// The state, whole. Every answer must have its receipt: one that has none yet is told with a hash of zeros.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut orders: Vec<(&OrderId, &OrderRecord)> = self.orders.iter().collect();
        orders.sort_unstable_by_key(|(id, _)| **id);
        let orders = orders.into_iter().map(|(id, record)| order_to_state(*id, record));
        let resting: Vec<RestingOrder> = self.venue.resting().collect();
        let Counters { last_trade_id, last_priority } = self.venue.counters();
        let state = state::State {
            version: state::VERSION,
            rules: RULES,
            first_id: self.options.first_id,
            next_id: self.next_id,
            day: self.day,
            inputs: self.inputs,
            hashed_at: self.hashed_at,
            resting_orders_max: self.options.resting_orders_max,
            state_hash_inputs: self.options.state_hash_inputs,
            instruments: instruments::listed_whole(&self.instruments),
            owners: self.owners.names().map(ToString::to_string).collect(),
            reports: self.reports.iter().map(|(owner, seq)| (owner.0, seq.get())).collect(),
            firm_reports: self.firm_reports.iter().map(|(firm, seq)| (firm.to_string(), seq.get())).collect(),
            dead_men: self.dead_men.iter().map(|(owner, due)| (owner.0, due.0)).collect(),
            orders: Rows::new(orders),
            answers: Rows::new(self.answers.sorted().into_iter().map(answer_to_state)),
            last_trade_id,
            last_priority,
            books: self.venue.books().map(book_to_state).collect(),
            resting: Rows::new(resting.into_iter().map(resting_to_state)),
            marks: self.positions.marks().map(|(instrument, price)| (instrument.0, price.nanos())).collect(),
            accounts: self
                .positions
                .owners()
                .map(|(owner, open_orders, rows)| account_to_state(owner.0, open_orders, rows))
                .collect(),
            firm_accounts: self
                .positions
                .firms()
                .map(|(firm, open_orders, rows)| account_to_state(firm.to_owned(), open_orders, rows))
                .collect(),
            kills: self.kills.iter().map(|(scope, target)| (scope.as_str().to_owned(), target)).collect(),
            papers: self.venue.papers().map(|paper| paper::to_state(&paper)).collect(),
        };
        // Encoding into memory fails for no value that these types can have.
        state.encode().unwrap_or_default()
    }

    /// How much a snapshot holds: orders and answers.
    #[must_use]
    pub fn snapshot_items(&self) -> usize {
        self.venue.resting_orders() + self.orders.len() + self.answers.count()
    }

    /// An engine in the state that a snapshot holds. Receipts name `log`.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn from_snapshot(bytes: &[u8], log: Hash) -> Result<Self, SnapshotError> {
        let state = state::State::decode(bytes).map_err(SnapshotError::Encoding)?;
        let mut table = Instruments::new();
        instruments::add(&mut table, &state.instruments)
            .ok_or(SnapshotError::Value("its instruments cannot be"))?;
        if state.state_hash_inputs == 0 {
            return Err(SnapshotError::Value("it never seals a digest of the state"));
        }
        let options = EngineOptions {
            first_id: state.first_id,
            day: state.day,
            resting_orders_max: state.resting_orders_max,
            state_hash_inputs: state.state_hash_inputs,
        };
        let counters = Counters { last_trade_id: state.last_trade_id, last_priority: state.last_priority };
        let books: Vec<BookState> =
            state.books.iter().map(book_from_state).collect::<Option<_>>().ok_or(BAD_BOOK)?;
        let resting: Vec<RestingOrder> =
            state.resting.iter().map(resting_from_state).collect::<Option<_>>().ok_or(BAD_BOOK)?;
        let mut venue = Venue::restore(&table, state.resting_orders_max, counters, books, resting)
            .map_err(SnapshotError::Books)?;
        let papers = state.papers.iter().map(paper::from_state);
        venue.restore_papers(papers).map_err(|_| BAD_BOOK)?;
        let mut engine = Self::new(Arc::new(table), options);
        engine.venue = venue;
        (engine.next_id, engine.inputs, engine.hashed_at) = (state.next_id, state.inputs, state.hashed_at);
        for name in &state.owners {
            let new = principal_of(name).filter(|principal| engine.owner(principal).is_none());
            let new = new.ok_or(SnapshotError::Value("an owner has no name, or one that another one has"))?;
            engine.add_owner(&new);
        }
        engine.take_accounts(&state)?;
        engine.take_orders(&state)?;
        for answer in &state.answers {
            let (owner, answer) = answer_from_state(answer, log)
                .ok_or(SnapshotError::Value("an answer has a value that none has"))?;
            engine.answers.bind(owner, answer);
        }
        let number = |seq: u64| Sequence::new(seq).ok_or(SnapshotError::Value("a report has no number"));
        for (owner, seq) in state.reports {
            engine.reports.insert(OwnerId(owner), number(seq)?);
        }
        for (firm, seq) in state.firm_reports {
            engine.firm_reports.insert(firm.into(), number(seq)?);
        }
        engine.dead_men =
            state.dead_men.into_iter().map(|(owner, due)| (OwnerId(owner), UnixNanos(due))).collect();
        Ok(engine)
    }

    fn take_accounts(&mut self, state: &state::State) -> Result<(), SnapshotError> {
        let accounts = state.accounts.iter().flat_map(|account| &account.positions);
        let firm_accounts = state.firm_accounts.iter().flat_map(|account| &account.positions);
        let held = accounts.chain(firm_accounts).map(|position| position.instrument);
        let mut named = state.marks.iter().map(|(instrument, _)| *instrument).chain(held);
        if named.any(|instrument| instrument as usize >= self.instruments.count()) {
            return Err(SnapshotError::Value("a position or a price is of an instrument that is not listed"));
        }
        for (instrument, price) in &state.marks {
            self.positions.restore_mark(InstrumentId(*instrument), Price::from_nanos(*price));
        }
        for account in &state.accounts {
            let rows = account.positions.iter().map(row_from_state);
            self.positions.restore_owner(OwnerId(account.of), account.open_orders, rows);
        }
        for account in &state.firm_accounts {
            let rows = account.positions.iter().map(row_from_state);
            if !self.positions.restore_firm(&account.of, account.open_orders, rows) {
                return Err(SnapshotError::Value("a firm without a principal has an account"));
            }
        }
        for (scope, target) in &state.kills {
            let scope = KillScope::parse(scope).map_err(|_| BAD_SWITCH)?;
            self.kills.engage(scope, target).map_err(|_| BAD_SWITCH)?;
        }
        Ok(())
    }

    fn take_orders(&mut self, state: &state::State) -> Result<(), SnapshotError> {
        let resting: HashMap<OrderId, OrderIndex> = self.venue.places().collect();
        for order in &state.orders {
            let record =
                order_from_state(order).ok_or(SnapshotError::Value("an order has a value that none has"))?;
            let id = OrderId(order.id);
            let has_owner = self.owners.name(record.owner).is_some();
            let rests = resting.contains_key(&id);
            if !has_owner
                || rests != record.is_open()
                || record.instrument.index() >= self.instruments.count()
            {
                return Err(SnapshotError::Value(
                    "an order is open and does not rest, or the other way round",
                ));
            }
            if rests {
                self.open.entry(record.owner).or_default().insert(id);
            }
            self.orders.insert(id, record);
        }
        self.learn_places();
        Ok(())
    }

    /// Finds out where every order rests in a venue that was brought back.
    fn learn_places(&mut self) {
        self.synthetic.clear();
        for (id, place) in self.venue.places() {
            match self.orders.get_mut(&id) {
                Some(record) => record.place = place,
                None => {
                    self.synthetic.insert(id, place);
                }
            }
        }
    }

    /// Cancels every order in what `instruments` does not list as traded, or as traded otherwise (on paper); to be reported before [`Engine::go_on`].
    pub fn leave_out(&mut self, instruments: &Instruments, events: &mut Vec<VenueEvent>) {
        let is_kept = |id: InstrumentId| {
            let symbol = self.instruments.by_id(id).map(|one| one.symbol);
            let now = symbol.and_then(|symbol| instruments.by_symbol(symbol.as_str()));
            now.is_some_and(|one| one.tradable && one.paper == self.venue.is_paper(id))
        };
        let resting = self.venue.resting().zip(self.venue.places());
        let leaving: Vec<(RestingOrder, OrderIndex)> = resting
            .filter(|(order, _)| !is_kept(order.instrument))
            .map(|(order, (_, place))| (order, place))
            .collect();
        for (RestingOrder { id, owner, .. }, place) in leaving {
            let cancel = CancelOrder { owner, id, reason: CancelReason::Restart };
            // It rests, and it is its owner's.
            let _ = self.venue.cancel_at(place, cancel, events);
        }
    }

    /// Goes on with other instruments and bounds: those of a later run. What was remembered of an instrument that is not listed any
    /// more is forgotten.
    ///
    /// # Errors
    /// The books do not fit the instruments.
    pub fn go_on(
        &mut self,
        instruments: Arc<Instruments>,
        options: EngineOptions,
    ) -> Result<(), RestoreError> {
        let old = Arc::clone(&self.instruments);
        let moved = |id: InstrumentId| {
            let symbol = old.by_id(id)?.symbol;
            instruments.by_symbol(symbol.as_str()).map(|one| one.id)
        };
        let mut books: Vec<BookState> = instruments
            .iter()
            .filter(|one| one.tradable)
            .map(|one| BookState {
                instrument: one.id,
                phase: Phase::default(),
                last_price: None,
                submitted: 0,
                traded: 0,
                returned: 0,
            })
            .collect();
        for kept in self.venue.books() {
            let place =
                moved(kept.instrument).and_then(|id| books.iter().position(|book| book.instrument == id));
            if let Some(place) = place {
                let instrument = books[place].instrument;
                books[place] = BookState { instrument, ..kept };
            }
        }
        let mut resting: Vec<RestingOrder> = self
            .venue
            .resting()
            .filter_map(|order| Some(RestingOrder { instrument: moved(order.instrument)?, ..order }))
            .collect();
        // Within an instrument the order stays.
        resting.sort_by_key(|order| order.instrument);
        let most = options.resting_orders_max.max(most_in_one(&resting));
        let papers: Vec<PaperState> = self
            .venue
            .papers()
            .filter_map(|paper| {
                let instrument = moved(paper.instrument)?;
                let is_kept = instruments.by_id(instrument).is_some_and(|one| one.paper);
                is_kept.then_some(PaperState { instrument, ..paper })
            })
            .collect();
        self.venue = Venue::restore(&instruments, most, self.venue.counters(), books, resting)?
            .with_resting_orders_max(options.resting_orders_max);
        let unfit = |instrument| RestoreError { what: RestoreFault::Paper, instrument, order: None };
        self.venue.restore_papers(papers).map_err(unfit)?;
        self.orders.retain(|_, record| match moved(record.instrument) {
            Some(instrument) => {
                record.instrument = instrument;
                true
            }
            None => false,
        });
        self.learn_places();
        self.positions.renumber(moved);
        self.instruments = instruments;
        self.options.resting_orders_max = options.resting_orders_max;
        self.options.state_hash_inputs = options.state_hash_inputs;
        Ok(())
    }
}

const BAD_SWITCH: SnapshotError = SnapshotError::Value("a kill switch is none that there can be");
const BAD_BOOK: SnapshotError = SnapshotError::Value("a book or an order in it has a value that none has");

/// Orders in the instrument that has most of them; they are in the order of instruments.
fn most_in_one(resting: &[RestingOrder]) -> u32 {
    let counts = resting.chunk_by(|one, other| one.instrument == other.instrument).map(<[_]>::len);
    u32::try_from(counts.max().unwrap_or(0)).unwrap_or(u32::MAX)
}

fn order_to_state(id: OrderId, record: &OrderRecord) -> state::Order {
    let (previous, next_event) = record.trail.to_parts();
    state::Order {
        id: id.0,
        owner: record.owner.0,
        cl_ord_id: record.client_order_id.to_string(),
        session: record.origin.session.0,
        on_disconnect: record.origin.on_disconnect.to_byte(),
        instrument: record.instrument.0,
        sells: record.side == Side::Sell,
        price: match record.kind {
            OrderKind::Limit(price) => Some(price.nanos()),
            OrderKind::Market => None,
        },
        time_in_force: time_in_force_to_byte(record.time_in_force),
        quantity: record.quantity.nanos(),
        leaves: record.leaves.nanos(),
        cumulative: record.cumulative.nanos(),
        state: match record.state {
            OrderState::New => 0,
            OrderState::PartiallyFilled => 1,
            OrderState::Filled => 2,
            OrderState::Canceled => 3,
            OrderState::Rejected => 4,
            OrderState::Expired => 5,
        },
        notional: record.notional,
        previous,
        next_event,
    }
}

fn order_from_state(order: &state::Order) -> Option<OrderRecord> {
    Some(OrderRecord {
        client_order_id: ClientOrderId::new(&order.cl_ord_id).ok()?,
        owner: OwnerId(order.owner),
        origin: Origin {
            session: SessionId(order.session),
            on_disconnect: CancelOnDisconnect::from_byte(order.on_disconnect)?,
        },
        instrument: InstrumentId(order.instrument),
        side: side(order.sells),
        kind: order.price.map_or(OrderKind::Market, |price| OrderKind::Limit(Price::from_nanos(price))),
        time_in_force: time_in_force_from_byte(order.time_in_force)?,
        quantity: Quantity::from_nanos(order.quantity),
        leaves: Quantity::from_nanos(order.leaves),
        cumulative: Quantity::from_nanos(order.cumulative),
        state: match order.state {
            0 => OrderState::New,
            1 => OrderState::PartiallyFilled,
            2 => OrderState::Filled,
            3 => OrderState::Canceled,
            4 => OrderState::Rejected,
            5 => OrderState::Expired,
            _ => return None,
        },
        trail: OrderTrail::from_parts(order.id, order.previous, order.next_event),
        place: OrderIndex::NONE,
        notional: order.notional,
    })
}

fn answer_to_state((owner, answer): (OwnerId, &Arc<Answer>)) -> state::Answer {
    state::Answer {
        owner: owner.0,
        cl_ord_id: answer.client_order_id.to_string(),
        target: answer.target.map(|target| target.to_string()),
        digest: answer.digest,
        outcome: match answer.outcome {
            Outcome::Accepted(order) => state::Outcome::Accepted(order.0),
            Outcome::Canceled(order) => state::Outcome::Canceled(order.0),
            Outcome::MassCanceled(count) => state::Outcome::MassCanceled(count),
            Outcome::Refused(code) => state::Outcome::Refused(code.as_str().to_owned()),
        },
        entry: answer.entry,
        hash: answer.receipt.get().map(|receipt| receipt.hash).unwrap_or_default(),
    }
}

fn answer_from_state(answer: &state::Answer, log_id: Hash) -> Option<(OwnerId, Answer)> {
    let target = match &answer.target {
        Some(target) => Some(ClientOrderId::new(target).ok()?),
        None => None,
    };
    let receipt = Receipt { log_id, seq: answer.entry, hash: answer.hash };
    let bound = Answer {
        client_order_id: ClientOrderId::new(&answer.cl_ord_id).ok()?,
        target,
        digest: answer.digest,
        outcome: match &answer.outcome {
            state::Outcome::Accepted(order) => Outcome::Accepted(OrderId(*order)),
            state::Outcome::Canceled(order) => Outcome::Canceled(OrderId(*order)),
            state::Outcome::MassCanceled(count) => Outcome::MassCanceled(*count),
            state::Outcome::Refused(code) => Outcome::Refused(Code::parse(code)?),
        },
        entry: answer.entry,
        receipt: OnceLock::from(receipt),
    };
    Some((OwnerId(answer.owner), bound))
}

fn book_to_state(book: BookState) -> state::Book {
    state::Book {
        instrument: book.instrument.0,
        phase: book.phase.as_str().to_owned(),
        last_price: book.last_price.map(Price::nanos),
        submitted: book.submitted,
        traded: book.traded,
        returned: book.returned,
    }
}

fn book_from_state(book: &state::Book) -> Option<BookState> {
    Some(BookState {
        instrument: InstrumentId(book.instrument),
        phase: Phase::parse(&book.phase)?,
        last_price: book.last_price.map(Price::from_nanos),
        submitted: book.submitted,
        traded: book.traded,
        returned: book.returned,
    })
}

fn resting_to_state(order: RestingOrder) -> state::Resting {
    state::Resting {
        id: order.id.0,
        owner: order.owner.0,
        instrument: order.instrument.0,
        sells: order.side == Side::Sell,
        price: order.price.nanos(),
        quantity: order.quantity.nanos(),
        leaves: order.leaves.nanos(),
        time_in_force: time_in_force_to_byte(order.time_in_force),
        post_only: order.post_only,
        self_trade: match order.self_trade {
            None => 0,
            Some(SelfTrade::CancelTaker) => 1,
            Some(SelfTrade::CancelMaker) => 2,
            Some(SelfTrade::CancelBoth) => 3,
        },
        priority: order.priority,
    }
}

fn resting_from_state(order: &state::Resting) -> Option<RestingOrder> {
    Some(RestingOrder {
        id: OrderId(order.id),
        owner: OwnerId(order.owner),
        instrument: InstrumentId(order.instrument),
        side: side(order.sells),
        price: Price::from_nanos(order.price),
        quantity: Quantity::from_nanos(order.quantity),
        leaves: Quantity::from_nanos(order.leaves),
        time_in_force: time_in_force_from_byte(order.time_in_force)?,
        post_only: order.post_only,
        self_trade: match order.self_trade {
            0 => None,
            1 => Some(SelfTrade::CancelTaker),
            2 => Some(SelfTrade::CancelMaker),
            3 => Some(SelfTrade::CancelBoth),
            _ => return None,
        },
        priority: order.priority,
    })
}

fn account_to_state<T>(of: T, open_orders: u32, rows: impl Iterator<Item = Row>) -> state::Account<T> {
    let position = |row: Row| {
        let Position { net, cost, realised, buys, sells, is_beyond } = row.position;
        state::Position {
            instrument: row.instrument.0,
            net,
            cost,
            realised,
            buys: (buys.quantity, buys.value),
            sells: (sells.quantity, sells.value),
            is_beyond,
        }
    };
    state::Account { of, open_orders, positions: rows.map(position).collect() }
}

fn row_from_state(position: &state::Position) -> Row {
    let open = |(quantity, value): (u128, u128)| OpenSide { quantity, value };
    let state::Position { instrument, net, cost, realised, buys, sells, is_beyond } = *position;
    let position = Position { net, cost, realised, buys: open(buys), sells: open(sells), is_beyond };
    Row { instrument: InstrumentId(instrument), position }
}

const fn side(sells: bool) -> Side {
    if sells { Side::Sell } else { Side::Buy }
}

const fn time_in_force_to_byte(time_in_force: TimeInForce) -> u8 {
    match time_in_force {
        TimeInForce::Day => 0,
        TimeInForce::GoodTillCancel => 1,
        TimeInForce::ImmediateOrCancel => 2,
        TimeInForce::FillOrKill => 3,
    }
}

const fn time_in_force_from_byte(byte: u8) -> Option<TimeInForce> {
    match byte {
        0 => Some(TimeInForce::Day),
        1 => Some(TimeInForce::GoodTillCancel),
        2 => Some(TimeInForce::ImmediateOrCancel),
        3 => Some(TimeInForce::FillOrKill),
        _ => None,
    }
}
