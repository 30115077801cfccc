//! Whether an event reaches the best so many levels of a side, known without keeping those levels: how far down they go is enough.
//!
//! A stream of the best levels counts its messages whether or not anybody reads it. Where somebody does, a [`DepthView`](super::super::depth::DepthView)
//! holds the levels themselves; both must agree on which events are messages.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Total;

/// How far the best levels of one side reach.
#[derive(Debug)]
pub(super) struct Edge {
    levels_max: usize,
    /// Rank of the last one; `None`: there are fewer, and every level is one of them.
    rank: Option<i64>,
    /// What of the event at hand lies within: whether anything, whether levels came or went, and how many more came than went.
    is_touched: bool,
    has_moved: bool,
    came: isize,
}

impl Edge {
    /// Of an empty side.
    pub(super) const fn new(levels_max: usize) -> Self {
        Self { levels_max, rank: None, is_touched: false, has_moved: false, came: 0 }
    }

    /// Whether the event that ended last has changed any of them.
    pub(super) const fn is_touched(&self) -> bool {
        self.is_touched
    }

    /// An event ends.
    pub(super) const fn begin(&mut self) {
        (self.is_touched, self.has_moved, self.came) = (false, false, 0);
    }

    /// It has changed this level.
    pub(super) fn see(&mut self, rank: i64, before: Total, now: Total) {
        if self.rank.is_some_and(|edge| rank > edge) {
            return;
        }
        let (was, is) = (before.quantity != 0, now.quantity != 0);
        self.is_touched = true;
        self.has_moved |= was != is;
        self.came += isize::from(is) - isize::from(was);
    }

    /// It has changed no more.
    pub(super) fn end(&mut self, levels: &BTreeMap<i64, Total>) {
        if !self.has_moved {
            return;
        }
        let many = self.came.unsigned_abs();
        self.rank = match self.rank {
            None if levels.len() < self.levels_max => None,
            None => levels.keys().nth(self.levels_max - 1).copied(),
            // From where it was, so many steps up or down: it seldom moves far.
            Some(edge) if self.came >= 0 => levels.range(..=edge).nth_back(many).map(|(rank, _)| *rank),
            Some(edge) => {
                let beyond = (Bound::Excluded(edge), Bound::Unbounded);
                levels.range(beyond).nth(many - 1).map(|(rank, _)| *rank)
            }
        };
    }
}
