//! `sealfeed audit store` and `restore`: sealed segments copied into an object store, and back.
//!
//! Objects are created and never replaced: a different one of the same name is an error. Every object is read back and compared by
//! SHA-256 before a `STORED` entry says that it is there; what was cut off is done again and finds its own objects.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::TryStreamExt as _;
use object_store::path::Path as Name;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, parse_url};
use sealfeed_audit::retention::{self, SealedFile, checkpoints_up_to, read_sealed};
use sealfeed_audit::storage::Storage;
use sealfeed_audit::{Stored, hex, sha256};
use url::Url;

use super::maintain;

/// Arguments of `audit store`.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    /// The log's directory.
    directory: PathBuf,
    /// Where the copies go: a URL, such as `file:///mnt/worm`. They are put in a folder of the log's name.
    #[arg(long, value_name = "URL")]
    to: Url,
}

/// Arguments of `audit restore`.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A new directory.
    directory: PathBuf,
    /// Where the copies are: the URL of the log's own folder.
    #[arg(long, value_name = "URL")]
    from: Url,
}

/// A folder in an object store.
struct Place {
    store: Box<dyn ObjectStore>,
    folder: Name,
}

impl Place {
    fn open(url: &Url) -> anyhow::Result<Self> {
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            bail!("{}: secrets do not belong into the URL, which goes into the log", url.scheme());
        }
        let (store, folder) = parse_url(url).with_context(|| format!("cannot use {url}"))?;
        Ok(Self { store, folder })
    }

    fn name(&self, name: &str) -> Name {
        name.split('/').fold(self.folder.clone(), |folder, part| folder.join(part))
    }

    /// Creates an object, or finds it there from an earlier time; it is read back and compared either way.
    async fn put(&self, name: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        let (object, expected) = (self.name(name), sha256(&bytes));
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&object, PutPayload::from(bytes), options).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot store {object}")),
        }
        let found = self.store.get(&object).await.with_context(|| format!("cannot read {object} back"))?;
        let found = found.bytes().await.with_context(|| format!("cannot read {object} back"))?;
        if sha256(&found) != expected {
            bail!("{object} is there and is another object; nothing was overwritten");
        }
        Ok(())
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}

pub(super) fn store(arguments: &StoreArgs) -> anyhow::Result<ExitCode> {
    let storage = maintain::storage(&arguments.directory);
    if retention::is_at_work(&storage)? {
        bail!("a server is at work on the log: stop it first");
    }
    let mut copies = Vec::new();
    let result = block_on(copy_all(&storage, &arguments.to, &mut copies));
    // What is there is recorded even if what follows failed.
    if !copies.is_empty() {
        let options = maintain::options(&storage, "store")?;
        retention::record_stored(&storage, options, &copies)?;
    }
    for copy in &copies {
        anstream::println!(
            "stored entries {} to {}, SHA-256 {}",
            copy.first,
            copy.end - 1,
            hex(&copy.sha256)
        );
    }
    anstream::println!("{} segments were stored now", copies.len());
    result.map(|()| ExitCode::SUCCESS)
}

async fn copy_all(storage: &Arc<dyn Storage>, to: &Url, copies: &mut Vec<Stored>) -> anyhow::Result<()> {
    let place = Place::open(to)?;
    let base = format!("{}/", to.as_str().trim_end_matches('/'));
    let mut result = Ok(());
    for (first, end, before) in retention::sealed(storage)? {
        if before.iter().any(|copy| copy.end == end && copy.place.starts_with(&base)) {
            continue;
        }
        match copy_segment(storage, &place, first, &base).await {
            Ok(copy) => copies.push(copy),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    let Some(last) = copies.last() else { return result };
    let log = last.place.trim_start_matches(&base).to_owned();
    if let Err(error) = copy_evidence(storage, &place, &log, last.end).await {
        // Without it the segments alone do not verify: they are not stored yet.
        copies.clear();
        return Err(error);
    }
    result
}

async fn copy_segment(
    storage: &Arc<dyn Storage>,
    place: &Place,
    first: u64,
    base: &str,
) -> anyhow::Result<Stored> {
    let SealedFile { log, segment, seal, end, sha256 } = read_sealed(storage, first)?;
    place.put(&format!("{log}/{}", segment.0), segment.1).await?;
    place.put(&format!("{log}/{}", seal.0), seal.1).await?;
    Ok(Stored { first, end, sha256, place: format!("{base}{log}") })
}

/// What segments before `end` need beside themselves: their checkpoints, and what crashes tore off them.
async fn copy_evidence(storage: &Arc<dyn Storage>, place: &Place, log: &str, end: u64) -> anyhow::Result<()> {
    match storage.list("quarantine") {
        Ok(names) => {
            for name in names {
                let path = format!("quarantine/{name}");
                place.put(&format!("{log}/{path}"), read(storage, &path)?).await?;
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context("cannot list the quarantine"),
    }
    place.put(&format!("{log}/checkpoints-{end:020}"), checkpoints_up_to(storage, end)?).await
}

fn read(storage: &Arc<dyn Storage>, path: &str) -> anyhow::Result<Vec<u8>> {
    let file = storage.open(path, sealfeed_audit::storage::Access::Read)?;
    let mut bytes = vec![0; usize::try_from(file.length()?)?];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

pub(super) fn restore(arguments: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let directory = &arguments.directory;
    std::fs::create_dir(directory).with_context(|| format!("cannot make {directory:?}"))?;
    let count = block_on(fetch_all(&arguments.from, directory))?;
    anstream::println!("{count} files restored; nothing was checked: run `sealfeed audit verify` on it");
    Ok(ExitCode::SUCCESS)
}

async fn fetch_all(from: &Url, directory: &Path) -> anyhow::Result<usize> {
    let place = Place::open(from)?;
    let objects: Vec<_> = place.store.list(Some(&place.folder)).try_collect().await?;
    let names = objects.iter().filter_map(|object| {
        let parts: Vec<_> = object.location.prefix_match(&place.folder)?.collect();
        Some(parts.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/"))
    });
    let names: Vec<String> = names.collect();
    let latest = names.iter().filter(|name| name.starts_with("checkpoints-")).max().cloned();
    let mut count = 0;
    for name in &names {
        let target = match name.split_once('/') {
            Some(("segments" | "quarantine", file)) if is_plain(file) => name.clone(),
            None if Some(name) == latest.as_ref() => "checkpoints".to_owned(),
            _ => continue,
        };
        let bytes = place.store.get(&place.name(name)).await?.bytes().await?;
        let target = directory.join(target);
        std::fs::create_dir_all(target.parent().unwrap_or(directory))?;
        std::fs::write(&target, bytes).with_context(|| format!("cannot write {target:?}"))?;
        count += 1;
    }
    if count == 0 {
        bail!("there are no segments at {from}");
    }
    Ok(count)
}

/// Names come from elsewhere: they name files of a log's folder and nothing else.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && !name.starts_with('.')
}
