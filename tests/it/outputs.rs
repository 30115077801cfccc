//! Everything that a run of the server leaves for people to read: its log files, what it said, and what every command prints of the
//! sealed log.

use std::path::Path;
use std::process::Output;

use sealfeed::clock::{Clock, format_utc};

use crate::process::{Ended, ServerProcess, run};

/// The name of a place, and what stands there.
pub(crate) type Place = (String, Vec<u8>);

/// Has the server log everything there is to `folder/logs`, in this format.
pub(crate) fn telemetry(format: &str) -> String {
    // The level of the server's own crates: what its dependencies trace is theirs, and off by default.
    format!(
        "[telemetry]\nformat = \"{format}\"\ndirectory = \"logs\"\nlevel = \"info,sealfeed=trace,sealfeed_audit=trace,sealfeed_wire=trace\"\n"
    )
}

/// Stops a server that was started in `folder`, in good order, and collects what it leaves.
pub(crate) fn stop(server: ServerProcess, folder: &Path) -> Vec<Place> {
    let said = server.said().to_owned();
    server.signal(rustix::process::Signal::TERM);
    let Ended { status, stderr } = server.wait();
    assert!(status.success(), "{stderr}");
    let mut places = vec![("standard error".to_owned(), (said + &stderr).into_bytes())];
    places.extend(files(&folder.join("logs")));
    assert!(places.len() > 1, "it wrote no log file");
    places
}

/// What the commands print of the log, in every form they have; `order` is an order of it by its client's name.
pub(crate) fn printed(log: &Path, order: &str) -> Vec<Place> {
    let log = log.to_str().unwrap();
    let mut lines: Vec<Vec<&str>> = Vec::new();
    for form in ["json", "table", "csv"] {
        lines.push(vec!["audit", "replay", log, "--output", form]);
        lines.push(vec!["audit", "trace", log, "--order", order, "--output", form]);
        lines.push(vec!["audit", "tail", log, "--since", "0", "-n", "20", "--output", form]);
    }
    let now = format_utc(Clock::System.now());
    let month = &now[..7];
    for form in ["json", "table", "csv"] {
        lines.push(vec!["audit", "report", "usage", log, "--month", month, "--output", form]);
        for report in ["clock", "auth", "orders"] {
            lines.push(vec!["audit", "report", report, log, "--output", form]);
        }
    }
    lines.push(vec!["audit", "verify", log]);
    lines.push(vec!["audit", "verify", "--json", log]);
    lines.push(vec!["audit", "replay", "--execute", log]);
    let print = |line: &Vec<&str>| {
        let Output { status, stdout, stderr } = run(line);
        // Without anchors a verification ends with UNANCHORED; a report of what nobody did has no lines.
        let is_answer = status.success() || line[1] == "verify";
        assert!(
            is_answer && (!stdout.is_empty() || line[1] == "report"),
            "{line:?}: {}",
            String::from_utf8_lossy(&stderr)
        );
        (line.join(" "), [stdout, stderr].concat())
    };
    lines.iter().map(print).collect()
}

/// What is given away of the log: copied entries, and the bundle of an order.
pub(crate) fn exported(log: &Path, folder: &Path, order: &str) -> Vec<Place> {
    let (export, bundle) = (folder.join("export"), folder.join("bundle.tar"));
    let (log, out) = (log.to_str().unwrap(), export.to_str().unwrap());
    let prove = ["audit", "prove", log, "--order", order, "--output", bundle.to_str().unwrap()];
    for line in [&["audit", "export", log, "--output", out][..], &prove] {
        let output = run(line);
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut places = files(&export);
    places.push(("the bundle".to_owned(), std::fs::read(bundle).unwrap()));
    places
}

/// Every file in a folder and those within, none of them empty folders.
pub(crate) fn files(folder: &Path) -> Vec<Place> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}
