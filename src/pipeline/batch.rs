//! What one turn of the pipeline brings about.

use std::sync::Arc;

use bytes::Bytes;
use sealfeed_wire::reply::OrderStatus;

use super::SessionHandle;
use super::answers::Envelope;
use crate::execute::Answer;
use crate::feed::{Ending, Orders, Publication, ReaderId, StreamId, Terms, Ticket};
use crate::types::Sequence;

/// Memory that an empty batch keeps.
const OUTPUTS_KEPT_MAX: usize = 4_096;

/// Outputs of one turn, in order, and the entry they all wait for.
#[derive(Default)]
pub(super) struct Batch {
    /// The last entry recorded in this turn: nothing below leaves before it is durable.
    pub(super) after: Option<u64>,
    /// What happens then.
    pub(super) outputs: Vec<Output>,
    /// Market data of the event at hand, before it is put among the outputs.
    pub(super) publications: Vec<Publication>,
}

impl Batch {
    /// Empties it, to be filled again.
    pub(super) fn clear(&mut self) {
        let Self { after, outputs, publications } = self;
        *after = None;
        outputs.clear();
        outputs.shrink_to(OUTPUTS_KEPT_MAX);
        publications.clear();
    }

    /// Notes that the outputs depend on this entry.
    pub(super) fn depends_on(&mut self, sequence: u64) {
        self.after = self.after.max(Some(sequence));
    }

    /// Sends an encoded message to one session.
    pub(super) fn send(&mut self, session: &SessionHandle, message: impl Into<Bytes>) {
        self.outputs.push(Output::Send { reader: session.number, message: message.into() });
    }

    /// Ends a session after everything before, with `notice` as its last message.
    pub(super) fn finish(&mut self, session: &SessionHandle, ending: Ending, notice: Option<Vec<u8>>) {
        let notice = notice.map(Bytes::from);
        self.outputs.push(Output::Finish { reader: session.number, ending, notice });
    }

    /// Moves the publications behind the outputs so far.
    pub(super) fn publish(&mut self) {
        self.outputs.extend(self.publications.drain(..).map(Output::Publish));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }
}

/// One thing that leaves the pipeline.
pub(super) enum Output {
    /// Market data to everybody who subscribed.
    Publish(Publication),
    /// From here on, a session gets a stream.
    Subscribe {
        /// Which stream.
        stream: StreamId,
        /// Number of its last message before.
        seq: Sequence,
        /// How it is read.
        terms: Terms,
        /// Whose.
        reader: ReaderId,
    },
    /// From here on, a session that was left behind gets a stream again.
    Rejoin {
        /// Which stream.
        stream: StreamId,
        /// Number of its last message before.
        seq: Sequence,
        /// Whose.
        reader: ReaderId,
    },
    /// All orders that rest in an instrument to one session, and what was published since.
    Orders {
        /// Which stream they begin.
        stream: StreamId,
        /// What is sent.
        orders: Orders,
        /// A notice behind it, if there is one.
        notice: Option<Bytes>,
        /// Whose.
        reader: ReaderId,
    },
    /// From here on, it does not.
    Unsubscribe {
        /// Which stream.
        stream: StreamId,
        /// Whose.
        reader: ReaderId,
    },
    /// One message to one session.
    Send {
        /// Whose.
        reader: ReaderId,
        /// The message.
        message: Bytes,
    },
    /// Framed messages to one session.
    Piece {
        /// Whose.
        reader: ReaderId,
        /// Whole frames.
        frames: Bytes,
        /// How many.
        messages: u64,
        /// Kept until they have left.
        ticket: Ticket,
    },
    /// The answer to an order; its receipt is known only when its entry is durable.
    Answer {
        /// Whose.
        reader: ReaderId,
        /// What is answered, and on which entry it stands.
        answer: Arc<Answer>,
        /// How: the request's name and the state of the limits.
        envelope: Envelope,
    },
    /// The answer to `order.status`, complete but for the receipt: the first answer may still wait for its own.
    Status {
        /// Whose.
        reader: ReaderId,
        /// What is said.
        status: Box<OrderStatus>,
        /// The first answer; `None` if the identifier was never seen.
        answer: Option<Arc<Answer>>,
    },
    /// After everything before it, the session ends.
    Finish {
        /// Whose.
        reader: ReaderId,
        /// How.
        ending: Ending,
        /// Its last message, if it gets one.
        notice: Option<Bytes>,
    },
    /// The session is gone, and does not get a stream any more.
    Forget {
        /// Which stream.
        stream: StreamId,
        /// Whose.
        reader: ReaderId,
    },
}
