//! Cosignatures of witnesses (C2SP tlog-cosignature, `cosignature/v1`: timestamped Ed25519, signature type 0x04).
//!
//! A witness that cosigns a checkpoint states: at this time, this was the largest tree of this log that I had seen, and it
//! continues every earlier one that I cosigned. Specification: <https://c2sp.org/tlog-cosignature>.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::chain::{hex, sha256_of};
use crate::note::{Note, NoteError, SIGNATURE_START, SigningKey, VerifierKey};

const COSIGNATURE_TYPE: u8 = 4;
/// Bytes of a time and a signature on a signature line, after the key id.
const TIMED_SIGNATURE_BYTES: usize = 8 + crate::note::SIGNATURE_BYTES;

/// Public key of a witness, with the name it signs under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    id: [u8; 4],
    key: VerifierKey,
}

impl WitnessKey {
    /// A key from its name and raw Ed25519 bytes.
    ///
    /// # Errors
    /// [`NoteError::Name`] when the name cannot stand on a signature line.
    pub fn new(name: &str, key: [u8; 32]) -> Result<Self, NoteError> {
        let key = VerifierKey::new(name, key)?;
        let hash = sha256_of(&[name.as_bytes(), b"\n", &[COSIGNATURE_TYPE], key.bytes()]);
        let mut id = [0u8; 4];
        id.copy_from_slice(&hash[..4]);
        Ok(Self { id, key })
    }

    /// The name on signature lines.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// Checks that this witness cosigned the checkpoint in `note`; the time it states, seconds since 1970.
    ///
    /// # Errors
    /// [`NoteError::NotSigned`] without a cosignature of this key, [`NoteError::WrongSignature`] with a bad one.
    pub fn verify(&self, note: &Note<'_>) -> Result<u64, NoteError> {
        let mut time = Err(NoteError::NotSigned);
        for blob in note.signatures_of(self.name(), self.id) {
            let (seconds, signature) = split(blob).ok_or(NoteError::WrongSignature)?;
            if !self.key.verify(message(seconds, note.text).as_bytes(), signature) {
                return Err(NoteError::WrongSignature);
            }
            time = Ok(seconds);
        }
        time
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = vec![COSIGNATURE_TYPE];
        typed.extend_from_slice(self.key.bytes());
        write!(f, "{}+{}+{}", self.name(), hex(&self.id), STANDARD.encode(typed))
    }
}

impl FromStr for WitnessKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let typed = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let Some((&COSIGNATURE_TYPE, key)) = typed.split_first() else { return Err(NoteError::Key) };
        let key = Self::new(name, key.try_into().map_err(|_| NoteError::Key)?)?;
        if hex(&key.id) == id { Ok(key) } else { Err(NoteError::Key) }
    }
}

/// The key of a witness: an Ed25519 key that signs cosignatures only.
#[derive(Debug)]
pub struct WitnessSigner {
    key: SigningKey,
    public: WitnessKey,
}

impl WitnessSigner {
    /// A signer with this key.
    ///
    /// # Errors
    /// [`NoteError::Name`] when the key's name cannot stand on a signature line.
    pub fn new(key: SigningKey) -> Result<Self, NoteError> {
        let public = WitnessKey::new(key.public().name(), *key.public().bytes())?;
        Ok(Self { key, public })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &WitnessKey {
        &self.public
    }

    /// Cosigns the text of a checkpoint at a time, seconds since 1970: a signature line ending in a newline.
    ///
    /// # Errors
    /// [`NoteError::Crypto`] when signing fails.
    pub fn cosign(&self, text: &str, seconds: u64) -> Result<String, NoteError> {
        let mut blob = self.public.id.to_vec();
        blob.extend_from_slice(&seconds.to_be_bytes());
        blob.extend_from_slice(&self.key.sign(message(seconds, text).as_bytes())?);
        Ok(format!("{SIGNATURE_START}{} {}\n", self.public.name(), STANDARD.encode(blob)))
    }
}

fn message(seconds: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

fn split(blob: &[u8]) -> Option<(u64, &[u8])> {
    if blob.len() != TIMED_SIGNATURE_BYTES {
        return None;
    }
    let (time, signature) = blob.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(seed: u8) -> WitnessSigner {
        WitnessSigner::new(SigningKey::from_seed("witness.example/w1", &[seed; 32]).unwrap()).unwrap()
    }

    fn checkpoint() -> String {
        let key = SigningKey::from_seed("log.example", &[1; 32]).unwrap();
        key.sign_note("log.example\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap()
    }

    #[test]
    fn cosigned_checkpoint_opens_with_its_witness_and_states_its_time() {
        let note = checkpoint();
        let line = signer(2).cosign(Note::parse(&note).unwrap().text, 1_700_000_000).unwrap();
        let cosigned = format!("{note}{line}");
        let parsed = Note::parse(&cosigned).unwrap();
        assert_eq!(signer(2).public().verify(&parsed), Ok(1_700_000_000));
        assert_eq!(signer(3).public().verify(&parsed), Err(NoteError::NotSigned));
        parsed.verify(SigningKey::from_seed("log.example", &[1; 32]).unwrap().public()).unwrap();
    }

    #[test]
    fn every_flipped_bit_of_a_cosignature_is_refused() {
        let note = checkpoint();
        let line = signer(2).cosign(Note::parse(&note).unwrap().text, 1_700_000_000).unwrap();
        let blob = STANDARD.decode(line.trim_end().rsplit(' ').next().unwrap()).unwrap();
        for bit in 0..blob.len() * 8 {
            let mut wrong = blob.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let cosigned = format!("{note}{SIGNATURE_START}witness.example/w1 {}\n", STANDARD.encode(&wrong));
            assert!(signer(2).public().verify(&Note::parse(&cosigned).unwrap()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn key_text_round_trips_and_a_key_of_a_log_is_refused() {
        let key = signer(4).public().clone();
        assert_eq!(key.to_string().parse(), Ok(key));
        let log = SigningKey::from_seed("log.example", &[1; 32]).unwrap();
        assert_eq!(log.public().to_string().parse::<WitnessKey>(), Err(NoteError::Key));
    }

    #[test]
    fn key_id_is_that_of_the_specification() {
        // SHA-256(name || "\n" || 0x04 || key), first four bytes, computed here from the definition alone.
        let key = signer(4).public().clone();
        let text = key.to_string();
        let public = STANDARD.decode(text.rsplit('+').next().unwrap()).unwrap();
        let hash = sha256_of(&[b"witness.example/w1\n", &public]);
        assert_eq!(text.split('+').nth(1).unwrap(), hex(&hash[..4]));
    }
}
