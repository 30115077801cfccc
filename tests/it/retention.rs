//! Retention from the command line: what is held or too young stays, what was declared leaves.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sealfeed_audit::reader::entries;
use sealfeed_audit::{Clock, Draft, InitOptions, Log, Options, Stamp, SystemClock, init};
use tempfile::TempDir;

use crate::process::run;

const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// The clock of a machine in another year.
#[derive(Debug)]
pub(crate) struct Years(pub(crate) AtomicU64);

impl Clock for Years {
    fn now(&self) -> Stamp {
        let now = SystemClock.now();
        Stamp { utc_ns: now.utc_ns - self.0.load(Ordering::Relaxed) * 366 * DAY_NS, ..now }
    }
}

/// A log of three segments: ten, five and no years old; its configuration and its public key.
struct Old {
    folder: TempDir,
    config: String,
    key: String,
    log: PathBuf,
}

fn old(retention: &str) -> Old {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    std::fs::create_dir(&log).unwrap();
    let clock = Arc::new(Years(AtomicU64::new(10)));
    let origin = "old.example/log";
    let made =
        init(&log, &InitOptions { clock: Arc::clone(&clock) as _, ..InitOptions::new(origin) }).unwrap();
    let options = Options { clock: Arc::clone(&clock) as _, segment_bytes: 1 << 20, ..Options::new(origin) };
    let writer = Log::open(&log, options).unwrap();
    for years in [10, 5, 0] {
        if years < 10 {
            writer.rotate();
        }
        clock.0.store(years, Ordering::Relaxed);
        let kind = if years == 10 { 266 } else { 300 };
        let seq = writer.append(Draft { kind, payload: vec![1; 40], ..Draft::default() }).unwrap();
        writer.wait_durable(seq).unwrap();
    }
    writer.stop().unwrap();
    let path = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let config = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        [tls]
        certificate = "none"
        key = "none"
        client_authorities = "none"
        client_revocation_lists = "none"
        [identity]
        entitlements = "none"
        master_key = "none"
        [log]
        directory = "log"
        [log.retention]
        {retention}
        "#
    );
    let (config, key) = (path("sealfeed.toml", &config), path("log.pub", &made.public_key.to_string()));
    Old { folder, config, key, log }
}

impl Old {
    fn prune(&self, more: &[&str]) -> Output {
        run(&[&["audit", "prune", "--config", &self.config, "--key", &self.key], more].concat())
    }

    fn hold(&self, what: &str, more: &[&str]) -> Output {
        let log = self.log.to_str().unwrap();
        let who: &[&str] = match what {
            "list" => &[],
            _ => &["--name", "case 7", "--by", "ann", "--reason", "a lawsuit"],
        };
        run(&[&["audit", "hold", what, log][..], who, more].concat())
    }

    fn segments(&self) -> usize {
        let names = std::fs::read_dir(self.log.join("segments")).unwrap().map(|name| name.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|ending| ending == "seg")).count()
    }
}

/// What a command said, if it did what it should.
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn first_seq(log: &Path) -> u64 {
    entries(log).unwrap().next().unwrap().unwrap().header.seq
}

#[test]
fn what_was_kept_long_enough_leaves_and_nothing_else() {
    let old = old(r#"keep = "6 years""#);
    assert!(said(&old.prune(&["--dry-run"])).starts_with("1 segments may leave"));
    assert_eq!((old.segments(), first_seq(&old.log)), (3, 0));
    let told = said(&old.prune(&[]));
    assert!(
        told.contains("declares that the log begins at entry") && told.contains("1 segments left"),
        "{told}"
    );
    assert_eq!(old.segments(), 2);
    assert!(first_seq(&old.log) > 0);
    let again = said(&old.prune(&[]));
    assert!(again.contains("0 segments left"), "{again}");
    drop(old.folder);
}

#[test]
fn a_class_keeps_its_kinds_longer() {
    let old = old("keep = \"1 years\"\n[[log.retention.class]]\nkinds = [\"order\"]\nkeep = \"11 years\"");
    assert!(said(&old.prune(&[])).starts_with("0 segments left"));
    assert_eq!(old.segments(), 3);
}

#[test]
fn a_hold_is_set_listed_respected_and_lifted() {
    let old = old(r#"keep = "6 years""#);
    assert!(said(&old.hold("list", &[])).contains("no legal hold"));
    let set = said(&old.hold("set", &["--from", "2000-01-01T00:00:00Z", "--until", "2100-01-01T00:00:00Z"]));
    assert!(set.contains("is set"), "{set}");
    assert!(said(&old.hold("list", &[])).contains("\"case 7\""));
    let kept = said(&old.prune(&[]));
    assert!(kept.starts_with("0 segments left") && kept.contains("legal hold \"case 7\""), "{kept}");
    said(&old.hold("lift", &[]));
    assert!(said(&old.prune(&[])).contains("1 segments left"));
}

#[test]
fn a_log_that_is_at_work_or_of_another_key_is_left_alone() {
    let old = old(r#"keep = "6 years""#);
    let writer = Log::open(&old.log, Options::new("old.example/log")).unwrap();
    let refused = old.prune(&[]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("stop it first"));
    let refused = old.hold("set", &[]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("stop it first"));
    writer.stop().unwrap();
    drop(writer);
    let other = self::old(r#"keep = "6 years""#);
    std::fs::copy(&other.key, &old.key).unwrap();
    let refused = old.prune(&[]);
    assert!(!refused.status.success());
    assert_eq!(old.segments(), 3);
}

#[cfg(feature = "store")]
mod store {
    use super::*;
    use crate::process::verify;

    fn store(old: &Old, to: &str) -> Output {
        run(&["audit", "store", old.log.to_str().unwrap(), "--to", to])
    }

    fn objects(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { found.extend(objects(&path)) } else { found.push(path) }
        }
        found.sort();
        found
    }

    #[test]
    fn sealed_segments_are_stored_once_and_come_back_as_they_were() {
        let old = old("keep = \"6 years\"\nrequire_stored = true");
        assert!(said(&old.prune(&[])).contains("no copy of it was stored"));
        let worm = old.folder.path().join("worm");
        std::fs::create_dir(&worm).unwrap();
        let url = format!("file://{}", worm.to_str().unwrap());
        let told = said(&store(&old, &url));
        assert!(told.ends_with("2 segments were stored now\n"), "{told}");
        let there = objects(&worm);
        assert_eq!(there.len(), 5, "two segments, two seals, and the checkpoints: {there:?}");
        assert!(said(&store(&old, &url)).starts_with("0 segments were stored now"));
        assert_eq!(objects(&worm), there);

        let back = old.folder.path().join("back");
        let log = std::fs::read_dir(&worm).unwrap().next().unwrap().unwrap().file_name();
        let from = format!("{url}/{}", log.to_str().unwrap());
        said(&run(&["audit", "restore", back.to_str().unwrap(), "--from", &from]));
        let verdict = verify(&back, &["--key", &old.key]);
        assert_eq!(verdict.word(), "VERIFIED", "{verdict:?}");
        // What was stored may leave, and the copy still verifies.
        assert!(said(&old.prune(&[])).contains("1 segments left"));
        assert_eq!(verify(&back, &["--key", &old.key]).word(), "VERIFIED");
    }

    #[test]
    fn an_object_of_the_same_name_is_never_replaced() {
        let old = old(r#"keep = "6 years""#);
        let url = |name: &str| {
            let folder = old.folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            (format!("file://{}", folder.to_str().unwrap()), folder)
        };
        let (first, there) = url("first");
        said(&store(&old, &first));
        // The same store, where somebody has put something else in the place of a segment before.
        let (second, other) = url("second");
        let stolen =
            objects(&there).into_iter().find(|path| path.to_str().unwrap().ends_with(".seg")).unwrap();
        let target = other.join(stolen.strip_prefix(&there).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(&target, b"something else").unwrap();
        let refused = store(&old, &second);
        assert!(!refused.status.success());
        assert!(String::from_utf8(refused.stderr).unwrap().contains("another object"));
        assert_eq!(std::fs::read(&target).unwrap(), b"something else");
        // Cut off in the middle: what is there already is found, the rest follows.
        std::fs::remove_file(&target).unwrap();
        std::fs::copy(&stolen, &target).unwrap();
        assert!(said(&store(&old, &second)).ends_with("2 segments were stored now\n"));
    }

    #[test]
    fn a_segment_that_is_not_what_its_seal_says_is_not_stored() {
        let old = old(r#"keep = "6 years""#);
        let segment = old.log.join("segments").join(sealfeed_audit::segment_name(0));
        let mut bytes = std::fs::read(&segment).unwrap();
        // Behind the last frame of the segment's only group there is nothing but its padding.
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let mut permissions = std::fs::metadata(&segment).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
        std::fs::set_permissions(&segment, permissions).unwrap();
        std::fs::write(&segment, bytes).unwrap();
        let url = format!("file://{}", old.folder.path().to_str().unwrap());
        assert!(!store(&old, &url).status.success());
    }
}
