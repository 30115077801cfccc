//! The one table of WebSocket close codes. 4000-4499 invite the client to reconnect, 4500-4999 do not.
//!
//! Numbers are permanent. A close frame's reason is the text of an error [`Code`](crate::Code) or the name here.

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $reconnect:ident;)+) => {
        /// Why a connection was closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum CloseCode { $($(#[$doc])* $variant = $number,)+ }

        impl CloseCode {
            /// Every close code, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name, as in `docs/PROTOCOL.md`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What the client should do.
            #[must_use]
            pub const fn reconnect(self) -> Reconnect {
                match self { $(Self::$variant => Reconnect::$reconnect,)+ }
            }

            /// The code of a number; `None` for a number that is not in the table.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

/// What a client should do after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reconnect {
    /// Connect again, with a growing pause.
    Yes,
    /// Do not connect again by itself: somebody has to change something first.
    No,
}

close_codes! {
    /// The client logged out.
    Normal = 1000, "normal", No;
    /// The server goes away without a drain.
    GoingAway = 1001, "going away", Yes;
    /// The client violated RFC 6455.
    WebSocketProtocol = 1002, "websocket protocol error", No;
    /// The client sent a binary frame.
    BinaryFrame = 1003, "binary from a client", No;
    /// A text frame was not UTF-8.
    InvalidUtf8 = 1007, "invalid utf-8", No;
    /// A message was larger than `limits.message_bytes_max`.
    TooBig = 1009, "message too big", No;
    /// The server drains; `server_shutdown` came before.
    Drain = 1012, "drain", Yes;
    /// The client read too slowly.
    SlowConsumer = 4001, "slow consumer", Yes;
    /// The client answered no ping.
    HeartbeatLost = 4002, "heartbeat lost", Yes;
    /// The server can no longer continue the connection's streams.
    PositionLost = 4003, "position lost", Yes;
    /// A newer session of the same principal took over.
    Superseded = 4004, "superseded by a newer session", Yes;
    /// The client went on after rate-limit errors.
    RateLimited = 4005, "rate limited", Yes;
    /// The session reached its greatest age.
    LifetimeReached = 4006, "session lifetime reached", Yes;
    /// The client certificate was revoked.
    CertificateRevoked = 4501, "certificate revoked", No;
    /// The client certificate expired.
    CertificateExpired = 4502, "certificate expired", No;
    /// The entitlement was withdrawn.
    EntitlementWithdrawn = 4503, "entitlement withdrawn", No;
    /// The client violated the protocol of this document.
    ProtocolViolation = 4504, "protocol violation", No;
    /// Too many malformed or unauthenticated messages.
    MalformedRepeated = 4505, "malformed or unauthenticated messages repeated", No;
    /// An operator ended the session.
    OperatorEnded = 4506, "ended by an operator", No;
    /// The token expired or was withdrawn, or one is needed now.
    TokenEnded = 4507, "token expired or withdrawn", No;
}

impl CloseCode {
    /// The number in the close frame.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}

impl Reconnect {
    /// The advice for any close number, in the table or not: a client needs no newer table to behave.
    ///
    /// Unknown numbers go by their range; 1005 and 1006 (no close frame) and 1011, 1013, 1014 mean reconnect.
    #[must_use]
    pub const fn advice(number: u16) -> Self {
        match CloseCode::from_number(number) {
            Some(code) => code.reconnect(),
            None => match number {
                1005 | 1006 | 1011 | 1013 | 1014 | 4000..=4499 => Self::Yes,
                _ => Self::No,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_private_code_says_whether_to_reconnect() {
        for code in CloseCode::ALL {
            match code.number() {
                4000..=4499 => assert_eq!(code.reconnect(), Reconnect::Yes, "{code:?}"),
                4500..=4999 => assert_eq!(code.reconnect(), Reconnect::No, "{code:?}"),
                _ => {}
            }
            assert_eq!(CloseCode::from_number(code.number()), Some(*code));
        }
    }

    #[test]
    fn a_code_of_a_newer_server_is_judged_by_its_range() {
        assert_eq!(Reconnect::advice(4499), Reconnect::Yes);
        assert_eq!(Reconnect::advice(4999), Reconnect::No);
        assert_eq!(Reconnect::advice(1006), Reconnect::Yes);
    }

    #[test]
    fn the_table_is_in_ascending_order() {
        assert!(CloseCode::ALL.is_sorted_by(|a, b| a.number() < b.number()));
    }
}
