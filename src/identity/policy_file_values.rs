//! Values of the policy file: what each key takes, and what it says to anything else.

use sealfeed_wire::{Channel, Conflation};
use serde::Deserialize;

use crate::types::SessionsPolicy;
use crate::types::principal::is_name;

/// Most bytes of a symbol pattern.
const PATTERN_BYTES_MAX: usize = 64;

/// A firm, role or user to match exactly; `None` stands for `"*"`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct NameTerm(pub(super) Option<String>);

impl TryFrom<String> for NameTerm {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "*" => Ok(Self(None)),
            name if is_name(name) => Ok(Self(Some(text))),
            _ => Err(format!("{text:?} is neither `*` nor 1 to 64 characters of A-Z a-z 0-9 . _ -")),
        }
    }
}

/// A channel of market data; `orders` comes with the right to trade, `drop_copy` with the right of that name, and neither can be granted as a channel.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct MarketChannel(pub(super) Channel);

impl TryFrom<String> for MarketChannel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match Channel::parse(&text) {
            Ok(Channel::Orders) => Err("channel `orders` comes with `[rule.orders]`".to_owned()),
            Ok(Channel::DropCopy) => Err("channel `drop_copy` comes with `drop_copy = true`".to_owned()),
            Ok(channel) => Ok(Self(channel)),
            Err(_) => Err(format!("unknown channel {text:?}")),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern(pub(super) String);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_pattern = (1..=PATTERN_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':' | b'*')
            });
        if is_pattern {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is no symbol pattern: 1 to 64 characters of A-Z a-z 0-9 . _ - / : *"))
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct DepthMax(pub(super) u32);

impl TryFrom<u32> for DepthMax {
    type Error = String;

    fn try_from(depth: u32) -> Result<Self, String> {
        match depth {
            0 | 10 | 50 => Ok(Self(depth)),
            _ => Err(format!("depth {depth} is none of 10, 50 and 0 (full)")),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct ConflateMin(pub(super) Conflation);

impl Default for ConflateMin {
    fn default() -> Self {
        Self(Conflation::Off)
    }
}

impl TryFrom<u32> for ConflateMin {
    type Error = String;

    fn try_from(interval: u32) -> Result<Self, String> {
        let known = u16::try_from(interval).ok().and_then(|interval| Conflation::try_from(interval).ok());
        known
            .map(Self)
            .ok_or_else(|| format!("interval {interval} is none of 0 (every message), 100, 250 and 1000"))
    }
}

/// Milliseconds; zero: none.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Delay(pub(super) u64);

impl TryFrom<String> for Delay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = ["s", "m", "h"].into_iter().zip([1, 60, 3_600]).find_map(|(unit, seconds)| {
            let number = text.strip_suffix(unit)?;
            let is_plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
            number.parse::<u64>().ok().filter(|_| is_plain)?.checked_mul(seconds)
        });
        match parsed {
            Some(seconds @ 1..=86_400) => Ok(Self(seconds * 1_000)),
            _ => {
                Err(format!("{text:?} is no delay: a whole number with s, m or h behind it, from 1s to 24h"))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Sessions(pub(super) SessionsPolicy);

impl TryFrom<String> for Sessions {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let found = SessionsPolicy::parse(&text).map(Self);
        found.ok_or_else(|| format!("{text:?} is none of refuse, evict and count"))
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct AtLeastOne(pub(super) u32);

impl TryFrom<u32> for AtLeastOne {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        if count == 0 { Err("0 would lock everybody out: at least 1".to_owned()) } else { Ok(Self(count)) }
    }
}
