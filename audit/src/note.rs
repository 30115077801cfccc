//! Signed notes (C2SP signed-note) with Ed25519 keys, signature type 0x01.
//!
//! A note is a text ending in a newline, an empty line, and one or more signature lines `— name base64(key id || signature)`.
//! A public key is written as in the Go `note` package: `name+keyid+base64(0x01 || key)`. A signing key never appears in
//! `Debug` output or errors.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::chain::{hex, sha256_of};

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Largest note this crate reads; what a witness must accept is far below.
pub const NOTE_BYTES_MAX: usize = 16_384;
/// Longest name of a key, and so of a log, bytes.
pub const NAME_BYTES_MAX: usize = 255;

const ED25519_TYPE: u8 = 1;
const SEED_BYTES: usize = 32;
pub(crate) const SIGNATURE_START: &str = "\u{2014} ";
const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

/// Why a key or note cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// A key's name must be 1 to 255 visible ASCII characters without `+`.
    #[error("key name must be 1 to 255 visible ASCII characters without '+'")]
    Name,
    /// The text is not a key of the form `name+keyid+base64`, or its id does not fit.
    #[error("text is not a note key")]
    Key,
    /// The text is not a signed note.
    #[error("text is not a signed note")]
    Malformed,
    /// No signature of the given key is on the note.
    #[error("note carries no signature of this key")]
    NotSigned,
    /// The signature of the given key does not fit the text.
    #[error("signature on the note is wrong")]
    WrongSignature,
    /// The operating system gave no random bytes, or the cryptographic library refused.
    #[error("key could not be made")]
    Crypto,
}

/// A public key with the name it signs under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

impl VerifierKey {
    /// A key from its name and raw bytes.
    ///
    /// # Errors
    /// [`NoteError::Name`] when the name cannot stand on a signature line.
    pub fn new(name: &str, key: [u8; 32]) -> Result<Self, NoteError> {
        check_name(name)?;
        let hash = sha256_of(&[name.as_bytes(), b"\n", &[ED25519_TYPE], &key]);
        let mut id = [0u8; 4];
        id.copy_from_slice(&hash[..4]);
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// The name on signature lines.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The raw Ed25519 public key.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key).verify(message, signature).is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = vec![ED25519_TYPE];
        typed.extend_from_slice(&self.key);
        write!(f, "{}+{}+{}", self.name, hex(&self.id), STANDARD.encode(typed))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let typed = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let Some((&ED25519_TYPE, key)) = typed.split_first() else { return Err(NoteError::Key) };
        let key = Self::new(name, key.try_into().map_err(|_| NoteError::Key)?)?;
        if hex(&key.id) == id { Ok(key) } else { Err(NoteError::Key) }
    }
}

/// A signing key with the name it signs under.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: VerifierKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`NoteError::Name`], or [`NoteError::Crypto`] when there are no random bytes.
    pub fn generate(name: &str) -> Result<Self, NoteError> {
        let mut seed = [0u8; SEED_BYTES];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| NoteError::Crypto)?;
        let key = Self::from_seed(name, &seed);
        crate::epoch::erase(&mut seed);
        key
    }

    /// The key of a seed.
    ///
    /// # Errors
    /// [`NoteError::Name`], or [`NoteError::Crypto`] when the library refuses the seed.
    pub fn from_seed(name: &str, seed: &[u8; SEED_BYTES]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::Crypto)?;
        let key = pair.public_key().as_ref().try_into().map_err(|_| NoteError::Crypto)?;
        let public = VerifierKey::new(name, key)?;
        Ok(Self { pair, public })
    }

    /// Reads a key file: one line `PRIVATE+KEY+name+keyid+base64(0x01 || seed)`.
    ///
    /// # Errors
    /// [`NoteError::Key`] for anything else.
    pub fn from_text(text: &str) -> Result<Self, NoteError> {
        let rest = text.trim_end().strip_prefix(PRIVATE_PREFIX).ok_or(NoteError::Key)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let mut typed = STANDARD.decode(seed).map_err(|_| NoteError::Key)?;
        let seed: Option<[u8; SEED_BYTES]> = match typed.split_first() {
            Some((&ED25519_TYPE, seed)) => seed.try_into().ok(),
            _ => None,
        };
        crate::epoch::erase(&mut typed);
        let mut seed = seed.ok_or(NoteError::Key)?;
        let key = Self::from_seed(name, &seed);
        crate::epoch::erase(&mut seed);
        let key = key?;
        if hex(&key.public.id) == id { Ok(key) } else { Err(NoteError::Key) }
    }

    /// The content of a key file; keep it to its owner.
    ///
    /// # Errors
    /// [`NoteError::Crypto`] when the library does not give out the seed.
    pub fn to_text(&self) -> Result<String, NoteError> {
        let seed = self.pair.seed().map_err(|_| NoteError::Crypto)?;
        let raw: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(|_| NoteError::Crypto)?;
        let mut typed = vec![ED25519_TYPE];
        typed.extend_from_slice(raw.as_ref());
        let line = format!(
            "{PRIVATE_PREFIX}{}+{}+{}\n",
            self.public.name,
            hex(&self.public.id),
            STANDARD.encode(&typed)
        );
        crate::epoch::erase(&mut typed);
        Ok(line)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// Signs raw bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], NoteError> {
        let signature = self.pair.try_sign(message).map_err(|_| NoteError::Crypto)?;
        signature.as_ref().try_into().map_err(|_| NoteError::Crypto)
    }

    /// Turns a text, which must end in a newline, into a signed note.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] when the text cannot be a note's, [`NoteError::Crypto`] when signing fails.
    pub fn sign_note(&self, text: &str) -> Result<String, NoteError> {
        if !text.ends_with('\n') || text.contains("\n\n") {
            return Err(NoteError::Malformed);
        }
        let mut signature = self.public.id.to_vec();
        signature.extend_from_slice(&self.sign(text.as_bytes())?);
        Ok(format!("{text}\n{SIGNATURE_START}{} {}\n", self.public.name, STANDARD.encode(signature)))
    }
}

/// A signed note taken apart; nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// The signed text, ending in a newline.
    pub text: &'a str,
    signatures: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Note<'a> {
    /// Takes a note apart.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] unless it is a text, an empty line, and signature lines up to the end.
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Malformed);
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, lines) = note.split_at(split + 1);
        let lines =
            lines.strip_prefix('\n').and_then(|l| l.strip_suffix('\n')).ok_or(NoteError::Malformed)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            let line = line.strip_prefix(SIGNATURE_START).ok_or(NoteError::Malformed)?;
            let (name, blob) = line.split_once(' ').ok_or(NoteError::Malformed)?;
            check_name(name).map_err(|_| NoteError::Malformed)?;
            let blob = STANDARD.decode(blob).map_err(|_| NoteError::Malformed)?;
            if blob.len() < 5 {
                return Err(NoteError::Malformed);
            }
            signatures.push((name, blob));
        }
        Ok(Self { text, signatures })
    }

    /// What stands after the key id on the signature lines of this name and id.
    pub(crate) fn signatures_of(&self, name: &str, id: [u8; 4]) -> impl Iterator<Item = &[u8]> {
        let of_key = move |(signer, blob): &&(&str, Vec<u8>)| *signer == name && blob.starts_with(&id);
        self.signatures.iter().filter(of_key).filter_map(|(_, blob)| blob.get(4..))
    }

    /// Names on the signature lines, in order.
    pub(crate) fn signers(&self) -> impl Iterator<Item = &'a str> {
        self.signatures.iter().map(|(signer, _)| *signer)
    }

    /// Checks that `key` signed the text. Signatures of other keys are ignored, as the specification asks.
    ///
    /// # Errors
    /// [`NoteError::NotSigned`] without a signature of this key, [`NoteError::WrongSignature`] with a bad one.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let mut found = false;
        for signature in self.signatures_of(&key.name, key.id) {
            if !key.verify(self.text.as_bytes(), signature) {
                return Err(NoteError::WrongSignature);
            }
            found = true;
        }
        if found { Ok(()) } else { Err(NoteError::NotSigned) }
    }
}

/// Whether a text can name a key.
pub(crate) fn check_name(name: &str) -> Result<(), NoteError> {
    let visible = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !visible { Err(NoteError::Name) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_note_package_example_opens() {
        // The example of golang.org/x/mod/sumdb/note: key, text and signature by another implementation.
        let key: VerifierKey =
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let note = format!(
            "{text}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        );
        Note::parse(&note).unwrap().verify(&key).unwrap();
        let forged = note.replace("answer", "Answer");
        assert_eq!(Note::parse(&forged).unwrap().verify(&key), Err(NoteError::WrongSignature));
        assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    }

    #[test]
    fn key_texts_round_trip_and_debug_hides_the_seed() {
        let key = SigningKey::from_seed("log.example", &[7; 32]).unwrap();
        let text = key.to_text().unwrap();
        assert_eq!(SigningKey::from_text(&text).unwrap().public(), key.public());
        assert_eq!(key.public().to_string().parse::<VerifierKey>().unwrap(), *key.public());
        assert!(!format!("{key:?}").contains(text.trim_end().rsplit('+').next().unwrap()));
        let note = key.sign_note("a\nb\n").unwrap();
        Note::parse(&note).unwrap().verify(key.public()).unwrap();
        let other = SigningKey::from_seed("log.example", &[8; 32]).unwrap();
        assert_eq!(Note::parse(&note).unwrap().verify(other.public()), Err(NoteError::NotSigned));
    }

    #[test]
    fn names_that_would_break_a_signature_line_are_refused() {
        for name in ["", "a b", "a+b", "a\nb", "\u{e9}"] {
            assert_eq!(SigningKey::from_seed(name, &[1; 32]).err(), Some(NoteError::Name), "{name:?}");
        }
    }
}
