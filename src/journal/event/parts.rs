//! What fields of several events are made of.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes in the log, hex for people: a certificate in DER form, a signature, a piece of state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&sealfeed_wire::hex::encode(&self.0))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Events are read from the log alone; nobody reads them from text.
        Vec::deserialize(deserializer).map(Self)
    }
}

/// Messages of one stream, from one number to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveredRange {
    /// The stream's channel.
    pub channel: String,
    /// The stream's symbol.
    pub symbol: String,
    /// Levels of the stream a side; 0 for all of them, and for channels without.
    pub depth: u32,
    /// Number of the first message.
    pub first: u64,
    /// Number of the last one. What lies between was delivered, too.
    pub last: u64,
}

/// One instrument, as orders in it are read and matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedInstrument {
    /// Text name on the wire.
    pub symbol: String,
    /// Whether the venue matches orders in it.
    pub tradable: bool,
    /// Decimals of its prices.
    pub price_decimals: u8,
    /// Decimals of its quantities.
    pub quantity_decimals: u8,
    /// Smallest price step in 1e-9.
    pub tick: i64,
    /// Smallest quantity step in 1e-9.
    pub lot: u64,
}
