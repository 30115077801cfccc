//! Says what the bytes of a log prove.
