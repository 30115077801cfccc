//! First answers to orders, remembered so that a repeated message gets the same one.
//!
//! A client order identifier is bound by its first final answer for the trading day (UTC), across sessions and runs of the server: what
//! binds it stands in the log, and a re-execution binds it again.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use sealfeed_audit::Receipt;

use crate::types::{ClientOrderId, Code, OrderId, OwnerId};

/// The first final answer to an order message.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The client's name for the message.
    pub client_order_id: ClientOrderId,
    /// The order it cancels or replaces, by the client's name; `None` for a new order.
    pub target: Option<ClientOrderId>,
    /// SHA-256 over operation and body: another body under the same name is refused.
    pub digest: [u8; 32],
    /// What was decided.
    pub outcome: Outcome,
    /// The entry it stands on.
    pub entry: u64,
    /// The proof of that entry, once it is durable.
    pub receipt: OnceLock<Receipt>,
}

/// A final decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The venue took the order, or its replacement: the message's name is a name of the order.
    Accepted(OrderId),
    /// The order is cancelled.
    Canceled(OrderId),
    /// So many orders are cancelled.
    MassCanceled(u32),
    /// It was refused for good.
    Refused(Code),
}

impl Outcome {
    /// The order that the message was about.
    #[must_use]
    pub const fn order(self) -> Option<OrderId> {
        match self {
            Self::Accepted(order) | Self::Canceled(order) => Some(order),
            Self::MassCanceled(_) | Self::Refused(_) => None,
        }
    }
}

/// All answers of the day.
#[derive(Debug, Default)]
pub struct Answers {
    by_name: HashMap<(OwnerId, ClientOrderId), Arc<Answer>>,
}

impl Answers {
    /// The answer that a name of this owner is bound by.
    #[must_use]
    pub fn find(&self, owner: OwnerId, name: ClientOrderId) -> Option<&Arc<Answer>> {
        self.by_name.get(&(owner, name))
    }

    /// The order that has this name among its own.
    #[must_use]
    pub fn order_named(&self, owner: OwnerId, name: ClientOrderId) -> Option<OrderId> {
        match self.find(owner, name)?.outcome {
            Outcome::Accepted(order) => Some(order),
            Outcome::Canceled(_) | Outcome::MassCanceled(_) | Outcome::Refused(_) => None,
        }
    }

    /// How many names are bound.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    /// Answers whose entries were not durable yet when they were looked at last.
    pub fn without_receipt(&self) -> impl Iterator<Item = &Arc<Answer>> {
        self.by_name.values().filter(|answer| answer.receipt.get().is_none())
    }

    pub(super) fn bind(&mut self, owner: OwnerId, answer: Answer) -> Arc<Answer> {
        let answer = Arc::new(answer);
        self.by_name.insert((owner, answer.client_order_id), Arc::clone(&answer));
        answer
    }

    /// Forgets every answer whose order `is_open` does not hold.
    pub(super) fn end_day(&mut self, is_open: impl Fn(OrderId) -> bool) {
        self.by_name.retain(|_, answer| matches!(answer.outcome, Outcome::Accepted(order) if is_open(order)));
    }

    /// All of them, in the order of owners and names.
    pub(super) fn sorted(&self) -> Vec<(OwnerId, &Arc<Answer>)> {
        let mut all: Vec<_> = self.by_name.iter().map(|((owner, _), answer)| (*owner, answer)).collect();
        all.sort_unstable_by(|(owner, one), (other, two)| {
            (owner, one.client_order_id.as_str()).cmp(&(other, two.client_order_id.as_str()))
        });
        all
    }
}
