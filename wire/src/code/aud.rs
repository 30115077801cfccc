//! `SF-AUD-*`: the sealed log.

use super::{Code, Entry, Retry};

pub(super) const TABLE: &[Entry] = &[
    Entry {
        code: Code::AudLogUnavailable,
        text: "SF-AUD-001",
        retry: Retry::Later,
        message: "the audit log is not available",
        hint: "Try again later; ask order.status what became of an order.",
        explain: "Nothing is done that cannot be recorded first. The log did not accept an entry in time, so the request, or the upgrade (503), was refused.",
    },
    Entry {
        code: Code::AudLowSpace,
        text: "SF-AUD-002",
        retry: Retry::Later,
        message: "the audit log is low on space",
        hint: "Try again later; cancels still work.",
        explain: "The disk of the log is nearly full. New orders are refused, while cancels and disconnects still go to a reserve. The operator must make room.",
    },
    Entry {
        code: Code::AudLogFailed,
        text: "SF-AUD-003",
        retry: Retry::Never,
        message: "the audit log failed",
        hint: "Restart the server; recovery examines the log.",
        explain: "Writing or syncing the log failed. What was written since the last sync cannot be trusted, so nothing more is acknowledged and the server ends with exit code 70.",
    },
    Entry {
        code: Code::AudStartRefused,
        text: "SF-AUD-004",
        retry: Retry::Never,
        message: "the state of the audit log forbids to start",
        hint: "Run sealfeed audit verify on the log and act on its verdict.",
        explain: "The log on disk is damaged or was rolled back in a way that a crash cannot explain. The server writes nothing and ends with exit code 71.",
    },
    Entry {
        code: Code::AudLogLocked,
        text: "SF-AUD-005",
        retry: Retry::Never,
        message: "another process has the audit log open",
        hint: "Stop the other server, or configure another directory.",
        explain: "A log has one writer. The lock on the directory is held by another process.",
    },
    Entry {
        code: Code::AudClockTolerance,
        text: "SF-AUD-006",
        retry: Retry::Never,
        message: "the clock does not keep its tolerance",
        hint: "Run chrony or another NTP or PTP client, and let it poll often enough.",
        explain: "By what the system says of its clock, nothing synchronises it, or its error may be more than clock.tolerance_us, or it was set by more than that. The server goes on: every entry states the bound of its clock's error, and a CLOCK entry states the breach. The kernel adds 0.5 ms to the bound for every second since the clock was last corrected: with the default of 50 ms a client has to poll at least every 64 s (chrony: maxpoll 6). A container uses the clock of its host, which is the one to be synchronised.",
    },
    Entry {
        code: Code::AudTapeFailed,
        text: "SF-AUD-007",
        retry: Retry::Never,
        message: "the record of market data failed",
        hint: "Make room on its disk or repair it, run sealfeed audit verify on the tape, and start the server again.",
        explain: "The tape could not be written any more, or its disk is nearly full. Market data and orders go on, since no answer waits for the tape, but what is published is not recorded until the next start: it cannot be resumed from the tape or shown by sealfeed audit at. The audit log has an entry of kind tape that says up to which event the record goes.",
    },
    Entry {
        code: Code::AudStateRefused,
        text: "SF-AUD-008",
        retry: Retry::Never,
        message: "open orders and answers cannot be rebuilt from the audit log",
        hint: "Run sealfeed audit replay --execute on the log; it names the first entry that does not follow from those before.",
        explain: "At each start the server executes the last inputs of the venue again, from a snapshot of the state in the log, and compares every output. One of them is not what its inputs give, or the kept part of a pruned log has orders and no snapshot before them, or the log was written under other rules and did not end in good order. To go on would contradict what was answered and reported, so the server writes nothing and ends with exit code 71. If the program was replaced by a version with other rules, start and stop the old one once.",
    },
];
