//! What the targets in `fuzz/` need of this module's inside. No interface: it changes without notice, and nothing else may use it.

use crate::config::SourceConfig;
use crate::types::{Instruments, MarketEvent};

use super::{Kind, SourceError, open};

/// Reads a recording from its first record to its last, or to its first fault, and gives every batch of events to `take`.
///
/// # Errors
/// [`SourceError`] of the opening or of the run.
pub fn read(
    config: &SourceConfig,
    mut take: impl FnMut(&Instruments, &[MarketEvent]),
) -> Result<(), SourceError> {
    let mut instruments = Instruments::new();
    let source = open(config, &mut instruments)?;
    let Kind::Recording(mut records, _) = source.kind else { return Ok(()) };
    let (mut event, mut notices) = (Vec::new(), Vec::new());
    loop {
        let read = records.read(&mut event, &mut notices)?;
        notices.clear();
        take(&instruments, &event);
        if matches!(read, super::replay::Read::End(_)) {
            return Ok(());
        }
    }
}
