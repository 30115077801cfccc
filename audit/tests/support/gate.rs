//! A gate in front of a disk's synced writes: a test keeps one waiting there and lets it go.

use parking_lot::{Condvar, Mutex};

/// Where every synced write passes. Open unless somebody keeps a write.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    passing: Mutex<Passing>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Passing {
    /// The next write that comes is to wait.
    keep_next: bool,
    /// A write waits.
    kept: bool,
    under_way: usize,
    most_under_way: usize,
}

/// Whoever has this keeps the next synced write. Lets it go when dropped, so that a test that fails also ends.
#[derive(Debug)]
pub(crate) struct Kept<'a>(&'a Gate);

/// A synced write that has begun and not ended.
#[derive(Debug)]
pub(crate) struct UnderWay<'a>(&'a Gate);

impl Gate {
    /// Keeps the next write that comes.
    pub(crate) fn keep_next(&self) -> Kept<'_> {
        self.passing.lock().keep_next = true;
        Kept(self)
    }

    /// Most writes that had begun and not ended at the same time, so far.
    pub(crate) fn most_under_way(&self) -> usize {
        self.passing.lock().most_under_way
    }

    /// A write begins: blocks while it is kept.
    pub(crate) fn enter(&self) -> UnderWay<'_> {
        let mut passing = self.passing.lock();
        passing.under_way += 1;
        passing.most_under_way = passing.most_under_way.max(passing.under_way);
        if std::mem::take(&mut passing.keep_next) {
            passing.kept = true;
            self.changed.notify_all();
            self.changed.wait_while(&mut passing, |passing| passing.kept);
        }
        drop(passing);
        UnderWay(self)
    }
}

impl Kept<'_> {
    /// Blocks until a write has come and waits.
    pub(crate) fn until_there(&self) {
        self.0.changed.wait_while(&mut self.0.passing.lock(), |passing| !passing.kept);
    }

    /// Lets the write go on.
    pub(crate) fn let_go(self) {
        drop(self);
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let mut passing = self.0.passing.lock();
        (passing.keep_next, passing.kept) = (false, false);
        self.0.changed.notify_all();
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.passing.lock().under_way -= 1;
    }
}
