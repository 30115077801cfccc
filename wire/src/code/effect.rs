//! What a code does to the connection: the HTTP status of a refused upgrade, the close code of an ended session.

use super::Code;
use crate::close::CloseCode;

impl Code {
    /// The HTTP status with which this code refuses an upgrade; `None` for codes that never do.
    #[must_use]
    pub const fn http_status(self) -> Option<u16> {
        match self {
            Self::SesUpgradeMalformed | Self::SesUpgradeTooLarge | Self::SesUpgradeTimeout => Some(400),
            Self::SesTokenMissing
            | Self::SesTokenMalformed
            | Self::SesTokenAlgorithmRefused
            | Self::SesTokenKeyUnknown
            | Self::SesTokenSignatureInvalid
            | Self::SesTokenOutOfTime
            | Self::SesTokenNotForHere
            | Self::SesTokenNotYours
            | Self::SesTokenWithdrawn => Some(401),
            Self::SesOriginRefused | Self::SesEntitlementMissing | Self::SesEntitlementOutOfDates => {
                Some(403)
            }
            Self::SesPathUnknown => Some(404),
            Self::SesSubprotocolUnsupported => Some(426),
            Self::SesAddressSessionsFull | Self::SesPrincipalSessionsFull | Self::SesPrincipalBanned => {
                Some(429)
            }
            Self::SesDraining | Self::AudLogUnavailable => Some(503),
            _ => None,
        }
    }

    /// The close code with which this code ends a session; `None` for codes that never do.
    #[must_use]
    pub const fn close_code(self) -> Option<CloseCode> {
        match self {
            Self::SesDraining => Some(CloseCode::Drain),
            Self::SesMessageTooBig => Some(CloseCode::TooBig),
            Self::SesBinaryFrame => Some(CloseCode::BinaryFrame),
            Self::SesUtf8Invalid => Some(CloseCode::InvalidUtf8),
            Self::SesProtocolViolation => Some(CloseCode::WebSocketProtocol),
            Self::SesMalformedRepeated => Some(CloseCode::MalformedRepeated),
            Self::SesSlowConsumer => Some(CloseCode::SlowConsumer),
            Self::SesSubscribeDeadline | Self::SesFragmentsTooMany | Self::SesMessageTimeout => {
                Some(CloseCode::ProtocolViolation)
            }
            Self::SesHeartbeatLost => Some(CloseCode::HeartbeatLost),
            Self::SesLifetimeReached => Some(CloseCode::LifetimeReached),
            Self::SesCertificateRevoked => Some(CloseCode::CertificateRevoked),
            Self::SesCertificateExpired => Some(CloseCode::CertificateExpired),
            Self::SesTokenMissing
            | Self::SesTokenAlgorithmRefused
            | Self::SesTokenKeyUnknown
            | Self::SesTokenOutOfTime
            | Self::SesTokenNotForHere
            | Self::SesTokenWithdrawn => Some(CloseCode::TokenEnded),
            Self::SesEntitlementWithdrawn => Some(CloseCode::EntitlementWithdrawn),
            Self::SesOperatorEnded => Some(CloseCode::OperatorEnded),
            Self::SesSuperseded => Some(CloseCode::Superseded),
            Self::SesRateRepeated | Self::SesControlRate => Some(CloseCode::RateLimited),
            Self::SesPositionLost => Some(CloseCode::PositionLost),
            _ => None,
        }
    }
}
