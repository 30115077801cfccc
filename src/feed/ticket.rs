//! Says when a piece that was read for one reader has left, so that the next one is read only then.

use std::fmt;
use std::sync::Arc;

/// Goes with a piece, and is dropped when the piece has left for its reader, or never will. Whoever gave it is told then, once, from any
/// thread and without waiting.
pub struct Ticket {
    number: u64,
    returned: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Ticket {
    /// A ticket of this number; `returned` is called with it when it is dropped, and must not block.
    #[must_use]
    pub fn new(number: u64, returned: Arc<dyn Fn(u64) + Send + Sync>) -> Self {
        Self { number, returned }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        (self.returned)(self.number);
    }
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Ticket {}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Ticket").field(&self.number).finish()
    }
}
