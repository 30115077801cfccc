//! The log's disk runs full, becomes read-only, or refuses a write: real file systems under a real server.
//!
//! Mounting takes privileges. Where the kernel refuses it, the tests of the two file systems say so and are left out; what they
//! show is also shown on simulated storage in `audit/`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sealfeed_wire::SignedOp;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Client, Pki, Received};
use crate::process::{ServerProcess, configure, connect, public_key, replay, verify};

/// Looked at often, and a checkpoint every 10 ms, so that the disk is asked for more all the time.
const QUICK: &str = r#"
    checkpoint_ms = 10
    [[source]]
    type = "synthetic"
    symbols = ["SEAL"]
    messages_per_second = 50
"#;

/// A file system of its own; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts at `at`; the reason if that is not allowed here.
    fn new(at: &Path, arguments: &[&str]) -> Result<Self, String> {
        fs::create_dir_all(at).unwrap();
        let output = Command::new("mount").args(arguments).arg(at).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return Ok(Self(at.to_owned()));
        }
        let refused = said.contains("permission denied") || said.contains("must be superuser");
        assert!(refused, "mount {arguments:?}: {said}");
        Err(format!("left out: this machine does not let the test mount a file system: {said}"))
    }

    /// A small file system in memory.
    fn memory(at: &Path) -> Result<Self, String> {
        Self::new(at, &["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
    }

    /// A small file system on a loop device.
    fn image(folder: &Path, at: &Path) -> Result<Self, String> {
        let image = folder.join("disk.img");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self::new(at, &["-o", "loop", image.to_str().unwrap()])
    }

    /// What the kernel does to a file system after an I/O error.
    fn becomes_read_only(&self) {
        let output = Command::new("mount").args(["-o", "remount,abort"]).arg(&self.0).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// Takes all room but `left` bytes.
fn fill(folder: &Path, left: u64) {
    let mut file = File::options().create(true).append(true).open(folder.join("filler")).unwrap();
    loop {
        let system = rustix::fs::statvfs(folder).unwrap();
        let free = system.f_bavail * system.f_frsize;
        if free <= left {
            break;
        }
        let length = usize::try_from((free - left).min(1 << 20)).unwrap();
        if file.write_all(&vec![1; length]).is_err() {
            break;
        }
    }
}

fn body(name: &str) -> String {
    format!(
        r#"{{"cl_ord_id":"{name}","symbol":"SEAL","side":"buy","type":"limit","qty":"1","price":"1.00","tif":"day"}}"#
    )
}

async fn place(client: &mut Client, name: &str) -> Value {
    client.order(SignedOp::OrderNew, &body(name)).await
}

/// Places orders until one is answered as wanted.
async fn until(client: &mut Client, names: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    for number in 0..2_000 {
        let reply = place(client, &format!("{names}-{number}")).await;
        if is_it(&reply) {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no such answer came");
}

/// Receipts of everything answered from here to the end of the connection, each on a line.
async fn receipts_until_the_end(client: &mut Client) -> Vec<String> {
    let mut receipts = Vec::new();
    for number in 0_u64.. {
        let signed = client.sign(SignedOp::OrderNew, &body(&format!("last-{number}")));
        let text = crate::harness::frame_text(number, &signed);
        let frame = crate::harness::Frame { first: 0x81, masked: true, payload: text.as_bytes() };
        client.send_raw(&frame.bytes()).await;
        loop {
            match client.receive().await {
                Received::End(_) => return receipts,
                Received::Message(message) if message["id"] == number => {
                    receipts.extend(message.get("receipt").map(Value::to_string));
                    break;
                }
                Received::Message(_) => {}
            }
        }
    }
    receipts
}

/// Verifies with the public key and these receipts.
fn check(log: &Path, receipts: &[String], allowed: &[&str]) {
    let file = log.parent().unwrap().parent().unwrap().join("receipts");
    fs::write(&file, receipts.join("\n")).unwrap();
    let verdict = verify(log, &["--key", &public_key(log), "--receipt", file.to_str().unwrap()]);
    assert!(allowed.contains(&verdict.word()), "{verdict:?}");
}

/// A configuration whose log lies on the file system at `disk`.
fn on(disk: &Path, folder: &Path) -> PathBuf {
    let config = configure(folder, &Pki::get().folder, QUICK);
    let text = fs::read_to_string(&config).unwrap();
    let log = format!("directory = \"{}\"", disk.join("log").display());
    fs::write(&config, text.replace("directory = \"log\"", &log)).unwrap();
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_runs_full_refuses_orders_first_then_stops_the_server_and_loses_nothing_acked() {
    let folder = TempDir::new().unwrap();
    let disk = folder.path().join("disk");
    let _mounted = match Mounted::memory(&disk) {
        Ok(mounted) => mounted,
        Err(why) => return println!("{why}"),
    };
    let config = on(&disk, folder.path());
    let log = disk.join("log");
    let server = ServerProcess::start(&config).unwrap();
    let mut client = connect(server.address, &Pki::get().client("acme/bob")).await;
    let resting = place(&mut client, "rests").await;
    assert_eq!(resting["status"], "accepted", "{resting}");

    fill(&disk, 3 << 20);
    let refused = until(&mut client, "low", |reply| reply["code"] == "SF-AUD-002").await;
    assert_eq!(refused["retryable"], true, "{refused}");
    let cancel = client.order(SignedOp::OrderCancel, r#"{"cl_ord_id":"c-1","orig_cl_ord_id":"rests"}"#).await;
    assert_eq!(cancel["status"], "accepted", "{cancel}");

    fs::remove_file(disk.join("filler")).unwrap();
    let again = until(&mut client, "room", |reply| reply["status"] == "accepted").await;
    fill(&disk, 0);
    let mut receipts = receipts_until_the_end(&mut client).await;
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(70), "{ended:?}");
    receipts.extend([&resting, &cancel, &again].map(|reply| reply["receipt"].to_string()));
    check(&log, &receipts, &["UNCLEAN", "VERIFIED"]);

    fs::remove_file(disk.join("filler")).unwrap();
    let server = ServerProcess::start(&config).unwrap();
    let mut client = connect(server.address, &Pki::get().client("acme/bob")).await;
    // What rested before rests again, as many as may.
    let all = client.order(SignedOp::OrderMassCancel, r#"{"cl_ord_id":"all"}"#).await;
    assert!(all["canceled"].as_u64() > Some(0), "{all}");
    let reply = place(&mut client, "after").await;
    assert_eq!(reply["status"], "accepted", "{reply}");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait().status.code(), Some(0));
    receipts.push(reply["receipt"].to_string());
    check(&log, &receipts, &["VERIFIED", "RECOVERED"]);
    let states: Vec<_> = replay(&log, &["--kind", "log.space"]);
    assert!(states.len() >= 2, "no room, and room again: {states:?}");
    let refusals = replay(&log, &["--code", "SF-AUD-002"]);
    assert!(!refusals.is_empty(), "what was refused is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_becomes_read_only_stops_the_server_and_loses_nothing_acked() {
    let folder = TempDir::new().unwrap();
    let disk = folder.path().join("disk");
    let mounted = match Mounted::image(folder.path(), &disk) {
        Ok(mounted) => mounted,
        Err(why) => return println!("{why}"),
    };
    let config = on(&disk, folder.path());
    let server = ServerProcess::start(&config).unwrap();
    let mut client = connect(server.address, &Pki::get().client("acme/bob")).await;
    let mut receipts = Vec::new();
    for number in 0..20 {
        let reply = place(&mut client, &format!("before-{number}")).await;
        receipts.push(reply["receipt"].to_string());
    }
    mounted.becomes_read_only();
    receipts.extend(receipts_until_the_end(&mut client).await);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(70), "{ended:?}");
    // It must read as what it is, also before anybody repairs the disk.
    check(&disk.join("log"), &receipts, &["UNCLEAN", "VERIFIED"]);
}

/// The limit on the length of a file stands for a disk that refuses a write: the log is of one segment, which is of full length
/// from the start; what grows is the file of checkpoints.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_the_system_refuses_stops_the_server_and_loses_nothing_acked() {
    let folder = TempDir::new().unwrap();
    let config = configure(folder.path(), &Pki::get().folder, QUICK);
    let log = folder.path().join("log");
    let server = ServerProcess::start(&config).unwrap();
    let mut client = connect(server.address, &Pki::get().client("acme/bob")).await;
    let first = place(&mut client, "first").await;
    let length = fs::metadata(log.join("checkpoints")).unwrap().len();
    let limit = format!("--fsize={}", length + 2_000);
    let pid = server.pid().as_raw_nonzero().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, &limit]).output().unwrap();
    assert!(limited.status.success(), "{}", String::from_utf8_lossy(&limited.stderr));
    let mut receipts = receipts_until_the_end(&mut client).await;
    receipts.push(first["receipt"].to_string());
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(70), "{ended:?}");
    check(&log, &receipts, &["UNCLEAN", "VERIFIED"]);
}
