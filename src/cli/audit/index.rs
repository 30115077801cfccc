//! `sealfeed audit index DIR`: builds the indexes of sealed segments.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sealfeed_audit::index::{Which, build_all};
use sealfeed_audit::storage::{DiskStorage, Storage};

use super::terms::terms;

/// Arguments of `audit index`.
#[derive(Debug, Args)]
#[command(
    after_help = "Indexes lie in DIR/index, are derived from the segments and prove nothing: they can be deleted at any time. `audit verify` \
    does not look at them; what a query finds through one is read and hashed again."
)]
pub(super) struct IndexArgs {
    /// The log's directory. A server may be at work on it: the open segment gets no index.
    directory: PathBuf,
    /// Build all of them anew, also those that are there and fit.
    #[arg(long)]
    rebuild: bool,
}

pub(super) fn run(arguments: &IndexArgs) -> anyhow::Result<ExitCode> {
    let directory = &arguments.directory;
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(directory));
    let which = if arguments.rebuild { Which::All } else { Which::Missing };
    let bar = progress_bar();
    let built = build_all(&storage, &terms(), which, &mut |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    let built = built.with_context(|| format!("cannot index the log in {directory:?}"))?;
    anstream::println!(
        "{} indexes built, {} were there, {} without a segment removed",
        built.built.len(),
        built.there,
        built.removed
    );
    for first in &built.without {
        anstream::println!("  the segment that starts with entry {first} has none: queries read it whole");
    }
    Ok(ExitCode::SUCCESS)
}

/// A bar on a terminal, nothing where standard error is none.
fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template(
        "indexing [{wide_bar}] {percent:>3} % {binary_bytes_per_sec} {eta} left",
    );
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
