//! What the targets in `fuzz/` need of this crate's inside. No interface: it changes without notice, and nothing else may use it.

use sealfeed_wire::ServerMessage;

use crate::records::Records;

/// Reads the binary frames of a connection on which these replies came (texts of `subscribed`), until one cannot be read: how many
/// messages they held, and what was said of the last.
#[must_use]
pub fn records(replies: &[&str], frames: &[&[u8]]) -> (usize, Option<String>) {
    let mut records = Records::default();
    for reply in replies {
        if let Ok(ServerMessage::Subscribed(reply)) = ServerMessage::decode(reply) {
            records.subscribed(&reply, &[]);
        }
    }
    let mut count = 0;
    for frame in frames {
        if let Err(error) = records.read(frame, |_, _| count += 1) {
            return (count, Some(error.to_string()));
        }
    }
    (count, None)
}
