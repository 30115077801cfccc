//! What must come next in the log, because an input that stands there brings it about.

use sealfeed_audit::{StateHash, kind};

use super::report::Content;
use crate::execute::{Answer, Engine};
use crate::journal::{Event, OrderTrail, SCHEMA};
use crate::types::{OrderId, OwnerId};

/// An output that must come next.
#[derive(Debug)]
pub struct Due {
    /// What it is.
    pub output: Output,
    /// Its place in the life of an order.
    pub trail: Trail,
    /// The answer that stands on it, where it is one: its entry is known when it stands in the log.
    pub answer: Option<(OwnerId, Box<Answer>)>,
}

/// Kinds of outputs.
#[derive(Debug)]
pub enum Output {
    /// An event.
    Event(Box<Event>),
    /// A digest of the state.
    State(StateHash),
}

/// Where an output's place in the life of its order is kept.
#[derive(Clone, Copy, Debug)]
pub enum Trail {
    /// It belongs to no order.
    None,
    /// With the order.
    Of(OrderId),
    /// Here: the venue refused the order.
    Own(OrderTrail),
}

impl Due {
    pub(super) fn event(event: impl Into<Event>, trail: Trail) -> Self {
        Self { output: Output::Event(Box::new(event.into())), trail, answer: None }
    }

    pub(super) const fn state(state: StateHash) -> Self {
        Self { output: Output::State(state), trail: Trail::None, answer: None }
    }

    /// As it must stand in the log; `None` if it cannot be encoded.
    pub(super) fn content(&self, trail: Option<OrderTrail>) -> Option<Content> {
        let (kind, schema, payload) = match &self.output {
            Output::Event(event) => (event.kind(), event.schema(), event.encode().ok()?),
            Output::State(state) => (kind::STATE_HASH, SCHEMA, state.to_payload()),
        };
        Some(Content { kind, schema, order: trail.map(|trail| trail.link()), payload })
    }

    /// Where the order's life stands before this.
    #[must_use]
    pub fn trail(&self, engine: &Engine) -> Option<OrderTrail> {
        match self.trail {
            Trail::None => None,
            Trail::Own(trail) => Some(trail),
            Trail::Of(id) => engine.order(id).map(|order| order.trail),
        }
    }

    /// Takes note that it stands in the log now, as entry `seq` with `trail` behind it.
    pub fn done(self, engine: &mut Engine, seq: u64, trail: Option<OrderTrail>) -> Option<(OwnerId, Answer)> {
        if let (Trail::Of(id), Some(trail)) = (self.trail, trail) {
            engine.keep_trail(id, trail);
        }
        self.answer.map(|(owner, answer)| (owner, Answer { entry: seq, ..*answer }))
    }
}
