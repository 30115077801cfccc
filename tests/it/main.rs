//! The whole server from outside: real certificates, real sockets, real files, and the sealed log read back.
//!
//! Each file holds the specification of one door or one stage. [`harness`] owns the throw-away PKI, the server in
//! this process and a client that can send any bytes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../support/data.rs"]
mod data;
mod harness;
mod market;
mod oracle;
mod outputs;
mod parquet;
mod process;
mod prove;
mod prove_signed;
mod query;

mod abuse;
mod alerts;
mod attacks;
mod bench;
mod burst;
mod channels;
mod clock;
mod crash;
mod delayed;
mod delivered;
mod disk;
mod doctor;
mod doctor_security;
mod door;
mod drop_copy;
mod entitlement;
mod execution;
mod feed;
mod floor;
mod index;
mod injection;
mod leaving;
mod limits;
mod limits_session;
mod log;
mod mbo;
mod messages;
mod metrics;
mod moved;
mod operators;
mod order_command;
mod order_limits;
mod order_ops;
mod order_terms;
mod orders;
mod orders_life;
mod outcomes;
mod paper;
mod policy_change;
mod policy_command;
mod proof;
mod proxy;
mod publish;
mod record;
mod recorded;
mod records;
mod restart;
mod restart_orders;
mod resume;
mod retention;
mod retold;
mod revocation;
mod risk;
mod secrets;
mod simultaneous;
mod slow;
mod stop;
mod tape;
mod tape_prune;
mod tokens;
mod torture;
mod upgrade;
mod usage;
mod whole;
mod witness;
