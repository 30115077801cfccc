//! Reads the entries of a log in order.
