//! Payloads of entries that report what the application knows: digests of its state.
//!
//! Text as all of the log's own payloads, specified in `FORMAT.md`.

use crate::chain::Hash;
use crate::fields::{FieldsReader, FieldsWriter};

const STATE_HASH_TITLE: &str = "sealfeed/v1 state-hash";

/// Payload of a `STATE_HASH` entry: what a re-execution of the inputs before it must arrive at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHash {
    /// What is digested and how, in the application's words, such as `venue/1`: no spaces, no control characters.
    pub of: String,
    /// Inputs taken since the state was new.
    pub inputs: u64,
    /// The digest.
    pub digest: Hash,
}

impl StateHash {
    /// The payload.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        FieldsWriter::new(STATE_HASH_TITLE)
            .text("of", &self.of)
            .number("inputs", self.inputs)
            .hash("digest", &self.digest)
            .finish()
            .into_bytes()
    }

    /// Reads the payload of a `STATE_HASH` entry; `None` when it is not one.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let mut fields = FieldsReader::new(std::str::from_utf8(payload).ok()?, STATE_HASH_TITLE)?;
        let state = Self {
            of: fields.text("of")?.to_owned(),
            inputs: fields.number("inputs")?,
            digest: fields.hash("digest")?,
        };
        fields.finish()?;
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_hash_reads_back_and_nothing_may_follow_it() {
        let state = StateHash { of: "venue/1".to_owned(), inputs: 10_000, digest: [7; 32] };
        let payload = state.to_payload();
        assert_eq!(StateHash::from_payload(&payload), Some(state));
        assert_eq!(StateHash::from_payload(&[&payload[..], b"\n"].concat()), None);
        assert_eq!(StateHash::from_payload(&payload[..payload.len() - 1]), None);
        assert_eq!(StateHash::from_payload(b"\xff"), None);
    }
}
