//! `sealfeed demo`: everything at work, before the reader's eyes, with real certificates, sockets and files.
//!
//! One line a step: what was expected and what came. It exits 0 only if every step came out as expected.

mod attacks;
mod log;
mod market;
mod orders;
mod revocation;
mod setup;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use setup::Stage;
use steps::Steps;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Show this Databento file (MBO, MBP-1 or trades) as the market, beside the synthetic one that is traded.
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
    /// Leave certificates, configuration and log in this new directory.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(super) fn run(arguments: DemoArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(show(arguments))
}

async fn show(arguments: DemoArgs) -> anyhow::Result<ExitCode> {
    let mut steps = Steps::default();
    let stage = Stage::set(arguments.keep, arguments.source, &mut steps).await?;
    market::no_certificate(&stage, &mut steps).await?;
    market::watch(&stage, &mut steps).await?;
    let receipts = orders::trade(&stage, &mut steps).await?;
    attacks::attack(&stage, &mut steps).await?;
    revocation::revoke(&stage, &mut steps).await?;
    let place = stage.stop(&mut steps).await?;
    log::verify_and_damage(&place, &receipts, &mut steps)?;
    Ok(steps.finish(&place))
}
