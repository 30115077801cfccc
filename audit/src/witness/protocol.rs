//! The `add-checkpoint` exchange: a request with proof and checkpoint, and the five answers there are.
//!
//! ```text
//! old 20852014
//! BASE64 of a hash              at most 63 lines: proof that the new tree continues the old one
//!
//! ORIGIN                        the signed checkpoint
//! 20852163
//! BASE64 of the root
//!
//! — NAME BASE64
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::chain::Hash;
use crate::fields::decimal;

/// Most hashes a request may carry.
pub const PROOF_HASHES_MAX: usize = 63;
/// Largest request: the proof and the largest note.
pub const REQUEST_BYTES_MAX: usize = 8_192 + crate::note::NOTE_BYTES_MAX;
/// Path of the request below the witness's address.
pub const PATH: &str = "/add-checkpoint";
/// Content type of the answer that states a size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// What a log sends to a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Size of the largest tree that the log believes the witness has; 0 for none.
    pub old: u64,
    /// Proof that the checkpoint's tree continues that one; empty if `old` is 0 or the sizes are the same.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl Request {
    /// The body of the request.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("old {}\n", self.old);
        for hash in &self.proof {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a body; `None` for what is malformed or too large.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        if text.len() > REQUEST_BYTES_MAX {
            return None;
        }
        let (head, checkpoint) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = decimal(lines.next()?.strip_prefix("old ")?)?;
        let proof = lines.map(hash).collect::<Option<Vec<_>>>()?;
        (proof.len() <= PROOF_HASHES_MAX).then(|| Self { old, proof, checkpoint: checkpoint.to_owned() })
    }
}

fn hash(line: &str) -> Option<Hash> {
    STANDARD.decode(line).ok()?.try_into().ok()
}

/// What a witness answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200: the cosignature, one or more signature lines.
    Cosigned(String),
    /// 409: the request's `old` is not the size of the largest tree the witness has; this is.
    Conflict(u64),
    /// 400: the request is malformed, or `old` is larger than the checkpoint.
    Malformed,
    /// 403: no signature of the log's key is on the checkpoint.
    Untrusted,
    /// 404: the witness does not know this origin.
    UnknownOrigin,
    /// 422: the proof does not hold: the trees do not continue each other.
    Inconsistent,
}

impl Answer {
    /// Status of the HTTP answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Cosigned(_) => 200,
            Self::Conflict(_) => 409,
            Self::Malformed => 400,
            Self::Untrusted => 403,
            Self::UnknownOrigin => 404,
            Self::Inconsistent => 422,
        }
    }

    /// Body of the HTTP answer.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::Cosigned(lines) => lines.clone(),
            Self::Conflict(size) => format!("{size}\n"),
            Self::Malformed => "the request is malformed\n".to_owned(),
            Self::Untrusted => "no signature of a known key is on the checkpoint\n".to_owned(),
            Self::UnknownOrigin => "this witness does not watch a log of this origin\n".to_owned(),
            Self::Inconsistent => "the proof does not hold\n".to_owned(),
        }
    }

    /// Reads an HTTP answer; `None` for one that this protocol does not have.
    #[must_use]
    pub fn from_parts(status: u16, body: &str) -> Option<Self> {
        Some(match status {
            200 if body.ends_with('\n') => Self::Cosigned(body.to_owned()),
            409 => Self::Conflict(decimal(body.strip_suffix('\n')?)?),
            400 => Self::Malformed,
            403 => Self::Untrusted,
            404 => Self::UnknownOrigin,
            422 => Self::Inconsistent,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn request_round_trips(old: u64, proof in prop::collection::vec(any::<[u8; 32]>(), 0..=PROOF_HASHES_MAX)) {
            let request = Request { old, proof, checkpoint: "log.example\n1\nAA==\n\n\u{2014} x AA==\n".to_owned() };
            prop_assert_eq!(Request::from_text(&request.to_text()), Some(request));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(old )?[0-9A-Za-z+/=\n ]{0,200}") {
            if let Some(request) = Request::from_text(&text) {
                prop_assert_eq!(request.to_text(), text);
            }
        }
    }

    #[test]
    fn request_with_a_proof_that_is_too_long_or_another_first_line_is_refused() {
        let long = Request { old: 1, proof: vec![[1; 32]; PROOF_HASHES_MAX + 1], checkpoint: String::new() };
        assert_eq!(Request::from_text(&long.to_text()), None);
        for text in ["", "old 1\n", "old 01\n\nx", "old -1\n\nx", "new 1\n\nx", "old 1\nAA==\n\nx"] {
            assert_eq!(Request::from_text(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_answer_round_trips_through_status_and_body() {
        let answers = [
            Answer::Cosigned("\u{2014} w AA==\n".to_owned()),
            Answer::Conflict(7),
            Answer::Malformed,
            Answer::Untrusted,
            Answer::UnknownOrigin,
            Answer::Inconsistent,
        ];
        for answer in answers {
            assert_eq!(Answer::from_parts(answer.status(), &answer.body()), Some(answer));
        }
        assert_eq!(Answer::from_parts(500, ""), None);
        assert_eq!(Answer::from_parts(409, "seven\n"), None);
    }
}
