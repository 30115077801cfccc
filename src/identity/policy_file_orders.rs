//! The tables of the policy file that bound orders: `[rule.orders]` and `[[firm]]`.

use sealfeed_wire::Quantity;
use serde::Deserialize;

use super::policy_file_values::Pattern;
use crate::types::{AdminVerb, CancelOnDisconnect, ProofDemand};

/// Longest time within which orders are compared, in milliseconds: an hour.
const DUPLICATES_MS_MAX: u64 = 3_600_000;
/// Most orders alike that may be allowed in that time: more could not be told apart from no bound.
const DUPLICATES_MAX: u32 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrdersText {
    #[serde(default)]
    pub(super) symbols: Vec<Pattern>,
    #[serde(default)]
    pub(super) products: Vec<String>,
    #[serde(default)]
    pub(super) quantity_max: QuantityMax,
    #[serde(default)]
    pub(super) notional_max: u64,
    #[serde(default)]
    pub(super) open_orders_max: u32,
    #[serde(default)]
    pub(super) orders_per_second: PerSecond,
    #[serde(default)]
    pub(super) proof: Proof,
    #[serde(default)]
    pub(super) restricted_symbols: Vec<Pattern>,
    #[serde(default)]
    pub(super) price_collar_bps: u32,
    #[serde(default)]
    pub(super) position_max: QuantityMax,
    #[serde(default)]
    pub(super) exposure_max: u64,
    #[serde(default)]
    pub(super) loss_max: u64,
    pub(super) duplicates_max: Option<DuplicatesMax>,
    pub(super) duplicates_ms: Option<DuplicatesMs>,
    #[serde(default)]
    pub(super) cancel_on_disconnect: OnDisconnect,
    #[serde(default = "cancels_on_revocation")]
    pub(super) cancel_on_revocation: bool,
}

const fn cancels_on_revocation() -> bool {
    true
}

impl OrdersText {
    /// Whether only one of the two keys is there that need each other.
    pub(super) const fn has_half_duplicates(&self) -> bool {
        self.duplicates_max.is_some() != self.duplicates_ms.is_some()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FirmText {
    pub(super) name: String,
    #[serde(default)]
    pub(super) restricted_symbols: Vec<Pattern>,
    #[serde(default)]
    pub(super) open_orders_max: u32,
    #[serde(default)]
    pub(super) position_max: QuantityMax,
    #[serde(default)]
    pub(super) exposure_max: u64,
    #[serde(default)]
    pub(super) loss_max: u64,
    pub(super) orders_per_second: Option<PerSecond>,
}

impl FirmText {
    /// Whether the table has no effect.
    pub(super) fn bounds_nothing(&self) -> bool {
        self.restricted_symbols.is_empty()
            && self.open_orders_max == 0
            && self.position_max.0.is_zero()
            && self.exposure_max == 0
            && self.loss_max == 0
            && self.orders_per_second.is_none()
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct DuplicatesMax(pub(super) u32);

impl TryFrom<u32> for DuplicatesMax {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        match count {
            1..=DUPLICATES_MAX => Ok(Self(count)),
            _ => Err(format!("{count} orders alike are not within 1 to {DUPLICATES_MAX}")),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct DuplicatesMs(pub(super) u64);

impl TryFrom<u64> for DuplicatesMs {
    type Error = String;

    fn try_from(time: u64) -> Result<Self, String> {
        match time {
            1..=DUPLICATES_MS_MAX => Ok(Self(time)),
            _ => Err(format!("{time} ms are not within 1 to {DUPLICATES_MS_MAX}")),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct OnDisconnect(pub(super) CancelOnDisconnect);

impl TryFrom<String> for OnDisconnect {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let found = CancelOnDisconnect::parse(&text).map(Self);
        found.ok_or_else(|| format!("{text:?} is none of off, connection and principal"))
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Proof(pub(super) ProofDemand);

impl Default for Proof {
    fn default() -> Self {
        Self(ProofDemand::Mac)
    }
}

impl TryFrom<String> for Proof {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        ProofDemand::parse(&text).map(Self).map_err(|_| format!("{text:?} is none of mac, sig and both"))
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Verb(pub(super) AdminVerb);

impl TryFrom<String> for Verb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let found = AdminVerb::parse(&text).map(Self);
        found.map_err(|_| {
            let known: Vec<&str> = AdminVerb::ALL.iter().map(|verb| verb.as_str()).collect();
            format!("{text:?} is no verb of an operator; there are {}", known.join(", "))
        })
    }
}

/// Zero: no bound.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct QuantityMax(pub(super) Quantity);

impl TryFrom<String> for QuantityMax {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<Quantity>()
            .map(Self)
            .map_err(|_| format!("{text:?} is no quantity: digits, at most nine decimals, no sign"))
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct PerSecond(pub(super) u32);

impl Default for PerSecond {
    fn default() -> Self {
        Self(50)
    }
}

impl TryFrom<u32> for PerSecond {
    type Error = String;

    fn try_from(rate: u32) -> Result<Self, String> {
        match rate {
            1..=1_000_000 => Ok(Self(rate)),
            _ => Err(format!("a rate of {rate} a second is not within 1 to 1000000")),
        }
    }
}
