//! `sealfeed audit export DIR -o FOLDER`: entries as JSON lines with their raw bytes, an index, and the hash of every file.
//!
//! What is exported can be checked without us: `sha256sum -c SHA256SUMS`; the leaf hash of each entry is the SHA-256 of a zero byte and its
//! raw bytes (`audit/FORMAT.md`), and the checkpoint beside them is signed over all of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use sealfeed_audit::{hex, leaf_hash};
use serde_json::json;

use super::hashed::Hashed;
use super::plain;
use super::rows::{ENDS_HERE, Filter, Row, Symbols, harmless, open};

/// Arguments of `audit export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The log's directory.
    directory: PathBuf,
    /// A folder that does not exist yet.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    #[command(flatten)]
    filter: Filter,
}

pub(super) fn run(arguments: &ExportArgs) -> anyhow::Result<ExitCode> {
    arguments.filter.check()?;
    let folder = &arguments.output;
    if folder.exists() {
        bail!("{folder:?} exists already: an export goes into a folder of its own");
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
    let mut lines = create(folder, "entries.jsonl")?;
    let mut index = csv::Writer::from_writer(create(folder, "index.csv")?);
    index.write_record(["seq", "time", "kind", "session", "order", "principal", "leaf_hash"])?;
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let (mut symbols, mut first, mut last, mut count) = (Symbols::default(), None, None, 0u64);
    for entry in open(&arguments.directory)? {
        let row = Row::new(entry.context(ENDS_HERE)?);
        symbols.learn(&row);
        if !arguments.filter.passes(&row, &symbols) {
            continue;
        }
        let header = &row.entry.header;
        let bytes = row.entry.to_bytes();
        if leaf_hash(&bytes) != row.entry.hash {
            bail!("entry {} does not read back as it was written: {ENDS_HERE}", header.seq);
        }
        let line = json!({
            "seq": header.seq, "time": row.time(), "kind": row.kind, "event": row.fields,
            "hash": hex(&row.entry.hash), "raw": sealfeed_wire::hex::encode(&bytes),
        });
        writeln!(lines, "{}", plain(&line.to_string()))?;
        index.write_record([
            header.seq.to_string(),
            row.time(),
            row.kind.clone(),
            header.session.map(|session| hex(&session.id)).unwrap_or_default(),
            header.order.map(|order| order.id.to_string()).unwrap_or_default(),
            harmless(row.text("principal").unwrap_or_default()),
            hex(&row.entry.hash),
        ])?;
        *kinds.entry(row.kind).or_default() += 1;
        first.get_or_insert(header.seq);
        last = Some(header.seq);
        count += 1;
    }
    let index = index.into_inner().map_err(|error| anyhow::anyhow!("{}", error.error()))?;
    let mut sums = sum(lines, "entries.jsonl")? + &sum(index, "index.csv")?;
    let manifest = json!({
        "format": "sealfeed/v1 export", "entries": count, "first": first, "last": last, "kinds": kinds,
        "filter": format!("{:?}", arguments.filter),
    });
    sums += &write(folder, "manifest.json", format!("{manifest:#}\n").as_bytes())?;
    let checkpoint = last_checkpoint(&arguments.directory)?;
    sums += &write(folder, "checkpoint", checkpoint.as_bytes())?;
    fs::write(folder.join("SHA256SUMS"), &sums)?;
    let digest = hex(&sealfeed_audit::sha256(sums.as_bytes()));
    anstream::eprintln!("sealfeed: {count} entries in {folder:?}; SHA-256 of SHA256SUMS: {digest}");
    Ok(ExitCode::SUCCESS)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<String> {
    let mut file = create(folder, name)?;
    file.write_all(bytes)?;
    sum(file, name)
}

fn create(folder: &Path, name: &str) -> io::Result<Hashed> {
    Ok(Hashed::new(File::create(folder.join(name))?))
}

/// The line of a finished file that `sha256sum -c` reads.
fn sum(file: Hashed, name: &str) -> io::Result<String> {
    Ok(format!("{}  {name}\n", hex(&file.finish()?)))
}

/// The newest complete checkpoint of the log.
fn last_checkpoint(directory: &Path) -> anyhow::Result<String> {
    let text = fs::read(directory.join("checkpoints")).context("cannot read the checkpoints")?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let notes = text.split("\n\n").collect::<Vec<_>>();
    let pair = notes.chunks_exact(2).rfind(|pair| pair[1].starts_with('\u{2014}'));
    let Some([body, signatures]) = pair else { bail!("the log has no complete checkpoint") };
    Ok(format!("{}\n\n{}\n", body.trim_start_matches('\n'), signatures.trim_end_matches('\n')))
}
