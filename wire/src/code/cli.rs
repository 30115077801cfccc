//! `SF-CLI-*`: what the commands for clients find by themselves. For whoever runs them; never sent.

use super::{Code, Entry, Retry};

pub(super) const TABLE: &[Entry] = &[
    Entry {
        code: Code::CliMessagesMissing,
        text: "SF-CLI-001",
        retry: Retry::Later,
        message: "messages of a stream did not come",
        hint: "Resume sooner, read faster or subscribe to less; see the lines on standard error for what is missing.",
        explain: "The server announced a gap, left messages out for a slow reader, or could not recover what was missed while the connection was down. What came is good; what is missing stands on standard error: stream, epoch and numbers.",
    },
    Entry {
        code: Code::CliConnectionLost,
        text: "SF-CLI-002",
        retry: Retry::Later,
        message: "the connection was lost and did not come back",
        hint: "Check the network and the server, then start the command again.",
        explain: "The connection ended, and connecting again failed for as long as was asked, or the server said that it would not help. What came before is whole.",
    },
    Entry {
        code: Code::CliOutputExists,
        text: "SF-CLI-003",
        retry: Retry::Never,
        message: "the output file exists already",
        hint: "Name another file, or say --force to replace it.",
        explain: "Nothing is overwritten by accident. The file was not touched.",
    },
    Entry {
        code: Code::CliOutputUnwritable,
        text: "SF-CLI-004",
        retry: Retry::Never,
        message: "the output file cannot be written",
        hint: "Check the folder, its permissions and the room on its disk.",
        explain: "The operating system refused to make, write, sync or rename the file. No file of that name was made, and one that was there is untouched.",
    },
    Entry {
        code: Code::CliArgumentsInvalid,
        text: "SF-CLI-005",
        retry: Retry::Never,
        message: "the arguments of the command make no sense",
        hint: "Correct what the message names.",
        explain: "A number is out of its range, a list has too many members or one twice, or two arguments exclude each other. Nothing was done.",
    },
    Entry {
        code: Code::CliNothingReceived,
        text: "SF-CLI-006",
        retry: Retry::Later,
        message: "no market data came",
        hint: "Check that the symbols trade, and measure for longer.",
        explain: "The connections stood and were subscribed, but no message came in the time that was measured: there is nothing to tell figures from.",
    },
];
