//! What few connections have, and none for long: one pointer in those that have nothing of it.
//!
//! A connection that is quiet, or keeps up, has no commands that found the pipeline full, owes no answer, was left behind nowhere, and is
//! sent neither resting orders nor pieces of the tape (docs/adr/0047).

use std::collections::VecDeque;

use super::orders::PendingOrders;
use super::{Moment, Suspended, Ticket};
use crate::feed::StreamId;
use crate::pipeline::Command;
use crate::session::inbound::Owed;

/// All of it.
#[derive(Default)]
pub(super) struct Seldom(Option<Box<Rest>>);

#[derive(Default)]
struct Rest {
    /// Commands that found the pipeline's queue full, in their order: at most one of the client's and two of the end.
    commands: VecDeque<Command>,
    owed: Option<Owed>,
    /// Streams on which it was left behind: to be asked for when it takes messages again.
    suspended: Vec<Suspended>,
    /// Resting orders that it is sent in front of the streams that they begin.
    pending: PendingOrders,
    /// Of pieces that wait in the outbox.
    tickets: Vec<Ticket>,
}

impl Seldom {
    fn rest(&mut self) -> &mut Rest {
        self.0.get_or_insert_default()
    }

    /// Gives the memory back if nothing is in it.
    pub(super) fn settle(&mut self) {
        let is_empty = |rest: &Rest| {
            rest.commands.is_empty()
                && rest.owed.is_none()
                && rest.suspended.is_empty()
                && rest.pending.is_empty()
                && rest.tickets.is_empty()
        };
        if self.0.as_deref().is_some_and(is_empty) {
            self.0 = None;
        }
    }

    /// Whether a command waits for room in the pipeline's queue.
    pub(super) fn has_commands(&self) -> bool {
        self.0.as_ref().is_some_and(|rest| !rest.commands.is_empty())
    }

    /// Whether a command waits for the pipeline or an answer for the log.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(|rest| !rest.commands.is_empty() || rest.owed.is_some())
    }

    /// Takes the first command.
    pub(super) fn next_command(&mut self) -> Option<Command> {
        self.0.as_mut()?.commands.pop_front()
    }

    /// Puts a command back in front of the others.
    pub(super) fn put_back(&mut self, command: Command) {
        self.rest().commands.push_front(command);
    }

    /// Puts a command behind the others.
    pub(super) fn put(&mut self, command: Command) {
        self.rest().commands.push_back(command);
    }

    /// An answer waits for its entry.
    pub(super) fn owe(&mut self, owed: Owed) {
        self.rest().owed = Some(owed);
    }

    /// Takes the answer that waits, or lets it go.
    pub(super) fn take_owed(&mut self) -> Option<Owed> {
        self.0.as_mut()?.owed.take()
    }

    /// It was left behind.
    pub(super) fn suspend(&mut self, suspended: Suspended) {
        self.rest().suspended.push(suspended);
    }

    /// Takes all streams on which it was left behind.
    pub(super) fn take_suspended(&mut self) -> Vec<Suspended> {
        self.0.as_mut().map(|rest| std::mem::take(&mut rest.suspended)).unwrap_or_default()
    }

    /// A ticket of what waits in the outbox.
    pub(super) fn hold(&mut self, ticket: Ticket) {
        self.rest().tickets.push(ticket);
    }

    /// Gives tickets back: what they stand for has left, or never will.
    pub(super) fn clear_tickets(&mut self) {
        if let Some(rest) = &mut self.0 {
            rest.tickets.clear();
        }
    }

    /// Whether resting orders are on their way.
    pub(super) fn has_pending(&self) -> bool {
        self.0.as_ref().is_some_and(|rest| !rest.pending.is_empty())
    }

    /// Resting orders that are on their way, if there are any.
    pub(super) fn pending(&mut self) -> Option<&mut PendingOrders> {
        self.0.as_mut().map(|rest| &mut rest.pending)
    }

    /// The same, to put some in.
    pub(super) fn pending_or_default(&mut self) -> &mut PendingOrders {
        &mut self.rest().pending
    }

    /// Whether a stream waits for its snapshot.
    pub(super) fn holds(&self, stream: Option<StreamId>) -> bool {
        self.0.as_ref().is_some_and(|rest| rest.pending.holds(stream))
    }

    /// When the first of the snapshots is to have been taken.
    pub(super) fn pending_due_at(&self) -> Option<Moment> {
        self.0.as_ref()?.pending.due_at()
    }

    /// Appends the next piece of the first snapshot; how many messages that were.
    pub(super) fn next_pending(&mut self, plain: &mut Vec<u8>) -> u64 {
        self.0.as_mut().map_or(0, |rest| rest.pending.next(plain))
    }

    /// Lets all snapshots go.
    pub(super) fn clear_pending(&mut self) {
        if let Some(rest) = &mut self.0 {
            rest.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_has_no_more_holds_no_memory() {
        let mut seldom = Seldom::default();
        let suspended = Suspended { stream: StreamId::from_index(1), subscription: 2, left: 3 };
        seldom.suspend(suspended);
        seldom.settle();
        assert!(seldom.0.is_some(), "it is still needed");
        assert_eq!(seldom.take_suspended(), [suspended]);
        seldom.settle();
        assert!(seldom.0.is_none());
        assert!(!seldom.is_waiting() && !seldom.has_pending() && seldom.next_command().is_none());
        assert!(seldom.0.is_none(), "asking needs none");
    }
}
