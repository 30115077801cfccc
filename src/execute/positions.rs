//! Positions of principals and of firms, from what the venue reports and from nothing else.
//!
//! Bounded by the owners and the instruments: a row is made by the first report of an owner in an instrument, and is dropped at the end of a day that
//! leaves nothing in it. A report costs two look-ups, and allocates where it makes a row.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::position::{OpenPart, Position};
use crate::types::{Execution, ExecutionKind, InstrumentId, OwnerId, Price, Quantity, Side};

/// What one principal, or all principals of one firm, hold and have open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Orders with something open.
    open_orders: u32,
    /// In the order of instruments. Most principals hold one or a few, and a node of a map has room for eleven.
    positions: Vec<(InstrumentId, Position)>,
}

/// All accounts, and the last trade price of every instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Names of the firms, by number.
    firms: Vec<Arc<str>>,
    /// Number of each owner's firm. Owners that are not in here have no account: members of the synthetic market.
    firm_of: BTreeMap<OwnerId, u32>,
    of_owners: BTreeMap<OwnerId, Account>,
    of_firms: BTreeMap<u32, Account>,
    marks: Marks,
}

/// Last trade prices, by the instrument's place in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Marks(Vec<Option<Price>>);

impl Marks {
    fn get(&self, instrument: InstrumentId) -> Option<Price> {
        self.0.get(instrument.index()).copied().flatten()
    }

    fn set(&mut self, instrument: InstrumentId, price: Price) {
        if self.0.len() <= instrument.index() {
            self.0.resize(instrument.index() + 1, None);
        }
        self.0[instrument.index()] = Some(price);
    }

    fn iter(&self) -> impl Iterator<Item = (InstrumentId, Price)> {
        (0..).zip(&self.0).filter_map(|(number, price)| price.map(|price| (InstrumentId(number), price)))
    }
}

/// A row of a snapshot, but for whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// In which instrument.
    pub instrument: InstrumentId,
    /// What is held and open there.
    pub position: Position,
}

impl Account {
    /// Orders with something open, over all instruments.
    #[must_use]
    pub const fn open_orders(&self) -> u32 {
        self.open_orders
    }

    /// What is held and open in an instrument.
    #[must_use]
    pub fn position(&self, instrument: InstrumentId) -> Position {
        self.place(instrument).map_or_else(|_| Position::default(), |place| self.positions[place].1)
    }

    /// Where an instrument's row is, or would be.
    fn place(&self, instrument: InstrumentId) -> Result<usize, usize> {
        self.positions.binary_search_by_key(&instrument, |(held, _)| *held)
    }

    fn apply(&mut self, execution: &Execution, before: OpenPart, after: OpenPart) {
        match (before.leaves.is_zero(), after.leaves.is_zero()) {
            (true, false) => self.open_orders = self.open_orders.saturating_add(1),
            (false, true) => self.open_orders = self.open_orders.saturating_sub(1),
            _ => {}
        }
        let place = self.place(execution.instrument).unwrap_or_else(|place| {
            if self.positions.is_empty() {
                self.positions.reserve_exact(1);
            }
            self.positions.insert(place, (execution.instrument, Position::default()));
            place
        });
        let position = &mut self.positions[place].1;
        position.reopen(execution.side, before, after);
        if let ExecutionKind::Fill { price, quantity, .. } = execution.kind {
            position.fill(execution.side, price, quantity);
        }
    }

    fn end_day(&mut self, marks: &Marks) {
        self.positions.retain_mut(|(instrument, position)| {
            position.end_day(marks.get(*instrument));
            !position.is_empty()
        });
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        self.positions
            .iter()
            .map(|(instrument, position)| Row { instrument: *instrument, position: *position })
    }
}

impl Positions {
    /// Opens the account of a principal. To be called in the order in which owners get their numbers.
    pub fn add_owner(&mut self, owner: OwnerId, firm: &str) {
        let number = self.firms.iter().position(|known| &**known == firm).unwrap_or(self.firms.len());
        if number == self.firms.len() {
            self.firms.push(firm.into());
        }
        self.firm_of.insert(owner, u32::try_from(number).unwrap_or(u32::MAX));
    }

    /// Takes what the venue reports, of whoever: every trade moves the last price. `before` is what was open of the order until now;
    /// of an order that is new ([`ExecutionKind::New`]) only the limit counts.
    pub fn apply(&mut self, execution: &Execution, before: OpenPart) {
        if let ExecutionKind::Fill { price, .. } = execution.kind {
            self.marks.set(execution.instrument, price);
        }
        let Some(firm) = self.firm_of.get(&execution.owner) else { return };
        let limit = match execution.kind {
            ExecutionKind::Replaced { price, .. } => Some(price),
            _ => before.limit,
        };
        let after = OpenPart { limit, leaves: execution.leaves };
        let before = match execution.kind {
            ExecutionKind::New => OpenPart { leaves: Quantity::ZERO, ..before },
            _ => before,
        };
        self.of_owners.entry(execution.owner).or_default().apply(execution, before, after);
        self.of_firms.entry(*firm).or_default().apply(execution, before, after);
    }

    /// Ends the trading day: results start at zero, positions are carried at the last trade price.
    pub fn end_day(&mut self) {
        let Self { of_owners, of_firms, marks, .. } = self;
        of_owners.values_mut().chain(of_firms.values_mut()).for_each(|account| account.end_day(marks));
    }

    /// The account of a principal; `None` before its first report.
    #[must_use]
    pub fn of_owner(&self, owner: OwnerId) -> Option<&Account> {
        self.of_owners.get(&owner)
    }

    /// The account of a principal's firm; `None` before the firm's first report.
    #[must_use]
    pub fn of_firm(&self, owner: OwnerId) -> Option<&Account> {
        self.of_firms.get(self.firm_of.get(&owner)?)
    }

    /// Price of an instrument's last trade, whoever made it.
    #[must_use]
    pub fn last_price(&self, instrument: InstrumentId) -> Option<Price> {
        self.marks.get(instrument)
    }

    /// Open orders at their limits and positions at the last trade prices, over all instruments, without signs, in 1e-18 of a currency unit; `None`
    /// if that is beyond any number.
    #[must_use]
    pub fn exposure(&self, account: &Account) -> Option<u128> {
        account.positions.iter().try_fold(0_u128, |sum, (instrument, position)| {
            sum.checked_add(position.exposure(self.last_price(*instrument))?)
        })
    }

    /// Realised and unrealised result of the day over all instruments, in 1e-18 of a currency unit; `None` if that is beyond any number.
    #[must_use]
    pub fn result(&self, account: &Account) -> Option<i128> {
        account.positions.iter().try_fold(0_i128, |sum, (instrument, position)| {
            sum.checked_add(position.result(self.last_price(*instrument))?)
        })
    }

    /// Last trade prices, by instrument.
    pub fn marks(&self) -> impl Iterator<Item = (InstrumentId, Price)> {
        self.marks.iter()
    }

    /// What every owner holds and has open, by owner and instrument.
    pub fn owners(&self) -> impl Iterator<Item = (OwnerId, u32, impl Iterator<Item = Row>)> {
        self.of_owners.iter().map(|(owner, account)| (*owner, account.open_orders, account.rows()))
    }

    /// What every firm holds and has open, in the order in which firms came, and by instrument.
    pub fn firms(&self) -> impl Iterator<Item = (&str, u32, impl Iterator<Item = Row>)> {
        self.of_firms.iter().filter_map(|(number, account)| {
            let name = self.firms.get(*number as usize)?;
            Some((&**name, account.open_orders, account.rows()))
        })
    }

    /// Takes over other numbers of instruments; what has none any more is forgotten.
    pub(super) fn renumber(&mut self, moved: impl Fn(InstrumentId) -> Option<InstrumentId>) {
        let before = std::mem::take(&mut self.marks);
        for (instrument, price) in before.iter() {
            if let Some(instrument) = moved(instrument) {
                self.marks.set(instrument, price);
            }
        }
        for account in self.of_owners.values_mut().chain(self.of_firms.values_mut()) {
            account.positions = in_order(
                std::mem::take(&mut account.positions)
                    .into_iter()
                    .filter_map(|(instrument, position)| Some((moved(instrument)?, position))),
            );
        }
    }

    /// Puts back a last trade price of a snapshot.
    pub fn restore_mark(&mut self, instrument: InstrumentId, price: Price) {
        self.marks.set(instrument, price);
    }

    /// Puts back an owner's account of a snapshot, after [`Positions::add_owner`].
    pub fn restore_owner(&mut self, owner: OwnerId, open_orders: u32, rows: impl IntoIterator<Item = Row>) {
        self.of_owners.insert(owner, Account::restored(open_orders, rows));
    }

    /// Puts back a firm's account of a snapshot, after [`Positions::add_owner`] of its principals; whether one of them is of this firm.
    #[must_use]
    pub fn restore_firm(
        &mut self,
        firm: &str,
        open_orders: u32,
        rows: impl IntoIterator<Item = Row>,
    ) -> bool {
        let number = self.firms.iter().position(|known| &**known == firm);
        let Some(number) = number.and_then(|number| u32::try_from(number).ok()) else { return false };
        self.of_firms.insert(number, Account::restored(open_orders, rows));
        true
    }

    /// Appends all of it to what is digested: last prices, accounts of owners, accounts of firms. Numbers are little-endian, in front of each list
    /// is its length; 4 bytes for an owner, an instrument or a count, 8 for a price, 16 for any other, 1 for [`Position::is_beyond`].
    pub(super) fn digest_into(&self, bytes: &mut Vec<u8>) {
        let count = |bytes: &mut Vec<u8>, count: usize| {
            bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        };
        count(bytes, self.marks.iter().count());
        for (instrument, price) in self.marks.iter() {
            bytes.extend(instrument.0.to_le_bytes());
            bytes.extend(price.nanos().to_le_bytes());
        }
        let owners = self.of_owners.iter().map(|(owner, account)| (owner.0, account));
        let firms = self.of_firms.iter().map(|(firm, account)| (*firm, account));
        for (length, accounts) in [
            (self.of_owners.len(), &mut owners.into_iter() as &mut dyn Iterator<Item = (u32, &Account)>),
            (self.of_firms.len(), &mut firms.into_iter()),
        ] {
            count(bytes, length);
            for (number, account) in accounts {
                bytes.extend(number.to_le_bytes());
                bytes.extend(account.open_orders.to_le_bytes());
                count(bytes, account.positions.len());
                for (instrument, position) in &account.positions {
                    bytes.extend(instrument.0.to_le_bytes());
                    digest_position(bytes, position);
                }
            }
        }
    }
}

impl Account {
    fn restored(open_orders: u32, rows: impl IntoIterator<Item = Row>) -> Self {
        Self { open_orders, positions: in_order(rows.into_iter().map(|row| (row.instrument, row.position))) }
    }
}

/// Rows in the order of their instruments, one of each: the last.
fn in_order(rows: impl Iterator<Item = (InstrumentId, Position)>) -> Vec<(InstrumentId, Position)> {
    rows.collect::<BTreeMap<_, _>>().into_iter().collect()
}

fn digest_position(bytes: &mut Vec<u8>, position: &Position) {
    let Position { net, cost, realised, is_beyond, .. } = position;
    for amount in [net, cost, realised] {
        bytes.extend(amount.to_le_bytes());
    }
    for side in [Side::Buy, Side::Sell] {
        let open = position.open(side);
        bytes.extend(open.quantity.to_le_bytes());
        bytes.extend(open.value.to_le_bytes());
    }
    bytes.push(u8::from(*is_beyond));
}

#[cfg(test)]
#[path = "positions_tests.rs"]
mod tests;
