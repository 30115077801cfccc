//! One order, proven to an outsider: an archive with every entry of its life, a proof for each, and what ties them to the log.
//!
//! In: a log's folder and an order ([`make`]), or the bytes of a bundle and a public key ([`check`]). A bundle is checked before it is
//! given away, by the same code that whoever receives it runs. `FORMAT.md` section 13 is its contract; `verify_bundle.py` goes into
//! it and shares no code with this. Limits: [`BUNDLE_BYTES_MAX`], and no member grows beyond what an entry or a note may be.

mod around;
mod check;
mod events;
mod found;
pub(crate) mod fuzzing;
mod indexed;
mod life;
mod make;
mod parts;
mod public_key;
mod scan;
mod signature;
mod story;
mod tar;

pub use check::{Given, Proof, Report, check};
pub use life::{Life, LifeStep};
pub use make::{Made, MakeError, Wanted, make, make_wanted};
pub use signature::Signature;
pub use story::{Certificates, ClockWord, SessionStory, Step, Story};

/// Largest bundle that is made or read, bytes; tens of thousands of events of one order.
pub const BUNDLE_BYTES_MAX: usize = 64 << 20;

const README: &str = "README.txt";
const SUMS: &str = "SHA256SUMS";
const CHECKPOINT: &str = "checkpoint";
const BASICS: &str = "sealed_basics.py";
const PROGRAM: &str = "verify_bundle.py";

/// What a person is told who has nothing but the bundle.
const README_TEXT: &str = include_str!("README.txt");
/// The verifier that goes along, and what it needs.
const BASICS_TEXT: &str = include_str!("../../sealed_basics.py");
const PROGRAM_TEXT: &str = include_str!("../../verify_bundle.py");

fn entry_name(seq: u64) -> String {
    format!("entries/{seq:020}.entry")
}

fn proof_name(seq: u64) -> String {
    format!("proofs/{seq:020}.tlog-proof")
}

fn certificate_name(seq: u64, place: usize) -> String {
    format!("certificates/{seq:020}-{place}.der")
}
