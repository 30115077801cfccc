//! A server in a process of its own, so that its CPU time stands apart from the load's, and what it uses.
//!
//! CPU time is the kernel's own count of nanoseconds on a processor, of every thread, from
//! `/proc/PID/task/*/schedstat`; where `/proc/PID/stat`, which also counts threads that have ended, says
//! more, a thread came and went unseen, and its coarser count is taken.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What both servers print on standard error when they accept connections.
pub(crate) const LISTENING: &str = "listening on wss://";

/// How coarse `/proc/PID/stat` is: Linux shows programs 100 ticks a second, whatever it uses itself.
const TICK_NS: u64 = 10_000_000;

/// Which processors the server and the load run on.
pub(crate) struct Processors {
    server: CpuSet,
    load: CpuSet,
    /// Whether they are different ones.
    pub(crate) are_apart: bool,
}

impl Processors {
    /// The first and the last one that this process may use.
    pub(crate) fn divide() -> Self {
        let allowed = sched_getaffinity(None).expect("the processors of this process");
        let mut numbers = (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number));
        let first = numbers.next().expect("a processor");
        let last = numbers.next_back().unwrap_or(first);
        let only = |number| {
            let mut set = CpuSet::new();
            set.set(number);
            set
        };
        Self { server: only(first), load: only(last), are_apart: first != last }
    }

    /// The first two for the server, which then has two shards; the load on the last one, which may be one of them.
    pub(crate) fn two_for_the_server() -> Self {
        let allowed = sched_getaffinity(None).expect("the processors of this process");
        let mut server = CpuSet::new();
        let numbers = (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number));
        numbers.take(2).for_each(|number| server.set(number));
        Self { server, ..Self::divide() }
    }
}

/// A running server. Dropping it ends the process.
pub(crate) struct Server {
    /// Its process.
    pub(crate) child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Nanoseconds of each thread that was ever seen.
    seen: RefCell<HashMap<String, u64>>,
    /// Nanoseconds of threads that had ended when it began to listen.
    ended_ns: u64,
    rest_of_output: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it on its processor and waits until it listens.
    pub(crate) fn start(mut command: Command, processors: &Processors) -> Self {
        sched_setaffinity(None, &processors.server).expect("the server's processor");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        sched_setaffinity(None, &processors.load).expect("the load's processor");
        let mut child = child.expect("the server starts");
        let mut output = BufReader::new(child.stderr.take().expect("its standard error"));
        let address = address_in(&mut output);
        let rest_of_output = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                eprintln!("    | {line}");
            }
        });
        let rest_of_output = Some(rest_of_output);
        let mut server = Self { child, address, seen: RefCell::default(), ended_ns: 0, rest_of_output };
        server.ended_ns = server.whole_cpu_ns().saturating_sub(server.threads_cpu_ns());
        server
    }

    /// Nanoseconds of CPU time, user and system, of its threads since it began to listen.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let sum = self.threads_cpu_ns();
        let whole = self.whole_cpu_ns();
        // Two fields, each rounded; and the threads go on between the two looks.
        let bound = self.ended_ns + sum + sum / 50 + 3 * TICK_NS;
        if whole <= bound {
            sum
        } else {
            // A thread came and went between two looks (the one that fills the next segment with zeros): the kernel's coarse
            // count has it.
            whole - self.ended_ns
        }
    }

    fn threads_cpu_ns(&self) -> u64 {
        let mut seen = self.seen.borrow_mut();
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the server runs");
        for thread in threads.map_while(Result::ok) {
            // A thread may end between the two looks; what was seen of it stays.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            seen.insert(thread.file_name().to_string_lossy().into_owned(), number(text.split(' ').next()));
        }
        seen.values().sum()
    }

    /// The same from the kernel's count over the whole process, ended threads included.
    fn whole_cpu_ns(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the server runs");
        let behind_name = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        // Fields 14 and 15 of proc(5), counted from field 3 behind the name.
        let mut fields = behind_name.split_whitespace().skip(11);
        (number(fields.next()) + number(fields.next())) * TICK_NS
    }

    /// Bytes of memory that it holds now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Of these, what is its own: without the pages of files, the program's code among them, which the first use brings in.
    pub(crate) fn anonymous_bytes(&self) -> u64 {
        self.status_bytes("RssAnon:")
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server runs");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        number(line.and_then(|line| line.split_whitespace().next())) * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is our child: if it is gone already, that is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(thread) = self.rest_of_output.take() {
            let _ = thread.join();
        }
    }
}

fn address_in(output: &mut impl BufRead) -> SocketAddr {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        let bytes = output.read_line(&mut line).expect("the server's standard error");
        assert!(bytes > 0, "the server ended before it listened: {all}");
        if let Some((_, address)) = line.split_once(LISTENING) {
            let address = address.trim().split('/').next().unwrap_or_default();
            return address.parse().expect("an address");
        }
        all.push_str(&line);
    }
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.trim().parse().ok()).expect("a number of the kernel")
}
