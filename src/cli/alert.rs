//! TLS alerts in words: what each means when a feed sends it, its likely causes, and how to mend them.
//!
//! In TLS 1.3 the alert is all that a peer without a principal is told (RFC 8446, section 6.2); the server's log has the code.

use rustls::AlertDescription;
use sealfeed_wire::Code;

/// One alert.
#[derive(Debug)]
pub(super) struct Alert {
    /// Its number.
    pub(super) number: u8,
    /// Its name in RFC 8446.
    pub(super) name: &'static str,
    /// What it means here: lower case, no full stop.
    pub(super) meaning: &'static str,
    /// What to do.
    pub(super) fix: &'static str,
    /// Codes in the server's log that it may stand for, the likeliest first.
    pub(super) codes: &'static [Code],
}

/// Every alert that a server of ours, or TLS in front of one, sends about a handshake.
pub(super) const ALERTS: &[Alert] = &[
    Alert {
        number: 10,
        name: "unexpected_message",
        meaning: "a message came that does not belong at this point of the handshake",
        fix: "Use a conforming TLS library, and look for something in between that changes the traffic.",
        codes: &[Code::TlsProtocolError],
    },
    Alert {
        number: 40,
        name: "handshake_failure",
        meaning: "client and server have no cipher suite, group or signature scheme in common",
        fix: "Offer TLS 1.3 with AES-GCM or ChaCha20-Poly1305, X25519 or P-256, and an ECDSA, Ed25519 or RSA-PSS certificate key.",
        codes: &[Code::TlsParametersUnsupported],
    },
    Alert {
        number: 42,
        name: "bad_certificate",
        meaning: "the certificate is malformed, or has a critical extension that is not understood",
        fix: "Have it issued anew (pki.sh client FIRM/USER) and compare with `openssl x509 -in client.pem -text`.",
        codes: &[Code::TlsCertificateMalformed],
    },
    Alert {
        number: 43,
        name: "unsupported_certificate",
        meaning: "the certificate is not one for clients, or is of a kind that is not taken",
        fix: "Use a certificate whose extended key usage is clientAuth and nothing else; a server's certificate is none.",
        codes: &[Code::TlsPurposeWrong, Code::TlsKeyWeak],
    },
    Alert {
        number: 44,
        name: "certificate_revoked",
        meaning: "the certificate was revoked: by its authority's list, or by the operator's deny-list",
        fix: "This certificate is finished. Ask the operator why, and for a new one (pki.sh client FIRM/USER).",
        codes: &[Code::TlsCertificateRevoked],
    },
    Alert {
        number: 45,
        name: "certificate_expired",
        meaning: "the certificate has expired, or is not valid yet, by the server's clock",
        fix: "Renew it (pki.sh renew FIRM/USER). If its dates are good, one of the two clocks is wrong: see the step about the clock.",
        codes: &[Code::TlsCertificateExpired, Code::TlsCertificateNotYetValid],
    },
    Alert {
        number: 46,
        name: "certificate_unknown",
        meaning: "the certificate was refused for another reason, such as its lifetime, its key or its subject",
        fix: "Ask the operator: the reason stands in the server's log as `handshake_refused`, with this address and time.",
        codes: &[Code::TlsChainInvalid, Code::TlsLifetimeTooLong],
    },
    Alert {
        number: 47,
        name: "illegal_parameter",
        meaning: "a field of the handshake has a value that it may not have",
        fix: "Use a conforming TLS library, and look for something in between that changes the traffic.",
        codes: &[Code::TlsProtocolError],
    },
    Alert {
        number: 48,
        name: "unknown_ca",
        meaning: "the server does not trust the issuer, the intermediate was not sent, or the issuer's revocation list is missing or out of date",
        fix: "Use a certificate from the authority that this server trusts, with the whole chain in the file. If others of your firm are \
              refused, too, the operator has to renew the list (pki.sh crl).",
        codes: &[Code::TlsIssuerUnknown, Code::TlsRevocationUnknown, Code::TlsCrlExpired],
    },
    Alert {
        number: 49,
        name: "access_denied",
        meaning: "the certificate is valid, but the server lets nobody in under its subject",
        fix: "Ask the operator which subject is expected: firm in O, user in CN, one each, and an authority that vouches for the firm.",
        codes: &[Code::TlsPrincipalMissing],
    },
    Alert {
        number: 50,
        name: "decode_error",
        meaning: "a message of the handshake cannot be read",
        fix: "Use a conforming TLS library, and look for something in between that changes the traffic.",
        codes: &[Code::TlsProtocolError],
    },
    Alert {
        number: 51,
        name: "decrypt_error",
        meaning: "a signature does not verify: certificate and key do not belong together, or the chain was not signed by its issuer",
        fix: "Check that certificate and key are of the same pair and that the chain was not put together by hand.",
        codes: &[Code::TlsSignatureInvalid],
    },
    Alert {
        number: 70,
        name: "protocol_version",
        meaning: "the server takes TLS 1.3 only",
        fix: "Offer TLS 1.3; anything in between that takes TLS apart has to pass the bytes through.",
        codes: &[Code::TlsParametersUnsupported],
    },
    Alert {
        number: 80,
        name: "internal_error",
        meaning: "the server failed by itself",
        fix: "Ask the operator: its log says more.",
        codes: &[Code::TlsProtocolError],
    },
    Alert {
        number: 112,
        name: "unrecognized_name",
        meaning: "the server does not know the name that it was asked for",
        fix: "Connect by a name that stands in the server's certificate.",
        codes: &[Code::TlsParametersUnsupported],
    },
    Alert {
        number: 116,
        name: "certificate_required",
        meaning: "no client certificate was shown",
        fix: "Name certificate and key in the context, or with --cert and --key. If they are, something in between takes TLS apart.",
        codes: &[Code::TlsCertificateMissing],
    },
    Alert {
        number: 120,
        name: "no_application_protocol",
        meaning: "the server does not speak the application protocol that was offered",
        fix: "Offer http/1.1 or nothing (ALPN); WebSocket over HTTP/2 is not spoken.",
        codes: &[Code::TlsParametersUnsupported],
    },
];

/// The alert of a number.
pub(super) fn of_number(number: u8) -> Option<&'static Alert> {
    ALERTS.iter().find(|alert| alert.number == number)
}

/// The alert that rustls received.
pub(super) fn of(alert: AlertDescription) -> Option<&'static Alert> {
    of_number(alert.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_has_a_name_a_meaning_a_fix_and_a_code_that_is_in_the_table() {
        assert!(ALERTS.is_sorted_by(|a, b| a.number < b.number));
        for alert in ALERTS {
            let Alert { name, meaning, fix, codes, number } = alert;
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(!meaning.ends_with('.') && meaning.len() > 20, "{name}: {meaning}");
            assert!(fix.ends_with('.') && fix.len() > 20, "{name}: {fix}");
            assert!(!codes.is_empty(), "{name}");
            assert_eq!(of(AlertDescription::from(*number)).map(|found| found.name), Some(*name));
        }
    }
}
