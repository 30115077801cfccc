//! `sealfeed audit verify DIR`, or `--bundle FILE`: the verdict, what led to it, and what was not checked.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use sealfeed_audit::tool::{Asked, AskedBundle, verify_and_print, verify_bundle_and_print};

/// Arguments of `audit verify`. Anchors come from outside the log; without one the verdict is UNANCHORED.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 VERIFIED, 1 RECOVERED, 20 TAMPERED, 21 TRUNCATED, 22 CORRUPT, 23 UNANCHORED, \
    24 FORK, 25 EPOCH GAP, 26 UNCLEAN; 2 usage, 66 no such log or bundle, 74 cannot be read."
)]
pub(super) struct VerifyArgs {
    /// The log's directory.
    #[arg(required_unless_present = "bundle")]
    directory: Option<PathBuf>,
    /// Verify this bundle, made by `audit prove`, instead of a log.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["directory", "anchor", "receipt", "k0", "expect_size", "from_checkpoint", "threads"])]
    bundle: Option<PathBuf>,
    /// With --bundle: public key of a witness that must have cosigned, or a file that holds it; may be given several times.
    #[arg(long, value_name = "KEY|FILE", requires = "bundle")]
    witness: Vec<String>,
    /// Public key of the log: its text, or a file that holds it (log.pub).
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// A checkpoint kept elsewhere (a signed note); may be given several times.
    #[arg(long, value_name = "FILE")]
    anchor: Vec<PathBuf>,
    /// A client's receipt: a file with its JSON, one a line; may be given several times.
    #[arg(long, value_name = "FILE")]
    receipt: Vec<PathBuf>,
    /// The first epoch key, from compliance's safe (k0.hex): every seal is checked.
    #[arg(long, value_name = "FILE")]
    k0: Option<PathBuf>,
    /// The log must have at least this many entries.
    #[arg(long, value_name = "N")]
    expect_size: Option<u64>,
    /// A checkpoint kept elsewhere (a signed note) to start from: only segments from the one that holds its size are checked.
    #[arg(long, value_name = "FILE")]
    from_checkpoint: Option<PathBuf>,
    /// The tape's directory: that it reaches every link in the log, and that it is what they say.
    #[arg(long, value_name = "DIRECTORY")]
    tape: Option<PathBuf>,
    /// Threads; by default as many as there are processors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &VerifyArgs) -> ExitCode {
    if let Some(bundle) = &arguments.bundle {
        let (key, witnesses) = (arguments.key.clone(), arguments.witness.clone());
        let asked = AskedBundle { bundle: bundle.clone(), key, witnesses, json: arguments.json };
        return ExitCode::from(verify_bundle_and_print("sealfeed", &asked));
    }
    let asked = Asked {
        directory: arguments.directory.clone().unwrap_or_default(),
        key: arguments.key.clone(),
        anchors: arguments.anchor.clone(),
        receipts: arguments.receipt.clone(),
        k0: arguments.k0.clone(),
        expect_size: arguments.expect_size,
        from_checkpoint: arguments.from_checkpoint.clone(),
        tape: arguments.tape.clone(),
        threads: arguments.threads,
        json: arguments.json,
    };
    ExitCode::from(verify_and_print("sealfeed", &asked))
}
