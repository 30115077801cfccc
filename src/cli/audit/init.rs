//! `sealfeed audit init DIR`: makes a log before any server runs, so that its secret never has to lie on the server.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use sealfeed_audit::{ESCROW_K0, ESCROW_KEY, escrow_fingerprint, hex};

use crate::config::LogConfig;
use crate::journal;

/// Arguments of `audit init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The log's directory: `log.directory` of the server's configuration.
    directory: PathBuf,
    /// Where `log.pub` and `k0.hex` go: a medium that leaves this machine. They are written before there is a log.
    #[arg(long, value_name = "DIR")]
    escrow: PathBuf,
    /// Name of the log in its checkpoints, such as feed.acme.example/prod: `log.origin` of the configuration. Fixed for ever.
    #[arg(long, value_name = "NAME")]
    origin: String,
    /// Bytes of one segment file, 1 MiB to 1 GiB.
    #[arg(long, default_value_t = 256 << 20, value_parser = clap::value_parser!(u64).range(1 << 20..=1 << 30))]
    segment_bytes: u64,
}

pub(super) fn run(arguments: &InitArgs) -> anyhow::Result<ExitCode> {
    let mut config = LogConfig::new(&arguments.directory, &arguments.origin);
    config.escrow = Some(arguments.escrow.clone());
    config.segment_bytes = arguments.segment_bytes;
    let made = journal::make(&config, b"").context("no log was made")?;
    anstream::println!("log          {}", hex(&made.log_id));
    anstream::println!("public key   {}", made.public_key);
    anstream::println!(
        "escrow       {} (fingerprint of K_0, as the first entry states it)",
        hex(&escrow_fingerprint(&made.k0))
    );
    anstream::println!();
    anstream::println!("In {:?}:", arguments.escrow);
    anstream::println!(
        "  {ESCROW_KEY:8} give it to whoever verifies the log; keep a copy where the log cannot be changed"
    );
    anstream::println!(
        "  {ESCROW_K0:8} the secret that proves nothing old was rewritten: into compliance's safe, and off this machine"
    );
    Ok(ExitCode::SUCCESS)
}
