//! sealfeed.
