//! Codes as a client reads them.

use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use super::Code;

/// Longest text taken for a code.
const CODE_BYTES_MAX: usize = 64;

/// A code as a client reads it: a newer server may send one that this table does not have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AnyCode {
    /// In the table.
    Known(Code),
    /// Not in this version of the table: at most 64 of `A-Z a-z 0-9 -`.
    Other(Box<str>),
}

impl AnyCode {
    /// The text on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(code) => code.as_str(),
            Self::Other(text) => text,
        }
    }
}

impl From<Code> for AnyCode {
    fn from(code: Code) -> Self {
        Self::Known(code)
    }
}

impl PartialEq<Code> for AnyCode {
    fn eq(&self, other: &Code) -> bool {
        matches!(self, Self::Known(code) if code == other)
    }
}

impl fmt::Display for AnyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for AnyCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for AnyCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_code = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_code || text.len() > CODE_BYTES_MAX {
            return Err(de::Error::invalid_value(de::Unexpected::Str(&text), &"a code"));
        }
        Ok(Code::parse(&text).map_or_else(|| Self::Other(text.into()), Self::Known))
    }
}
