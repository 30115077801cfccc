//! The form of the list of events: what is made of each of its rows.

/// Declares the events: one struct a kind, and the enum over them with its number and name. `+ n` in front of the struct: the
/// last n fields came with schema 2.
macro_rules! events {
    ($($(#[doc = $doc:literal])+ $number:literal $name:literal $(+ $added:literal)? $kind:ident { $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)* })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $kind { $($(#[doc = $field_doc])+ pub $field: $type,)* }

            impl From<$kind> for Event {
                fn from(event: $kind) -> Self { Self::$kind(event) }
            }
        )+

        /// Any event of the server.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Event { $($(#[doc = $doc])+ $kind($kind),)+ }

        impl Event {
            /// The permanent number of this kind.
            #[must_use]
            pub const fn kind(&self) -> u16 {
                match self { $(Self::$kind(_) => $number,)+ }
            }

            /// The name of this kind, as `audit replay --kind` takes it.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$kind(_) => $name,)+ }
            }

            /// Every kind: number and name.
            pub const KINDS: &'static [(u16, &'static str)] = &[$(($number, $name)),+];

            /// The payload bytes of this event (postcard).
            ///
            /// # Errors
            /// None that the values of an event can cause.
            pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
                self.encode_into(Vec::with_capacity(ENCODED_BYTES))
            }

            /// As [`Event::encode`], behind what is in `bytes`.
            ///
            /// # Errors
            /// As [`Event::encode`].
            pub fn encode_into(&self, bytes: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
                match self { $(Self::$kind(event) => postcard::to_extend(event, bytes),)+ }
            }

            /// Fields that came with schema 2; 0 for kinds whose payload is as it was at first.
            const fn added(kind: u16) -> usize {
                match kind { $($number => 0 $(+ $added)?,)+ _ => 0 }
            }

            /// Version of the payload's layout, as this program writes it.
            #[must_use]
            pub const fn schema(&self) -> u16 {
                newest_schema(self.kind())
            }

            /// The event of `kind` that `payload` holds; `None` for a kind or a schema this version does not know. Every field
            /// that was added later is one zero byte where nothing is said in it, so older payloads are read with those behind them.
            pub(super) fn decode(kind: u16, schema: u16, payload: &[u8]) -> Result<Option<Self>, postcard::Error> {
                let newest = newest_schema(kind);
                if schema == 0 || schema > newest {
                    return Ok(None);
                }
                let filled;
                let payload = if schema < newest {
                    filled = [payload, &[0; ADDED_MAX][..Self::added(kind)]].concat();
                    &filled
                } else {
                    payload
                };
                match kind {
                    $($number => strict::<$kind>(payload).map(|event| Some(Self::$kind(event))),)+
                    _ => Ok(None),
                }
            }
        }
    };
}
