//! Where tests find market data that exchanges recorded. It is not part of the repository.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The recorded file of this name: in `$SEALFEED_DATA`, else in `../shared/data` beside the workspace.
///
/// `None`, after one line on standard error, where neither has it: the test then has nothing to do.
///
/// # Panics
/// If `CI` is set and the file is missing: there its absence is a failure.
pub(crate) fn recorded(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let directories = std::env::var_os("SEALFEED_DATA").map(PathBuf::from).into_iter().chain([beside]);
    let found = directories.map(|directory| directory.join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "recorded data is missing: {name}; set SEALFEED_DATA");
        // Straight to the stream: the test harness would keep a print of a passing test to itself.
        let line = format!("skipped: no recorded {name}; set SEALFEED_DATA to the directory that has it\n");
        std::io::stderr().write_all(line.as_bytes()).ok();
    }
    found
}
