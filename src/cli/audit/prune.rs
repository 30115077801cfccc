//! `sealfeed audit prune`: the beginning of a stopped server's log leaves, as far as policy, holds and seals allow.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use sealfeed_audit::retention::{self, Class, Plan, Policy};
use sealfeed_audit::verify::Anchors;
use sealfeed_audit::{Clock as _, SystemClock, hash_from_hex};

use super::maintain;
use crate::config::RetentionConfig;
use crate::journal::Event;

/// Arguments of `audit prune`.
#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// The server's configuration: it names the log and, under `[log.retention]`, how long it is kept.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The tape instead, as long as `[tape.retention]` says.
    #[arg(long)]
    tape: bool,
    /// Public key of the log, with --tape of the tape (log.pub), from elsewhere than the log: what does not verify with it does not leave.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The first epoch key (k0.hex): every seal is checked too.
    #[arg(long, value_name = "FILE")]
    k0: Option<PathBuf>,
    /// Say what would leave, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(arguments: &PruneArgs) -> anyhow::Result<ExitCode> {
    let (log, section) = if arguments.tape {
        (maintain::configured_tape(&arguments.config)?, "tape.retention")
    } else {
        (maintain::configured(&arguments.config)?, "log.retention")
    };
    let policy = policy(&log.retention, section)?;
    let storage = maintain::storage(&log.directory);
    if arguments.dry_run {
        print(&retention::plan(&storage, &policy, SystemClock.now().utc_ns)?);
        return Ok(ExitCode::SUCCESS);
    }
    let anchors = anchors(arguments)?;
    let options = maintain::options(&storage, "prune")?;
    let pruned = retention::prune(&storage, options, &policy, &anchors, &mut |_| Ok(()))?;
    if let Some(seq) = pruned.declared {
        anstream::println!("entry {seq} declares that the log begins at entry {} from now on", pruned.kept);
    }
    anstream::println!("{} segments left", pruned.removed.len());
    anstream::println!("  the segment that starts with entry {} stays: {}", pruned.kept, pruned.reason);
    Ok(ExitCode::SUCCESS)
}

fn print(plan: &Plan) {
    anstream::println!("{} segments may leave", plan.leaving.len());
    anstream::println!("  the segment that starts with entry {} stays: {}", plan.kept, plan.reason);
    super::hold::print(&plan.holds);
}

fn policy(config: &RetentionConfig, section: &str) -> anyhow::Result<Policy> {
    let mut classes = Vec::new();
    for class in &config.classes {
        let mut kinds = Vec::new();
        for name in &class.kinds {
            let Some((kind, _)) = Event::KINDS.iter().find(|(_, kind)| kind == name) else {
                bail!("{section}.class: there is no kind {name:?}");
            };
            kinds.push(*kind);
        }
        classes.push(Class { kinds, keep_ns: class.keep.0 });
    }
    Ok(Policy { default_keep_ns: config.keep.0, classes, require_stored: config.require_stored })
}

fn anchors(arguments: &PruneArgs) -> anyhow::Result<Anchors> {
    let read =
        |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("cannot read {path:?}"));
    let key = &arguments.key;
    let key = read(key)?.trim().parse().with_context(|| format!("{key:?} holds no public key of a log"))?;
    let k0 = match &arguments.k0 {
        Some(path) => {
            let k0 = hash_from_hex(read(path)?.trim());
            Some(k0.with_context(|| format!("{path:?} does not hold 64 hex digits"))?)
        }
        None => None,
    };
    Ok(Anchors { key: Some(key), k0, ..Anchors::default() })
}
