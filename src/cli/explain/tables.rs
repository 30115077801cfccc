//! Where codes are met, and what exit codes mean: what the table of codes in `wire` does not know of.

use sealfeed_wire::{Area, Code};

use super::super::alert::ALERTS;

/// An exit code of a command.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) number: u8,
    pub(super) message: &'static str,
    pub(super) explain: &'static str,
    pub(super) hint: &'static str,
    /// Whether the same command can succeed later.
    pub(super) may_pass: bool,
}

const fn exit(
    number: u8,
    may_pass: bool,
    message: &'static str,
    explain: &'static str,
    hint: &'static str,
) -> Exit {
    Exit { number, message, explain, hint, may_pass }
}

/// Every exit code, ascending.
pub(super) const ALL_EXITS: &[Exit] = &[
    exit(
        0,
        true,
        "done",
        "The command did what it was asked to do, and nothing is wrong with it.",
        "Nothing is to be done.",
    ),
    exit(
        1,
        true,
        "failed",
        "The command failed for a reason that has no exit code of its own, or a check failed. `audit verify`: RECOVERED, which is intact with declared recoveries.",
        "Read the lines on standard error: what, where, fix, code.",
    ),
    exit(
        2,
        false,
        "usage",
        "The arguments make no sense, or a file that they name cannot be used. Nothing was sent and nothing was done.",
        "Correct what the message names; --help lists the arguments.",
    ),
    exit(
        3,
        true,
        "cannot connect",
        "There is no connection to the server, or it was lost, or the server refused the certificate.",
        "Run `sealfeed doctor` with the same arguments: it says which step fails and why.",
    ),
    exit(
        4,
        false,
        "not entitled",
        "The certificate is good, but the policy of the server does not grant what was asked for.",
        "`sealfeed policy explain` on the server says which rule decides; ask the operator.",
    ),
    exit(
        5,
        false,
        "order rejected",
        "The server answered the order with a refusal. It did nothing, and the answer is sealed in the log.",
        "Look up the code of the refusal.",
    ),
    exit(
        6,
        true,
        "order outcome unknown",
        "The order was sent and no answer came: it may have been executed or not.",
        "Ask `sealfeed order status ID`, or repeat the same command with the same --id: it trades nothing twice.",
    ),
    exit(
        7,
        false,
        "done, with gaps",
        "`record`, `bench`: messages are missing, and each gap stands on standard error. What came is good.",
        "Record again, resume sooner, or subscribe to less.",
    ),
    exit(
        20,
        false,
        "TAMPERED",
        "`audit verify`: entries of the log were changed, removed or put in, and its hashes or signatures show it.",
        "Keep the folder as it is, do not start the server on it, and compare with a checkpoint that was kept elsewhere.",
    ),
    exit(
        21,
        false,
        "TRUNCATED",
        "`audit verify`: the log is shorter than a checkpoint, a receipt or --expect-size says that it was.",
        "Keep the folder as it is: this is an incident.",
    ),
    exit(
        22,
        false,
        "CORRUPT",
        "`audit verify`: bytes cannot be read as a log, as a bad disk leaves them.",
        "Keep the folder as it is, and restore the segment from a copy.",
    ),
    exit(
        23,
        false,
        "UNANCHORED",
        "`audit verify`: the log agrees with itself, but nothing from outside it was given to compare it with.",
        "Give --key, and better a checkpoint, a receipt or the first epoch key, too.",
    ),
    exit(
        24,
        false,
        "FORK",
        "`audit verify`: the log and a checkpoint, both signed by its key, tell two different stories.",
        "Keep both: this is an incident.",
    ),
    exit(
        25,
        false,
        "EPOCH GAP",
        "`audit verify`: the chain of epoch keys has a gap, so that some seals cannot be checked.",
        "Keep the folder as it is: this is an incident unless a recovery declares it.",
    ),
    exit(
        26,
        false,
        "UNCLEAN",
        "`audit verify`: a crash left a torn end that the next start of the server will declare.",
        "Start the server, then verify again.",
    ),
    exit(
        27,
        false,
        "DIVERGED",
        "`audit replay --execute`: the recorded inputs lead to other outputs than the log holds.",
        "Note the entry that is printed: either the log or the program is not what it was.",
    ),
    exit(
        28,
        false,
        "REFUSED",
        "`audit replay --execute`: the log cannot be executed again, because something that decides is missing or unknown.",
        "Read which entry it names; a newer program may know it.",
    ),
    exit(
        66,
        false,
        "no such log or order",
        "The folder holds no log, or the log has no such order.",
        "Check the path, and the number or name of the order.",
    ),
    exit(
        70,
        false,
        "the sealed log failed",
        "The server could not make the log durable, admitted nothing more and ended. What was answered before is in the log.",
        "See to the disk first; then start the server: it recovers and says what it found.",
    ),
    exit(
        71,
        false,
        "the state of the sealed log forbids to start",
        "The log contradicts itself, or is not the one that was expected; going on would write over evidence.",
        "Run `sealfeed audit verify` on it, and follow its verdict.",
    ),
    exit(
        73,
        false,
        "cannot create",
        "An output file cannot be created, or exists already.",
        "Check the folder and its permissions; --force replaces a file where the command has it.",
    ),
    exit(
        74,
        true,
        "cannot read",
        "A file or folder cannot be read to its end.",
        "Check permissions and the disk.",
    ),
    exit(
        75,
        true,
        "too recent",
        "`audit prove`: no signed checkpoint covers the order yet.",
        "Try again in a second or two.",
    ),
    exit(
        78,
        false,
        "configuration",
        "The configuration, a file that it names, or a policy is not valid. Nothing was started or changed.",
        "Correct what the message names: it has file, line and code.",
    ),
];

/// Where a code is met: ends of sentences that begin with "It appears".
pub(super) fn appears(code: Code) -> Vec<String> {
    let mut places = Vec::new();
    if let Some(status) = code.http_status() {
        places.push(format!(
            "as HTTP {status} in answer to an upgrade, in its JSON body, and as an entry `upgrade_refused`"
        ));
    }
    if let Some(close) = code.close_code() {
        places.push(format!(
            "as the reason of close code {} ({}), and as an entry `disconnect`",
            close.number(),
            close.name()
        ));
    }
    let has_effect = !places.is_empty();
    match code.area() {
        Area::Tls => places.extend(before_the_session(code)),
        Area::Ses if has_effect => {}
        Area::Ses => places
            .push("in an `error` in answer to a request, and as an entry `reject` or `limit`".to_owned()),
        Area::Sub => places.push("in `refused` of the reply `subscribed`, or in an `error`".to_owned()),
        Area::Ord | Area::Rsk => {
            places.push("in an `error` in answer to a signed request, and as an entry `order_refused`, or `reject` if it was not authentic".to_owned());
        }
        Area::Pub => {
            places.push(
                "in an `error` to a publisher, or in the server's log where a source is at fault".to_owned(),
            );
        }
        Area::Aud => places.push(
            "in the server's log and on its standard error, at a start or when the log fails".to_owned(),
        ),
        Area::Cfg => {
            places.push("on standard error of a start that it prevents, in the answer to a reload that it prevents, and in the entry of that reload".to_owned());
        }
        Area::Clu | Area::Cli => {
            places.push("on standard error of the command that found it, and nowhere else".to_owned())
        }
    }
    if matches!(code.area(), Area::Tls | Area::Ses | Area::Ord | Area::Rsk) {
        places.push(format!("in the metric sealfeed_refusals_total{{code=\"{code}\"}}"));
    }
    places
}

/// A peer without a principal gets no reason.
fn before_the_session(code: Code) -> Vec<String> {
    let alerts: Vec<&str> =
        ALERTS.iter().filter(|alert| alert.codes.contains(&code)).map(|alert| alert.name).collect();
    let is_limit = matches!(
        code,
        Code::TlsConnectionsFull
            | Code::TlsAddressConnectionsFull
            | Code::TlsHandshakeRate
            | Code::TlsHandshakesFull
            | Code::TlsServerHandshakeRate
            | Code::TlsAddressBanned
            | Code::TlsPressure
    );
    if is_limit {
        return vec!["as an entry `limit`; the peer only sees the connection close before TLS".to_owned()];
    }
    if code == Code::TlsAddressFailures {
        return vec!["as an entry `ban`; the peer only sees its connections close before TLS".to_owned()];
    }
    let seen = if alerts.is_empty() {
        "the peer sees a TLS alert at most".to_owned()
    } else {
        format!("the peer sees the TLS alert {}", alerts.join(" or "))
    };
    vec![format!("as an entry `handshake_refused`; {seen}")]
}
