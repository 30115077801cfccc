//! The beginning of a log leaves: verified, declared, durable, under a checkpoint, and only then removed.
//!
//! A crash anywhere leaves a log in which either nothing happened or a `PRUNE` entry says what is to go; the next call goes on there.
//! What was declared was verified before, so that going on needs no verification, only that the tree is the one declared.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::survey::Survey;
use super::{Plan, Policy, Reason, RetentionError, header, is_sound, open, plan_of};
use crate::entry::Draft;
use crate::kind;
use crate::layout::Prune;
use crate::layout::{
    INDEX, LOCK, QUARANTINE, SEGMENTS, index_name, seal_path, segment_path, torn_segment_name,
};
use crate::log::Log;
use crate::options::Options;
use crate::segment::first_seq_of_name;
use crate::storage::{Storage, remove_if_there};
use crate::verify::{Anchors, verify_storage};

/// How often it is looked whether the checkpoint is there.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(1);

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// First entries of the segments that left now.
    pub removed: Vec<u64>,
    /// First entry kept.
    pub kept: u64,
    /// The `PRUNE` entry written now; `None` if nothing new was declared.
    pub declared: Option<u64>,
    /// Why no more leaves.
    pub reason: Reason,
}

/// Verifies the log with `anchors`, declares what may leave under `policy`, and removes it. First of all it finishes what an earlier call
/// declared and a crash kept from being removed.
///
/// `confirm` is called with the size of a checkpoint over the declaration, before anything is removed: where witnesses are in use it
/// waits for them. An error of it leaves everything where it is; the declaration stands, and the next call asks again.
///
/// # Errors
/// [`RetentionError`]; the verdict must be VERIFIED or RECOVERED, so `anchors` must hold something from outside the log.
pub fn prune(
    storage: &Arc<dyn Storage>,
    options: Options,
    policy: &Policy,
    anchors: &Anchors,
    confirm: &mut dyn FnMut(u64) -> Result<(), io::Error>,
) -> Result<Pruned, RetentionError> {
    let io = |what: &str| {
        let what = what.to_owned();
        move |source| RetentionError::Io { what, source }
    };
    if storage.is_locked(LOCK).map_err(io("look at the lock"))? {
        return Err(RetentionError::Locked);
    }
    let now_utc_ns = options.clock.now().utc_ns;
    let survey = Survey::of(storage)?;
    if let Some(pending) = pending(&**storage, &survey)? {
        return finish(storage, options, policy, &survey, &pending, confirm);
    }
    let plan = plan_of(storage, &survey, policy, now_utc_ns)?;
    let Plan { leaving, kept, reason, .. } = plan;
    if leaving.is_empty() {
        return Ok(Pruned { removed: Vec::new(), kept, declared: None, reason });
    }
    let report = verify_storage(&**storage, anchors, &mut |_| {})?;
    if !is_sound(report.verdict) {
        return Err(RetentionError::NotVerified(Box::new(report)));
    }
    let declaration = Prune::down_to(&header(&**storage, kept)?);
    let log = open(storage, options)?;
    let payload = declaration.to_payload();
    let seq = log.append_own(Draft { kind: kind::PRUNE, payload, ..Draft::default() })?;
    log.wait_durable(seq)?;
    wait_for_checkpoint(&log, seq)?;
    confirm(log.stats().checkpoint_size).map_err(io("have the checkpoint witnessed"))?;
    let removed = remove(&**storage, kept)?;
    log.stop()?;
    Ok(Pruned { removed, kept, declared: Some(seq), reason })
}

/// What was declared and is still there, in whole or in part.
fn pending(storage: &dyn Storage, survey: &Survey) -> Result<Option<Prune>, RetentionError> {
    let Some(prune) = &survey.pruned else { return Ok(None) };
    let is_there = files_before(storage, prune.first_seq())?.next().is_some();
    Ok(is_there.then(|| prune.clone()))
}

fn finish(
    storage: &Arc<dyn Storage>,
    options: Options,
    policy: &Policy,
    survey: &Survey,
    pending: &Prune,
    confirm: &mut dyn FnMut(u64) -> Result<(), io::Error>,
) -> Result<Pruned, RetentionError> {
    if Prune::down_to(&header(&**storage, pending.first_seq())?) != *pending {
        return Err(RetentionError::AnotherTree(pending.first_seq()));
    }
    // A hold that was set in between wins.
    let held = survey.segments.iter().filter(|segment| segment.first < pending.first_seq());
    if let Some(held) = held.filter_map(|segment| survey.held(segment)).next() {
        let reason = Reason::Held { name: held.hold.name.clone(), seq: held.seq };
        return Err(RetentionError::HeldNow(reason));
    }
    let now_utc_ns = options.clock.now().utc_ns;
    let log = open(storage, options)?;
    // Opening wrote an entry behind the declaration, so its checkpoint covers both.
    wait_for_checkpoint(&log, log.durable().saturating_sub(1))?;
    confirm(log.stats().checkpoint_size)
        .map_err(|source| RetentionError::Io { what: "have the checkpoint witnessed".to_owned(), source })?;
    let removed = remove(&**storage, pending.first_seq())?;
    log.stop()?;
    let reason = plan_of(storage, &Survey::of(storage)?, policy, now_utc_ns)?.reason;
    Ok(Pruned { removed, kept: pending.first_seq(), declared: None, reason })
}

fn wait_for_checkpoint(log: &Log, seq: u64) -> Result<(), RetentionError> {
    while log.stats().checkpoint_size <= seq {
        if let Some(failure) = log.failure() {
            return Err(failure.into());
        }
        thread::sleep(CHECKPOINT_PAUSE);
    }
    Ok(())
}

/// First entries of segments and seals that lie before `kept`.
fn files_before(storage: &dyn Storage, kept: u64) -> Result<impl Iterator<Item = u64>, RetentionError> {
    let names = storage
        .list(SEGMENTS)
        .map_err(|source| RetentionError::Io { what: "list the segments".to_owned(), source })?;
    let first_of = |name: &String| {
        let name = name.strip_suffix(".seal").map_or_else(|| name.clone(), |stem| format!("{stem}.seg"));
        first_seq_of_name(&name)
    };
    let mut firsts: Vec<u64> = names.iter().filter_map(first_of).filter(|first| *first < kept).collect();
    firsts.sort_unstable();
    firsts.dedup();
    Ok(firsts.into_iter())
}

/// Removes what lies before `kept`, ascending, each name durable before the next, so that no crash leaves a hole. A segment goes after its index,
/// so that nothing tells of what is gone, and before its seal: a seal alone is a stray, a segment alone would keep the log from being opened.
fn remove(storage: &dyn Storage, kept: u64) -> Result<Vec<u64>, RetentionError> {
    let mut removed = Vec::new();
    for first in files_before(storage, kept)? {
        let torn = format!("{QUARANTINE}/{}", torn_segment_name(first));
        let index = format!("{INDEX}/{}", index_name(first));
        let steps = [
            (index, INDEX),
            (segment_path(first), SEGMENTS),
            (seal_path(first), SEGMENTS),
            (torn, QUARANTINE),
        ];
        for (name, folder) in steps {
            let gone = remove_if_there(storage, &name).and_then(|()| match storage.sync_folder(folder) {
                // There is no quarantine in a log that never needed one, and no index where nobody asked.
                Err(error) if error.kind() == io::ErrorKind::NotFound && folder != SEGMENTS => Ok(()),
                other => other,
            });
            gone.map_err(|source| RetentionError::Io { what: format!("remove {name}"), source })?;
        }
        removed.push(first);
    }
    Ok(removed)
}
