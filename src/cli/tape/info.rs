//! `sealfeed tape info DIR`: epochs, times, events of each symbol.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use sealfeed_audit::follow::Follower;
use serde_json::{Value, json};

use crate::cli::audit::last_checkpoint;
use crate::clock::format_utc;
use crate::feed::tape::{Item, Position, Reader};
use crate::types::{Epoch, UnixNanos};

/// Arguments of `tape info`.
#[derive(Debug, Args)]
pub(super) struct InfoArgs {
    /// The tape's directory.
    directory: PathBuf,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// One epoch, as far as it is on the tape.
struct Run {
    epoch: Epoch,
    first: u64,
    next: u64,
    began: UnixNanos,
    last: UnixNanos,
    has_ended: bool,
    symbols: BTreeMap<String, u64>,
}

pub(super) fn run(arguments: &InfoArgs) -> anyhow::Result<ExitCode> {
    let directory = &arguments.directory;
    let unreadable = || format!("cannot read the tape in {directory:?}");
    let checkpointed = last_checkpoint(directory);
    let segments = Follower::segments(directory).with_context(unreadable)?;
    let mut reader = Reader::open(directory, Position::First).with_context(unreadable)?;
    let mut runs: Vec<Run> = Vec::new();
    while let Some(item) = reader.next().with_context(unreadable)? {
        match item {
            Item::Keyframe(keyframe) => runs.push(Run {
                epoch: keyframe.epoch,
                first: keyframe.next,
                next: keyframe.next,
                began: keyframe.ts_out,
                last: keyframe.ts_out,
                has_ended: false,
                symbols: keyframe.instruments.iter().map(|one| (one.symbol.to_string(), 0)).collect(),
            }),
            Item::Event(taped) => {
                let instruments = reader.instruments().context("the tape has no instruments")?;
                let symbol = instruments.by_id(taped.event.instrument).map(|one| one.symbol.to_string());
                let Some(run) = runs.last_mut() else { continue };
                (run.next, run.last, run.has_ended) = (taped.number + 1, taped.ts_out, false);
                *run.symbols.entry(symbol.unwrap_or_default()).or_default() += 1;
            }
            Item::End => {
                if let Some(run) = runs.last_mut() {
                    run.has_ended = true;
                }
            }
        }
    }
    let entries = reader.entries();
    if arguments.json {
        anstream::println!("{}", to_json(&runs, &segments, entries));
    } else {
        print(&runs, &segments, entries);
    }
    if entries < checkpointed {
        anstream::eprintln!(
            "sealfeed: error: {directory:?} can be read up to entry {entries}, its last checkpoint covers {checkpointed}: run `sealfeed audit verify` on it"
        );
        return Ok(ExitCode::from(74));
    }
    Ok(ExitCode::SUCCESS)
}

fn to_json(runs: &[Run], segments: &[u64], entries: u64) -> Value {
    let runs: Vec<Value> = runs
        .iter()
        .map(|run| {
            json!({
                "epoch": run.epoch.to_string(),
                "first_event": run.first,
                "events": run.next - run.first,
                "from": format_utc(run.began),
                "until": format_utc(run.last),
                "ended": run.has_ended,
                "symbols": run.symbols,
            })
        })
        .collect();
    json!({"entries": entries, "segments": segments.len(), "epochs": runs})
}

fn print(runs: &[Run], segments: &[u64], entries: u64) {
    anstream::println!("{entries} entries in {} segments, {} epochs", segments.len(), runs.len());
    for run in runs {
        let end = if run.has_ended { "ended well" } else { "broken off, or still at work" };
        anstream::println!(
            "epoch {}: {} events from number {}, {} to {}, {end}",
            run.epoch,
            run.next - run.first,
            run.first,
            format_utc(run.began),
            format_utc(run.last)
        );
        for (symbol, events) in &run.symbols {
            anstream::println!("  {symbol:16} {events} events");
        }
    }
}
