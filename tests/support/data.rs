//! Where tests find recorded market data: in `$SEALFEED_DATA`, or in `../shared/data` beside the workspace.
//!
//! The data belongs to the venues and is no part of the repository. Without it a test says so in one line and ends; where
//! the environment has `CI`, its absence is a failure.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The paths of recorded files, given relative to the data's folder; or `None`, with one line on standard error, where one of
/// them is not there.
///
/// # Panics
/// One is not there, and the environment has `CI`.
pub(crate) fn recorded_files<const N: usize>(relative: [&str; N]) -> Option<[PathBuf; N]> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("SEALFEED_DATA").map_or_else(beside, PathBuf::from);
    let paths = relative.map(|relative| folder.join(relative));
    let Some(missing) = paths.iter().find(|path| !path.is_file()) else { return Some(paths) };
    assert!(
        std::env::var_os("CI").is_none(),
        "CI needs the recorded market data: {} is missing",
        missing.display()
    );
    // Straight to the stream: the test harness would keep a print of a passing test to itself.
    let said = writeln!(std::io::stderr(), "skipped: no recorded market data at {}", missing.display());
    drop(said);
    None
}
