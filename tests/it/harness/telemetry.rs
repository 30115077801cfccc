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

/// Everything that any server of this process has traced so far.
pub(crate) fn traced() -> String {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8(lines.clone()).expect("what is traced is text")
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
