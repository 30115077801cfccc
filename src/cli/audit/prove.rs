//! `sealfeed audit prove DIR --order ID -o bundle.tar`: one order, proven to somebody who has neither the log nor this program.
//!
//! By number it is found through the indexes there are; by the client's name, or without indexes, the log is read twice at most.
//! The bundle is made and checked in memory, written under another name and then given its own: there is a whole bundle that holds, or none.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use sealfeed_audit::bundle::{Made, MakeError, Wanted, make_wanted};
use sealfeed_audit::reader::{Entry, ReadError};
use sealfeed_audit::storage::{DiskStorage, Storage};
use sealfeed_audit::tool::{bundle_text, read_key};

use super::rows::Row;
use super::trace::has_ended;
use crate::telemetry;

/// Exit code where there is no such log or order.
const EXIT_NO_INPUT: u8 = 66;
/// Exit code where the output exists already or cannot be written.
const EXIT_CANNOT_CREATE: u8 = 73;
/// Exit code where the log cannot be read.
const EXIT_UNREADABLE: u8 = 74;
/// Exit code of an order that no checkpoint covers yet: the same command succeeds later.
const EXIT_TOO_RECENT: u8 = 75;

/// Arguments of `audit prove`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without indexes (`sealfeed audit index`) the log is read once, and the part of it around the order again; with them an order by its number takes \
    milliseconds. The bundle is the same either way. The bundle is checked before it is written; it is refused when the order's life has a gap or a proof does not hold. \
    Exit codes: 0 written; 1 refused; 2 usage; 66 no such log or order; 73 the output exists or cannot be written; 74 the log cannot be \
    read; 75 too recent: not under a checkpoint yet, try again in a second."
)]
pub(super) struct ProveArgs {
    /// The log's directory.
    directory: PathBuf,
    /// The order: the server's number, or the client's name.
    #[arg(long)]
    order: String,
    /// With a client's name that several principals used: whose.
    #[arg(long)]
    principal: Option<String>,
    /// Public key of the log: its text, or a file that holds it (log.pub). Without it the log's own word is taken for it.
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// The bundle, a file that does not exist yet.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(arguments: &ProveArgs) -> anyhow::Result<ExitCode> {
    let failed = |code: u8, what: &str| {
        anstream::eprintln!("sealfeed: error: {what}");
        Ok(ExitCode::from(code))
    };
    let key = match arguments.key.as_deref().map(read_key).transpose() {
        Ok(key) => key,
        Err(error) => return failed(2, &error.to_string()),
    };
    if arguments.output.symlink_metadata().is_ok() {
        return failed(
            EXIT_CANNOT_CREATE,
            &format!("{:?} exists already: nothing is overwritten", arguments.output),
        );
    }
    let mut names = Names::default();
    let mut is_first =
        |entry: &Entry| names.is_meant(entry, &arguments.order, arguments.principal.as_deref());
    // By its number an order is found even where its first entry was pruned, and then refused with the reason.
    let number = arguments.order.parse().ok().filter(|id: &u64| id.to_string() == arguments.order);
    let wanted = Wanted { number, is_first: Some(&mut is_first), has_ended: &has_ended };
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(&arguments.directory));
    let made = make_wanted(&storage, wanted, key);
    if let (Some(other), Some(owner)) = (names.other, names.owner) {
        bail!("{other} and {owner} both have an order {:?}: say whose with --principal", arguments.order);
    }
    let made = match made {
        Ok(made) => made,
        Err(MakeError::NoSuchOrder(_) | MakeError::NotFound) => {
            return failed(
                EXIT_NO_INPUT,
                &format!("the log has no order {:?}; {}", arguments.order, advice(EXIT_NO_INPUT)),
            );
        }
        Err(error) => {
            let code = exit_of(&error);
            return failed(code, &format!("{}; {}", telemetry::chain(&error), advice(code)));
        }
    };
    if let Err(error) = write(&arguments.output, &made.bytes) {
        return failed(EXIT_CANNOT_CREATE, &format!("{error:#}"));
    }
    tell(&arguments.output, &made);
    Ok(ExitCode::SUCCESS)
}

/// Whose the orders are that are called as the wanted one.
#[derive(Default)]
struct Names {
    owner: Option<String>,
    /// Somebody else who has one.
    other: Option<String>,
}

impl Names {
    /// Whether an order that begins with this entry is called so, by the principal if one is named.
    fn is_meant(&mut self, entry: &Entry, wanted: &str, principal: Option<&str>) -> bool {
        let row = Row::new(entry.clone());
        let is_called_so = row.body_field("cl_ord_id").as_deref() == Some(wanted);
        if !is_called_so || principal.is_some_and(|principal| !row.is_of_principal(principal)) {
            return false;
        }
        let owner = row.text("principal").unwrap_or("?").escape_debug().to_string();
        match &self.owner {
            Some(known) if *known != owner => self.other = Some(owner),
            // The same name again, on another trading day: the newest is meant.
            _ => self.owner = Some(owner),
        }
        true
    }
}

/// Writes the whole file under a name of its own beside the output, then gives it that name if nothing has it.
fn write(output: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write into {folder:?}"))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).context("cannot write the bundle")?;
    file.persist_noclobber(output).with_context(|| format!("cannot make {output:?}"))?;
    Ok(())
}

fn tell(output: &Path, made: &Made) {
    for line in bundle_text(&made.report).lines() {
        anstream::eprintln!("{line}");
    }
    if made.later > 0 {
        anstream::eprintln!(
            "sealfeed: {} later entries of the order are not under a checkpoint yet: repeat it in a second for a bundle with them",
            made.later
        );
    }
    anstream::eprintln!(
        "sealfeed: {output:?}, {} bytes; to check it: sealfeed-verify --bundle FILE --key log.pub, with the key from elsewhere",
        made.bytes.len()
    );
}

const fn read_exit(error: &ReadError) -> u8 {
    match error {
        ReadError::NoLog => EXIT_NO_INPUT,
        ReadError::Io { .. } => EXIT_UNREADABLE,
        ReadError::Segment { .. } | ReadError::Broken { .. } => 1,
    }
}

const fn exit_of(error: &MakeError) -> u8 {
    match error {
        MakeError::Read(read) => read_exit(read),
        MakeError::Io { .. } => EXIT_UNREADABLE,
        MakeError::NoSuchOrder(_) | MakeError::NotFound => EXIT_NO_INPUT,
        MakeError::TooRecent { .. } => EXIT_TOO_RECENT,
        MakeError::Node(_)
        | MakeError::Key
        | MakeError::NoCheckpoint
        | MakeError::Pruned { .. }
        | MakeError::Gap { .. }
        | MakeError::TooLarge(_)
        | MakeError::DoesNotHold(_) => 1,
    }
}

const fn advice(code: u8) -> &'static str {
    match code {
        EXIT_TOO_RECENT => {
            "try again in a second; where no server is at work on the log, start it once: it signs what a crash left unsigned"
        }
        EXIT_NO_INPUT => "`sealfeed audit report orders` lists the orders there are",
        EXIT_UNREADABLE => "nothing was written",
        _ => "nothing was written; run `sealfeed audit verify` on the log",
    }
}
