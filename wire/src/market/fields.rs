//! The fields that every data message and every notice begins with, for the structs that clients read them into.

/// Declares the fields of a data message behind those of every data message.
macro_rules! message_fields {
    ($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),* $(,)? }) => {
        #[derive(serde::Deserialize)]
        struct $name {
            channel: $crate::term::Channel,
            symbol: $crate::ident::Symbol,
            epoch: $crate::value::Epoch,
            seq: $crate::value::Sequence,
            prev_seq: Option<$crate::value::Sequence>,
            ts_event: $crate::value::UnixNanos,
            ts_recv: $crate::value::UnixNanos,
            ts_out: $crate::value::UnixNanos,
            delayed_ms: Option<u64>,
            $($(#[$attribute])* $field: $type,)*
        }

        impl $name {
            fn header(&self) -> $crate::market::StreamHeader {
                $crate::market::StreamHeader {
                    channel: self.channel,
                    symbol: self.symbol,
                    epoch: self.epoch,
                    seq: self.seq,
                    prev_seq: self.prev_seq,
                    ts_event: self.ts_event,
                    ts_recv: self.ts_recv,
                    ts_out: self.ts_out,
                    delayed_ms: self.delayed_ms,
                }
            }
        }
    };
}

/// Declares the fields of a notice behind those of every notice.
macro_rules! notice_fields {
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[derive(serde::Deserialize)]
        struct $name {
            channel: $crate::term::Channel,
            symbol: $crate::ident::StreamSymbol,
            epoch: $crate::value::Epoch,
            delayed_ms: Option<u64>,
            $($field: $type,)*
        }

        impl $name {
            fn stream(&self) -> $crate::market::StreamKey {
                $crate::market::StreamKey {
                    channel: self.channel,
                    symbol: self.symbol,
                    epoch: self.epoch,
                    delayed_ms: self.delayed_ms,
                }
            }
        }
    };
}

pub(super) use {message_fields, notice_fields};
