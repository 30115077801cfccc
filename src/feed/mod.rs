//! Market data on its way out: books, streams with their sequence numbers, and the queues towards the readers.
//!
//! In come [`MarketEvent`](crate::types::MarketEvent)s from sources and from the venue; out go [`Publication`]s, each encoded once
//! whoever reads it. [`Feed`] belongs to the pipeline's thread and is told the time; [`Fanout`] belongs to the thread that
//! releases publications when what they depend on is durable, and puts them into one [`OutboundQueue`] a reader. The feed
//! knows queues, not sessions.
//!
//! Memory: an instrument has at most [`STREAMS_PER_INSTRUMENT`] streams; a book is as large as its source keeps it; an open event
//! is cut at [`EVENT_RECORDS_MAX`] records; queues are bounded in bytes, and a reader whose queue overflows is closed with 4001.

pub mod book;
mod depth;
mod fanout;
mod market;
mod publisher;
mod queue;
mod stream;

pub use book::{Book, Changes};
pub use fanout::Fanout;
pub use market::EVENT_RECORDS_MAX;
pub use publisher::{Feed, FeedOptions};
pub use queue::{Ending, OutboundQueue, Overflow};
pub use stream::{Publication, STREAMS_PER_INSTRUMENT, StreamId, Subscribed};

#[cfg(test)]
mod client;
#[cfg(test)]
mod tests;
