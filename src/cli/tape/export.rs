//! `sealfeed tape export DIR -o FILE.dbn.zst`: a plain DBN file that Databento's own decoders read.
//!
//! Two passes, because the header of a DBN file names the symbols that follow. The file has its name only once it is whole.

use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::cli::audit::{last_checkpoint, parse_time};
use crate::feed::Feed;
use crate::feed::tape::{Contents, Exported, Exporter, Item, Keyframe, Part, Position, Reader, Taped};
use crate::types::{Instrument, Instruments, MarketDepth, MarketEvent, MarketEventKind, Symbol, UnixNanos};

/// Level of zstd of the file: what Databento's own files have.
const COMPRESSION_LEVEL: i32 = 3;
/// Heartbeats of a feed that nobody reads.
const NO_HEARTBEAT_NS: u64 = u64::MAX;

/// Arguments of `tape export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The tape's directory.
    directory: PathBuf,
    /// The file, which must not exist yet.
    #[arg(short, long, value_name = "FILE.dbn.zst")]
    output: PathBuf,
    /// Only this symbol; may be given several times.
    #[arg(long, value_name = "SYMBOL")]
    symbol: Vec<Symbol>,
    /// What was published from this time on: RFC 3339, or nanoseconds since 1970. The books as they stood come first.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    from: Option<u64>,
    /// What was published before this time.
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    until: Option<u64>,
}

pub(super) fn run(arguments: &ExportArgs) -> anyhow::Result<ExitCode> {
    let output = &arguments.output;
    if output.exists() {
        bail!("{output:?} exists already");
    }
    // Before the blocks: a tape whose writer is at work has at least those of its last checkpoint then.
    let checkpointed = last_checkpoint(&arguments.directory);
    let mut survey =
        Survey { wanted: &arguments.symbol, seen: HashSet::new(), contents: Contents::default() };
    let until = arguments.until.map_or(UnixNanos(u64::MAX), UnixNanos);
    let read = walk(arguments, until, &mut survey)?;
    if let Some(read) = read.filter(|read| *read < checkpointed) {
        bail!(
            "{:?} can be read up to entry {read}, its last checkpoint covers {checkpointed}: run `sealfeed audit verify` on it",
            arguments.directory
        );
    }
    if let Some(missing) = arguments.symbol.iter().find(|symbol| !survey.seen.contains(symbol)) {
        bail!("there is nothing of {missing} on this tape in that time");
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let refused = || format!("cannot write {output:?}");
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(refused)?;
    let mut packer = zstd::stream::write::Encoder::new(BufWriter::new(&mut file), COMPRESSION_LEVEL)?;
    packer.include_checksum(true)?;
    let exporter = Exporter::new(&mut packer, &survey.contents)?;
    let mut writing = Writing { exporter, written: HashSet::new() };
    // What came in meanwhile is not what the header says.
    walk(arguments, UnixNanos(survey.contents.last.0.saturating_add(1)), &mut writing)?;
    let exported = writing.exporter.finish()?;
    packer.finish().with_context(refused)?.flush().with_context(refused)?;
    file.as_file().sync_all().with_context(refused)?;
    // Never over a file that came in between.
    file.persist_noclobber(output).with_context(refused)?;
    say(output, &exported);
    Ok(ExitCode::SUCCESS)
}

fn say(output: &Path, exported: &Exported) {
    let Exported { records, snapshots, sizes_undefined, left_out } = *exported;
    anstream::eprintln!(
        "sealfeed: {records} records in {output:?}, {snapshots} of them books at the beginning"
    );
    if sizes_undefined > 0 {
        anstream::eprintln!(
            "sealfeed: {sizes_undefined} sizes are undefined: DBN counts up to 4294967294 of the smallest quantity, the tape has them exactly"
        );
    }
    if left_out > 0 {
        anstream::eprintln!("sealfeed: {left_out} events were left out: DBN has no record for them");
    }
}

/// What is done with what is read.
trait Pass {
    /// The selection, or a run in it, begins.
    fn begins(&mut self, start: &Start<'_>) -> anyhow::Result<()>;
    /// One event of the selected time.
    fn event(&mut self, instrument: &Instrument, taped: &Taped) -> anyhow::Result<()>;
}

/// The books as they stand where the selection, or a run in it, begins.
struct Start<'a> {
    instruments: &'a Instruments,
    books: &'a [MarketEvent],
    ts_out: UnixNanos,
}

/// Shows a pass the selected part of the tape. The entries of its log, where it was read to its end.
fn walk(arguments: &ExportArgs, until: UnixNanos, pass: &mut impl Pass) -> anyhow::Result<Option<u64>> {
    let from = arguments.from.map(UnixNanos);
    let position = from.map_or(Position::First, Position::Time);
    let directory = &arguments.directory;
    let unreadable = || format!("cannot read the tape in {directory:?}");
    let mut reader = Reader::open(directory, position).with_context(unreadable)?;
    // Until the selection begins, a feed is kept up to date: its books come first.
    let mut before: Option<(Feed, UnixNanos)> = None;
    let (mut has_begun, mut is_whole) = (false, true);
    while let Some(item) = reader.next().with_context(unreadable)? {
        match item {
            Item::Keyframe(keyframe) if keyframe.ts_out >= until => {
                is_whole = false;
                break;
            }
            Item::Keyframe(keyframe) if has_begun || from.is_none_or(|from| keyframe.ts_out >= from) => {
                has_begun = true;
                let Keyframe { instruments, events, ts_out, .. } = &*keyframe;
                pass.begins(&Start { instruments, books: events, ts_out: *ts_out })?;
            }
            Item::Keyframe(keyframe) => before = Some((keyframe.feed(NO_HEARTBEAT_NS)?, keyframe.ts_out)),
            Item::Event(taped) if taped.ts_out >= until => {
                is_whole = false;
                break;
            }
            Item::Event(taped) => {
                let instruments = reader.instruments().context("the tape has no instruments")?;
                if let Some((feed, ts_out)) = &mut before {
                    let is_before = from.is_some_and(|from| taped.ts_out < from);
                    // A book is whole only between events.
                    let books = if is_before { None } else { feed.books() };
                    let Some(books) = books else {
                        feed.apply(&taped.event, taped.ts_out, &mut Vec::new());
                        *ts_out = taped.ts_out;
                        continue;
                    };
                    pass.begins(&Start { instruments, books: &books, ts_out: *ts_out })?;
                    (before, has_begun) = (None, true);
                }
                if let Some(instrument) = instruments.by_id(taped.event.instrument) {
                    pass.event(instrument, &taped)?;
                }
            }
            Item::End => {}
        }
    }
    if !has_begun
        && let Some((feed, ts_out)) = &before
        && let (Some(books), Some(instruments)) = (feed.books(), reader.instruments())
    {
        // Nothing happened since: the books are all there is.
        pass.begins(&Start { instruments, books: &books, ts_out: *ts_out })?;
    }
    Ok(is_whole.then(|| reader.entries()))
}

/// The first pass: which symbols, and from when to when.
struct Survey<'a> {
    wanted: &'a [Symbol],
    seen: HashSet<Symbol>,
    contents: Contents,
}

impl Survey<'_> {
    fn learn(&mut self, instrument: &Instrument, ts_out: UnixNanos) {
        if !self.wanted.is_empty() && !self.wanted.contains(&instrument.symbol) {
            return;
        }
        let contents = &mut self.contents;
        if self.seen.insert(instrument.symbol) {
            contents.symbols.push((instrument.symbol, instrument.depth));
        }
        if contents.first == UnixNanos::default() {
            contents.first = ts_out;
        }
        contents.last = contents.last.max(ts_out);
    }
}

impl Pass for Survey<'_> {
    fn begins(&mut self, keyframe: &Start<'_>) -> anyhow::Result<()> {
        for event in keyframe.books {
            if let Some(instrument) = keyframe.instruments.by_id(event.instrument) {
                self.learn(instrument, keyframe.ts_out);
            }
        }
        Ok(())
    }

    fn event(&mut self, instrument: &Instrument, taped: &Taped) -> anyhow::Result<()> {
        self.learn(instrument, taped.ts_out);
        Ok(())
    }
}

/// The second pass: the records.
struct Writing<W: Write> {
    exporter: Exporter<W>,
    /// Symbols that had records before a run began: their books end with the run before.
    written: HashSet<Symbol>,
}

impl<W: Write> Pass for Writing<W> {
    fn begins(&mut self, start: &Start<'_>) -> anyhow::Result<()> {
        let Start { instruments, books, ts_out } = *start;
        for instrument in instruments.iter().filter(|one| self.written.contains(&one.symbol)) {
            if instrument.depth != MarketDepth::Trades {
                let kind = MarketEventKind::Clear;
                let clear = MarketEvent {
                    instrument: instrument.id,
                    ts_event: ts_out,
                    ts_recv: ts_out,
                    last: true,
                    kind,
                };
                self.exporter.event(instrument, &clear, ts_out, Part::Live)?;
            }
        }
        for event in books {
            if let Some(instrument) = instruments.by_id(event.instrument) {
                self.written.insert(instrument.symbol);
                self.exporter.event(instrument, event, ts_out, Part::Snapshot)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, instrument: &Instrument, taped: &Taped) -> anyhow::Result<()> {
        self.written.insert(instrument.symbol);
        Ok(self.exporter.event(instrument, &taped.event, taped.ts_out, Part::Live)?)
    }
}
