//! The life of an order, followed entry by entry: it counts from 0 and each entry names the one before.

/// Place of an entry in an order's life, as its header states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifeStep {
    /// Sequence number of the entry.
    pub seq: u64,
    /// Number of the event in the life, from 0.
    pub event: u64,
    /// Sequence number of the order's entry before.
    pub previous: Option<u64>,
}

/// The life so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    events: u64,
    last: Option<u64>,
    gap: Option<String>,
}

impl Life {
    /// Takes the next entry of the order, in the order of the log.
    pub fn take(&mut self, step: LifeStep) {
        let LifeStep { seq, event, previous } = step;
        let none_or = |seq: Option<u64>| seq.map_or_else(|| "none".to_owned(), |seq| seq.to_string());
        if (event != self.events || previous != self.last) && self.gap.is_none() {
            self.gap = Some(format!(
                "entry {seq} is event {event} and follows entry {}; event {} after entry {} was due",
                none_or(previous),
                self.events,
                none_or(self.last)
            ));
        }
        (self.events, self.last) = (event.saturating_add(1), Some(seq));
    }

    /// Events there are, if there is no gap.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The first gap, in words.
    #[must_use]
    pub fn gap(&self) -> Option<&str> {
        self.gap.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_without_gaps_is_complete_and_any_gap_is_named() {
        let mut life = Life::default();
        for (seq, event, previous) in [(7, 0, None), (9, 1, Some(7)), (30, 2, Some(9))] {
            life.take(LifeStep { seq, event, previous });
        }
        assert_eq!((life.events(), life.gap()), (3, None));
        life.take(LifeStep { seq: 40, event: 4, previous: Some(35) });
        assert!(life.gap().unwrap().contains("event 3 after entry 30 was due"));
        let mut cut = Life::default();
        cut.take(LifeStep { seq: 9, event: 1, previous: Some(7) });
        assert!(cut.gap().is_some(), "its beginning is missing");
    }
}
