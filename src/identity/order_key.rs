//! Order keys: derived from a master secret and the client's certificate, stored nowhere.
//!
//! HKDF-SHA256 (RFC 5869) with an empty salt and info `"sealfeed order key v1" || SHA-256(certificate DER)`. Two
//! masters may be live, current and previous, so that clients move to new keys at their own pace. Secrets are
//! zeroed when dropped and never printed.

use std::fmt;

use hkdf::Hkdf;
use sealfeed_wire::OrderKey;
use sealfeed_wire::signing::ORDER_KEY_INFO;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::error::IdentityError;
use super::files::Contents;

/// The secret that order keys come from.
pub(super) struct MasterSecret(Zeroizing<[u8; 32]>);

impl MasterSecret {
    /// Reads one line of 64 lower-case hexadecimal digits; the line end may be missing.
    pub(super) fn parse(contents: Contents) -> Result<Self, IdentityError> {
        let role = contents.role;
        let bytes = Zeroizing::new(contents.bytes);
        std::str::from_utf8(&bytes)
            .ok()
            .map(|text| text.strip_suffix('\n').unwrap_or(text))
            .and_then(|line| sealfeed_wire::hex::decode(line).ok())
            .map(|secret| Self(Zeroizing::new(secret)))
            .ok_or(IdentityError::MasterSecret { role })
    }

    /// The order key of the certificate with this SHA-256.
    pub(super) fn order_key(&self, certificate_sha256: &[u8; 32]) -> OrderKey {
        let mut key = Zeroizing::new([0; 32]);
        // One block of output is always within HKDF's bound, so the result cannot be an error.
        let expanded = Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand_multi_info(&[ORDER_KEY_INFO, certificate_sha256], key.as_mut_slice());
        debug_assert!(expanded.is_ok());
        OrderKey::from_bytes(*key)
    }

    /// A public name of the secret for the journal: 16 hexadecimal digits from which nothing can be learnt.
    pub(super) fn name(&self) -> String {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(b"sealfeed master name v1")
            .chain_update(self.0.as_slice())
            .finalize()
            .into();
        sealfeed_wire::hex::encode(&digest[..8])
    }
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterSecret(redacted)")
    }
}

/// The keys that one client's orders may be signed with.
#[derive(Clone, Debug)]
pub struct OrderKeys {
    /// Of which generation of master secrets they are: another one than [`super::Identity::key_generation`] means that the
    /// secrets may have changed since.
    pub generation: u64,
    /// From the master in force.
    pub current: OrderKey,
    /// From the master before, while it is still honoured.
    pub previous: Option<OrderKey>,
}

/// The masters that are live.
#[derive(Debug)]
pub(super) struct Masters {
    pub(super) current: MasterSecret,
    pub(super) previous: Option<MasterSecret>,
}

impl Masters {
    /// The keys of the certificate with this SHA-256.
    pub(super) fn order_keys(&self, certificate_sha256: &[u8; 32], generation: u64) -> OrderKeys {
        OrderKeys {
            generation,
            current: self.current.order_key(certificate_sha256),
            previous: self.previous.as_ref().map(|master| master.order_key(certificate_sha256)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::FileRole;
    use super::super::files::FileRecord;
    use super::*;

    fn check(text: &[u8]) -> Option<MasterSecret> {
        let role = FileRole::MasterKey;
        let record = FileRecord { role, path: "m".into(), sha256: None };
        MasterSecret::parse(Contents { role, bytes: text.to_vec(), record, digest: [0; 32] }).ok()
    }

    #[test]
    fn a_master_secret_is_one_line_of_64_lower_case_digits() {
        let line = "ab".repeat(32);
        assert!(check(line.as_bytes()).is_some());
        assert!(check(format!("{line}\n").as_bytes()).is_some());
        for bad in [
            String::new(),
            line[..62].to_owned(),
            line.to_uppercase(),
            format!("{line}\n\n"),
            format!(" {line}"),
            "zz".repeat(32),
        ] {
            assert!(check(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    /// Computed with an independent HKDF (Python's hmac and hashlib).
    #[test]
    fn the_order_key_is_hkdf_of_master_and_certificate() {
        let master = check("0b".repeat(32).as_bytes()).unwrap();
        let key = master.order_key(&[0x11; 32]);
        assert_eq!(
            key.to_file_text().trim_end(),
            "9a524a53ca25489d2d464278c4139d9e2882b1dfed4f06a61ea961449dba3174"
        );
        assert_ne!(master.order_key(&[0x12; 32]).to_file_text(), key.to_file_text());
    }

    #[test]
    fn a_master_secret_is_never_printed() {
        let master = check("ab".repeat(32).as_bytes()).unwrap();
        assert_eq!(format!("{master:?}"), "MasterSecret(redacted)");
        assert!(!master.name().contains("abab"));
    }
}
