//! Market data on its way out: books, streams with their sequence numbers, and the queues towards the readers.
//!
//! In come [`MarketEvent`](crate::types::MarketEvent)s from sources and from the venue; out go [`Publication`]s, each encoded once
//! whoever reads it. [`Feed`] belongs to the pipeline's thread and is told the time; [`Fanout`] belongs to the thread that
//! releases publications when what they depend on is durable, frames each once, and puts it into the [`Inbox`] of every shard
//! that has a reader. There it goes into the [`StreamLog`] that all readers of the shard share. The feed knows readers by
//! number, not sessions.
//!
//! Memory: an instrument has at most [`STREAMS_PER_INSTRUMENT`] streams, and those that nobody ever read take none; a book is as
//! large as its source keeps it; an open event is cut at [`EVENT_RECORDS_MAX`] records; what is kept for resumption is bounded
//! by [`RingBounds`]; inboxes and logs are bounded in bytes, and a reader who lags behind a log is closed with 4001.

mod bars;
pub mod book;
mod delivered;
mod depth;
mod encoding;
mod ending;
mod fanout;
mod frame;
mod inbox;
mod kind;
mod log;
mod market;
mod orders;
mod publisher;
pub mod records;
mod ring;
mod stream;
pub mod tape;
mod ticket;

pub use book::{Book, Changes};
pub use delivered::Delivered;
pub use encoding::Encoding;
pub use ending::Ending;
pub use fanout::Fanout;
pub use frame::{FRAME_HEADER_BYTES_MAX, FrameKind, Joiner, push_frame, whole_frames};
pub use inbox::{Delivery, Inbox, Inboxes, Item, ReaderId, Terms};
pub use log::{CHUNK_BYTES, Cursor, Run, StreamLog};
pub use market::EVENT_RECORDS_MAX;
pub use orders::{OrderSnapshot, Orders, Part};
pub use publisher::{Feed, FeedOptions};
pub use ring::{Missed, Ring, RingBounds, RingBudget};
pub use stream::{Publication, STREAMS_PER_INSTRUMENT, StreamId, StreamRequest, Subscribed};
pub use ticket::Ticket;

#[cfg(test)]
mod channel_tests;
#[cfg(test)]
mod client;
#[cfg(test)]
mod indication_tests;
#[cfg(test)]
mod orders_tests;
#[cfg(test)]
mod tests;
