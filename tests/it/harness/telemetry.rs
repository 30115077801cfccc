//! What the server tells its operators, kept in memory for the whole process.

use std::io;
use std::sync::{Arc, Mutex, Once, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Collects what is traced, at every level for the server itself.
pub(super) fn collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = EnvFilter::new("info,sealfeed=trace,sealfeed_audit=trace,sealfeed_wire=trace");
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
        builder.with_writer(Arc::new(Collector)).init();
    });
}

/// What the servers of this process have traced since this was last asked, in whole lines.
///
/// Asserts that every line begins with its time and that none has control characters: nobody outside can begin a line
/// or colour one.
pub(super) fn traced() -> String {
    let bytes = std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner));
    let text = String::from_utf8(bytes).expect("what is traced is text");
    for line in text.lines() {
        let is_line = line.starts_with("20") && !line.contains(|char: char| char.is_control());
        assert!(is_line, "{line:?}");
    }
    text
}

struct Collector;

impl io::Write for &Collector {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Collector {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}
