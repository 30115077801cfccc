//! A disk in memory that crashes and fails on demand.
//!
//! Every file has content as the process sees it and content that survives a power cut. What was written and not synced survives
//! in part: any subset of its bytes or sectors, file growth independent of data, names in folders up to any point in their order.
//! Seeded: the same seed makes the same choices (threads may still interleave differently).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use sealfeed_audit::storage::{Access, File, FreeSpace, Lock, Storage};

use super::gate::Gate;

/// Deterministic random numbers (`SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

/// Files by name, with their content.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// What goes wrong, at the operation with the given number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Power is cut while the operation runs; nothing works after it.
    Crash,
    /// The operation fails once with this error and half its effect; the next ones work.
    Once(i32),
}

/// A write that the disk reports as done and did not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing was written.
    Lost,
    /// It went to another place: so many bytes further on, or back.
    Misdirected(isize),
    /// Only its first half was written.
    Torn,
}

#[derive(Clone, Debug)]
enum Write {
    Bytes { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct Node {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Naming {
    Set(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug, Default)]
struct State {
    /// Room it claims to have, if it says anything.
    space: Option<FreeSpace>,
    nodes: Vec<Node>,
    seen: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: BTreeMap<String, Vec<Naming>>,
    folders: BTreeSet<String>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    /// What strikes the next synced write.
    synced_fault: Option<Fault>,
    /// A lie about the write with this number to this file, counted down.
    lie: Option<(usize, u64, Lie)>,
    crashed: bool,
}

/// The disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyDisk {
    state: Arc<Mutex<State>>,
    lock: Arc<Mutex<bool>>,
    /// Where synced writes pass.
    pub(crate) gate: Arc<Gate>,
}

fn folder_of(name: &str) -> String {
    name.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned())
}

fn crash() -> io::Error {
    io::Error::other("power was cut")
}

impl Node {
    fn apply(content: &mut Vec<u8>, write: &Write) {
        match write {
            Write::Bytes { offset, bytes } => {
                if content.len() < offset + bytes.len() {
                    content.resize(offset + bytes.len(), 0);
                }
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Write::Length(length) => content.resize(*length, 0),
        }
    }

    /// The content after a power cut.
    fn survivor(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.durable.clone();
        let mode = random.below(6);
        for write in &self.pending {
            match write {
                Write::Length(_) if random.chance(2) => {}
                Write::Length(_) => Self::apply(&mut content, write),
                Write::Bytes { offset, bytes } => {
                    let grown = random.chance(2) && content.len() < offset + bytes.len();
                    if grown {
                        content.resize(offset + bytes.len(), 0);
                    }
                    let unit = match mode {
                        0 => continue,
                        1 => bytes.len().max(1),
                        2 => 512,
                        3 => 1,
                        4 => 4_096,
                        _ => 64,
                    };
                    let prefix = random.chance(3).then(|| random.below(bytes.len() as u64 + 1));
                    let mut at = 0;
                    while at < bytes.len() {
                        // Pieces end at multiples of the unit in the file, as sectors do.
                        let end = ((offset + at) / unit * unit + unit - offset).min(bytes.len());
                        let survives =
                            prefix.map_or_else(|| random.chance(2), |prefix| (end as u64) <= prefix);
                        if survives {
                            let piece = Write::Bytes { offset: offset + at, bytes: bytes[at..end].to_vec() };
                            Self::apply(&mut content, &piece);
                        }
                        at = end;
                    }
                }
            }
        }
        content
    }
}

impl State {
    /// Counts an operation; an error if nothing works any more. The fault that strikes this operation, if one does.
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        if self.crashed {
            return Err(crash());
        }
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if at == self.operations => {
                self.crashed = fault == Fault::Crash;
                self.fault = None;
                Ok(Some(fault))
            }
            _ => Ok(None),
        }
    }

    /// The lie told about this write, if one is.
    fn lie(&mut self, node: usize) -> Option<Lie> {
        let (of, left, lie) = self.lie.as_mut()?;
        if *of != node {
            return None;
        }
        *left -= 1;
        let told = (*left == 0).then_some(*lie);
        self.lie.take_if(|(_, left, _)| *left == 0);
        told
    }

    fn end(fault: Option<Fault>) -> io::Result<()> {
        match fault {
            None => Ok(()),
            Some(Fault::Crash) => Err(crash()),
            Some(Fault::Once(code)) => Err(io::Error::from_raw_os_error(code)),
        }
    }

    fn name(&mut self, folder: &str, naming: Naming) {
        apply_naming(&mut self.seen, &naming);
        self.pending.entry(folder.to_owned()).or_default().push(naming);
    }
}

fn apply_naming(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Set(name, node) => {
            names.insert(name.clone(), *node);
        }
        Naming::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
        Naming::Remove(name) => {
            names.remove(name);
        }
    }
}

impl FaultyDisk {
    /// Operations so far: everything that changes or syncs something.
    pub(crate) fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Lets something go wrong `after` operations from now.
    pub(crate) fn arm(&self, after: u64, fault: Fault) {
        let mut state = self.state.lock();
        state.fault = Some((state.operations + after, fault));
    }

    /// Lets something go wrong at the next synced write, whatever else is done before it; one that is kept at the gate is the next.
    pub(crate) fn arm_synced(&self, fault: Fault) {
        self.state.lock().synced_fault = Some(fault);
    }

    /// Lets the disk lie about the write with number `nth`, from 1, that comes to a file.
    pub(crate) fn arm_lie(&self, name: &str, nth: u64, lie: Lie) {
        let mut state = self.state.lock();
        let node = state.seen[name];
        state.lie = Some((node, nth, lie));
    }

    /// Flips a bit of a file where it lies.
    pub(crate) fn flip(&self, name: &str, bit: usize) {
        let mut state = self.state.lock();
        let node = state.seen[name];
        state.nodes[node].seen[bit / 8] ^= 1 << (bit % 8);
    }

    /// Whether what was armed has not struck yet.
    pub(crate) fn armed(&self) -> bool {
        self.state.lock().fault.is_some()
    }

    /// Whether power was cut.
    pub(crate) fn crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Cuts power now.
    pub(crate) fn cut_power(&self) {
        self.state.lock().crashed = true;
    }

    /// The disk as it is found when power comes back.
    pub(crate) fn after_power_cut(&self, random: &mut Random) -> Self {
        let state = self.state.lock();
        let mut names = state.durable.clone();
        for namings in state.pending.values() {
            let kept = random.below(namings.len() as u64 + 1);
            for naming in namings.iter().take(usize::try_from(kept).unwrap()) {
                apply_naming(&mut names, naming);
            }
        }
        let mut next = State { folders: state.folders.clone(), ..State::default() };
        for (name, node) in names {
            let content = state.nodes[node].survivor(random);
            next.nodes.push(Node { seen: content.clone(), durable: content, pending: Vec::new() });
            let id = next.nodes.len() - 1;
            next.seen.insert(name.clone(), id);
            next.durable.insert(name, id);
        }
        Self { state: Arc::new(Mutex::new(next)), lock: Arc::default(), gate: Arc::default() }
    }

    /// Sets the room that the disk claims to have.
    pub(crate) fn set_space(&self, free_bytes: u64, total_bytes: u64) {
        self.state.lock().space = Some(FreeSpace { free_bytes, total_bytes });
    }

    /// Every file with its content, as an honest reader sees it.
    pub(crate) fn image(&self) -> Image {
        let state = self.state.lock();
        state.seen.iter().map(|(name, node)| (name.clone(), state.nodes[*node].seen.clone())).collect()
    }

    /// A disk on which everything in `image` is durable, with the folders of a log and nobody at work.
    pub(crate) fn from_image(image: &Image) -> Self {
        let mut state = State::default();
        state.folders.extend(["", "segments", "quarantine", "keys"].map(str::to_owned));
        state.folders.extend(image.keys().map(|name| folder_of(name)));
        for (name, content) in image {
            state.nodes.push(Node { seen: content.clone(), durable: content.clone(), pending: Vec::new() });
            state.seen.insert(name.clone(), state.nodes.len() - 1);
        }
        state.durable.clone_from(&state.seen);
        Self { state: Arc::new(Mutex::new(state)), lock: Arc::default(), gate: Arc::default() }
    }

    /// Content of a file, for looking at it.
    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.seen.get(name).map(|node| state.nodes[*node].seen.clone())
    }

    /// Replaces the content of a file, as an attacker would.
    pub(crate) fn tamper(&self, name: &str, content: Vec<u8>) {
        let mut state = self.state.lock();
        let node = state.seen[name];
        state.nodes[node] = Node { seen: content.clone(), durable: content, pending: Vec::new() };
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    node: usize,
    synced: bool,
}

impl Storage for FaultyDisk {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        if state.crashed {
            return Err(crash());
        }
        let found = state.seen.get(name).copied();
        let create = matches!(access, Access::Create | Access::CreatePrivate);
        let node = match (found, create) {
            (Some(_), true) => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
            (Some(node), false) => node,
            (None, false) => return Err(io::Error::from(io::ErrorKind::NotFound)),
            (None, true) => {
                let fault = state.begin()?;
                state.nodes.push(Node::default());
                let node = state.nodes.len() - 1;
                state.name(&folder_of(name), Naming::Set(name.to_owned(), node));
                State::end(fault)?;
                node
            }
        };
        Ok(Arc::new(FaultyFile { disk: self.clone(), node, synced: access == Access::WriteSynced }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        if state.crashed {
            return Err(crash());
        }
        if !state.folders.contains(folder) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let names = state.seen.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.state.lock().folders.insert(folder.to_owned());
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let fault = state.begin()?;
        if fault.is_none() {
            for naming in state.pending.remove(folder).unwrap_or_default() {
                apply_naming(&mut state.durable, &naming);
            }
        }
        State::end(fault)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let fault = state.begin()?;
        if !matches!(fault, Some(Fault::Once(_))) {
            state.name(&folder_of(from), Naming::Rename(from.to_owned(), to.to_owned()));
        }
        State::end(fault)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.seen.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let fault = state.begin()?;
        if !matches!(fault, Some(Fault::Once(_))) {
            state.name(&folder_of(name), Naming::Remove(name.to_owned()));
        }
        State::end(fault)
    }

    fn make_read_only(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let mut held = self.lock.lock();
        if *held {
            return Ok(None);
        }
        *held = true;
        Ok(Some(Box::new(Held { lock: Arc::clone(&self.lock) })))
    }

    fn space(&self) -> io::Result<FreeSpace> {
        self.state.lock().space.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }

    fn is_locked(&self, _name: &str) -> io::Result<bool> {
        Ok(*self.lock.lock())
    }
}

#[derive(Debug)]
struct Held {
    lock: Arc<Mutex<bool>>,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        *self.lock.lock() = false;
    }
}

impl File for FaultyFile {
    fn length(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        if state.crashed { Err(crash()) } else { Ok(state.nodes[self.node].seen.len() as u64) }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state.lock();
        if state.crashed {
            return Err(crash());
        }
        let content = &state.nodes[self.node].seen;
        let start = usize::try_from(offset).unwrap().min(content.len());
        let length = into.len().min(content.len() - start);
        into[..length].copy_from_slice(&content[start..start + length]);
        Ok(length)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _under_way = self.synced.then(|| self.disk.gate.enter());
        let mut state = self.disk.state.lock();
        if self.synced
            && let Some(fault) = state.synced_fault.take()
        {
            state.fault = Some((state.operations + 1, fault));
        }
        let fault = state.begin()?;
        let lie = state.lie(self.node);
        let half = matches!(fault, Some(Fault::Once(_))) || lie == Some(Lie::Torn);
        let bytes = match lie {
            Some(Lie::Lost) => &[],
            _ if half => &bytes[..bytes.len() / 2],
            _ => bytes,
        };
        let mut offset = usize::try_from(offset).unwrap();
        if let Some(Lie::Misdirected(by)) = lie {
            offset = offset.saturating_add_signed(by);
        }
        let write = Write::Bytes { offset, bytes: bytes.to_vec() };
        let node = &mut state.nodes[self.node];
        Node::apply(&mut node.seen, &write);
        node.pending.push(write);
        if self.synced && fault.is_none() {
            node.settle();
        }
        State::end(fault)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let fault = state.begin()?;
        if fault.is_none() {
            state.nodes[self.node].settle();
        }
        State::end(fault)
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let fault = state.begin()?;
        if !matches!(fault, Some(Fault::Once(_))) {
            let write = Write::Length(usize::try_from(bytes).unwrap());
            let node = &mut state.nodes[self.node];
            Node::apply(&mut node.seen, &write);
            node.pending.push(write);
        }
        State::end(fault)
    }

    fn forget_cache(&self) {}
}

impl Node {
    fn settle(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        // A zero-filled file is written once and settled once; copying the whole of it for every group would be slow.
        for write in &pending {
            Self::apply(&mut self.durable, write);
        }
    }
}
