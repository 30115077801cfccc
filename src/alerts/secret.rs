//! The secret that signs messages to a webhook, and the signature: the symmetric scheme `v1` of Standard Webhooks 1.0.0.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::types::Code;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret, by the specification.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Most bytes of the file: the longest secret, and some white space.
const FILE_BYTES_MAX: u64 = 256;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read secret_file {path:?}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner can read it.
    #[error("secret_file {path:?} has mode {mode:03o}: others can read it")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no secret.
    #[error("secret_file {path:?} is not one line of whsec_ and base64 of 24 to 64 bytes")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
}

impl SecretError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Read { .. } => Code::CfgFileUnreadable,
            Self::Exposed { .. } => Code::CfgFileExposed,
            Self::Malformed { .. } => Code::CfgWebhookSecretUnusable,
        }
    }
}

/// A secret, ready to sign.
pub(super) struct Secret(Hmac<Sha256>);

/// Never shown.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads a file that only its owner can read.
    pub(super) fn read(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(String::new());
        let malformed = || SecretError::Malformed { path: path.to_owned() };
        match file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text) {
            Ok(_) => Self::parse(text.trim_end()).ok_or_else(malformed),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(malformed()),
            Err(error) => Err(failed(error)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(text.strip_prefix(PREFIX)?).ok()?);
        if !BYTES.contains(&bytes.len()) {
            return None;
        }
        Hmac::new_from_slice(&bytes).ok().map(Self)
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn read(text: &[u8], mode: u32) -> Result<String, Code> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        let read = Secret::read(file.path());
        read.map(|secret| format!("{secret:?}")).map_err(|error| error.code())
    }

    #[test]
    fn a_message_is_signed_as_the_specifications_example_is() {
        // From the specification's page and its libraries' tests.
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_its_owners_alone_and_of_the_specifications_form() {
        let good = format!("{PREFIX}{}\n", BASE64.encode([7; 32]));
        assert_eq!(read(good.as_bytes(), 0o600), Ok("Secret".to_owned()), "and is never shown");
        for mode in [0o640, 0o604, 0o660] {
            assert_eq!(read(good.as_bytes(), mode), Err(Code::CfgFileExposed));
        }
        let of_bytes = |count| format!("{PREFIX}{}", BASE64.encode(vec![7; count]));
        let long = "x".repeat(1_000);
        for bad in ["", "whsec_", &good[6..], &of_bytes(23), &of_bytes(65), "whsec_*", &long] {
            assert_eq!(read(bad.as_bytes(), 0o600), Err(Code::CfgWebhookSecretUnusable), "{bad}");
        }
        assert_eq!(read(b"\xff\xfe", 0o600), Err(Code::CfgWebhookSecretUnusable));
        let missing = Secret::read(Path::new("/nowhere/secret")).unwrap_err();
        assert_eq!(missing.code(), Code::CfgFileUnreadable);
    }
}
