//! The whole server from outside: real certificates, real sockets, real files, and the sealed log read back.
//!
//! Each file holds the specification of one door or one stage. [`harness`] owns the throw-away PKI, the server in
//! this process and a client that can send any bytes.

mod harness;

mod door;
mod entitlement;
mod messages;
mod orders;
