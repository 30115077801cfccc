//! Threads that wait for an entry to become durable.
//!
//! Each is called when its own entry is durable and not before. A call is a system call of some microseconds, and the disk is not to
//! wait for a hundred of them: whoever is called calls two more, so the calling spreads over the callers' processors and the disk
//! thread makes two. The list is bounded by the number of threads that wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use parking_lot::Mutex;

/// How many more each one calls.
const CALLS: usize = 2;

/// Those who wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    /// By the entry they wait for, and in the order in which they came.
    waiting: BTreeMap<(u64, u64), Arc<Waiter>>,
    arrivals: u64,
    /// Whose time has come and who has not been called yet. While there are any, somebody who was called is on the way to call more.
    due: Vec<Arc<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    thread: Thread,
    called: AtomicBool,
}

impl Waiters {
    /// Blocks until called for entry `seq`, unless `ready`, which is asked once the caller cannot be missed any more.
    pub(crate) fn wait(&self, seq: u64, ready: impl Fn() -> bool) {
        let waiter = Arc::new(Waiter { thread: std::thread::current(), called: AtomicBool::new(false) });
        {
            let mut lists = self.lists.lock();
            if ready() {
                return;
            }
            let key = (seq, lists.arrivals);
            lists.arrivals += 1;
            lists.waiting.insert(key, Arc::clone(&waiter));
        }
        // Nobody leaves before being called, for whatever reason the thread woke up: others rely on the calls made here.
        while !waiter.called.load(Ordering::Acquire) {
            std::thread::park();
        }
        self.call_due();
    }

    /// Calls all who wait for entries below `size`. What makes their `ready` true must have happened before.
    pub(crate) fn call_below(&self, size: u64) {
        {
            let mut lists = self.lists.lock();
            let Lists { waiting, due, .. } = &mut *lists;
            while let Some(first) = waiting.first_entry().filter(|first| first.key().0 < size) {
                due.push(first.remove());
            }
        }
        self.call_due();
    }

    /// Calls everybody.
    pub(crate) fn call_all(&self) {
        self.call_below(u64::MAX);
    }

    fn call_due(&self) {
        let mut next: [Option<Arc<Waiter>>; CALLS] = [const { None }; CALLS];
        {
            let mut lists = self.lists.lock();
            next.fill_with(|| lists.due.pop());
        }
        for waiter in next.into_iter().flatten() {
            waiter.called.store(true, Ordering::Release);
            waiter.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn everybody_is_called_once_their_entry_is_reached_however_many_wait() {
        let (waiters, size, early) = (Waiters::default(), AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for thread in 0..100u64 {
                let (waiters, size, early) = (&waiters, &size, &early);
                scope.spawn(move || {
                    for seq in (thread..10_000).step_by(100) {
                        waiters.wait(seq, || size.load(Ordering::Acquire) > seq);
                        early.fetch_or(size.load(Ordering::Acquire) <= seq, Ordering::Relaxed);
                    }
                });
            }
            while size.load(Ordering::Relaxed) < 10_000 {
                let reached = size.fetch_add(37, Ordering::AcqRel) + 37;
                waiters.call_below(reached);
            }
        });
        assert!(!early.into_inner(), "somebody was called too early");
        let lists = waiters.lists.into_inner();
        assert!(lists.waiting.is_empty() && lists.due.is_empty());
    }

    #[test]
    fn a_thread_that_wakes_up_by_itself_goes_on_waiting_and_all_are_called_at_the_end() {
        let (waiters, given_up) = (Waiters::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let wait = |seq| {
                let (waiters, given_up) = (&waiters, &given_up);
                scope.spawn(move || {
                    waiters.wait(seq, || given_up.load(Ordering::Acquire));
                    given_up.load(Ordering::Acquire)
                })
            };
            let threads: Vec<_> = (0..20).map(wait).collect();
            while waiters.lists.lock().waiting.len() < threads.len() {
                std::thread::yield_now();
            }
            threads.iter().for_each(|thread| thread.thread().unpark());
            given_up.store(true, Ordering::Release);
            waiters.call_all();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
    }
}
