//! The PROXY protocol, version 2: what a load balancer says in front of a connection about whom it is for.
//!
//! A pure parser of bytes, and nothing else. Source: "The PROXY protocol, versions 1 & 2" (`HAProxy`), section 2.2. Taken are
//! TCP over IPv4 and IPv6, and `LOCAL`, with which a balancer speaks for itself (health checks). Everything else of the
//! specification is refused, version 1 included: a connection whose client is not known must not count as the balancer's.
//! What follows the addresses (type-length-values) is skipped unread; it is bounded as part of the header.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first twelve bytes of every header.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of signature, version and command, family, and length.
const FIXED_BYTES: usize = 16;
/// Bytes of addresses and type-length-values that are taken; names of certificates and the like fit in well.
pub const BODY_BYTES_MAX: usize = 2_048;
/// Source and destination, and their ports.
const IPV4_BYTES: usize = 12;
const IPV6_BYTES: usize = 36;

/// For whom a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// For the client at this address.
    Client(SocketAddr),
    /// For the balancer itself: a health check.
    Local,
}

/// What some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// They begin with a whole header.
    Whole {
        /// What it says.
        announced: Announced,
        /// How long it is: what the balancer passes on begins here.
        bytes: usize,
    },
    /// They may be the beginning of one.
    Partial {
        /// So many more are needed before there can be anything new to say, and all of them belong to the header. At least 1.
        missing: usize,
    },
}

/// Why bytes are not the beginning of a header that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They begin like a header of version 1, which is text.
    #[error("the header is of version 1; set the balancer to version 2 (send-proxy-v2)")]
    Version1,
    /// They do not begin with the signature.
    #[error("there is no PROXY protocol header; set the balancer to send one of version 2")]
    Signature,
    /// A version that is not 2.
    #[error("the header is of version {0}, taken is 2")]
    Version(u8),
    /// A command that is neither `LOCAL` nor `PROXY`.
    #[error("the header has command {0}, known are 0 (LOCAL) and 1 (PROXY)")]
    Command(u8),
    /// `PROXY` for something else than TCP over IPv4 or IPv6.
    #[error("the header announces no TCP client (family and transport {0:#04x})")]
    Family(u8),
    /// Too few bytes for the addresses.
    #[error("the header is too short for its addresses ({0} bytes behind the length)")]
    Short(usize),
    /// More bytes than are taken.
    #[error("the header is too long ({0} bytes behind the length)")]
    Long(usize),
}

/// Looks for a header at the beginning of `bytes`. A fault is told as soon as it can be known.
///
/// # Errors
/// [`Malformed`]; nothing that may come behind makes it a header.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let signature = bytes.len().min(SIGNATURE.len());
    if bytes[..signature] != SIGNATURE[..signature] {
        let is_text = !bytes.is_empty() && bytes.iter().zip(b"PROXY ").all(|(byte, text)| byte == text);
        return Err(if is_text { Malformed::Version1 } else { Malformed::Signature });
    }
    let Some((fixed, behind)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(Parsed::Partial { missing: FIXED_BYTES - bytes.len() });
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 {
        return Err(Malformed::Version(command >> 4));
    }
    if length > BODY_BYTES_MAX {
        return Err(Malformed::Long(length));
    }
    let needs = match (command & 0x0f, family) {
        // The specification: family and addresses are to be ignored here.
        (0, _) => 0,
        (1, 0x11) => IPV4_BYTES,
        (1, 0x21) => IPV6_BYTES,
        (1, family) => return Err(Malformed::Family(family)),
        (command, _) => return Err(Malformed::Command(command)),
    };
    if length < needs {
        return Err(Malformed::Short(length));
    }
    let Some(body) = behind.get(..length) else {
        return Ok(Parsed::Partial { missing: length - behind.len() });
    };
    Ok(Parsed::Whole { announced: client(body, needs), bytes: FIXED_BYTES + length })
}

/// The source in a body that is long enough for its addresses.
fn client(body: &[u8], needs: usize) -> Announced {
    match (needs, body.first_chunk::<IPV4_BYTES>(), body.first_chunk::<IPV6_BYTES>()) {
        (IPV4_BYTES, Some([a, b, c, d, _, _, _, _, high, low, _, _]), _) => {
            let port = u16::from_be_bytes([*high, *low]);
            Announced::Client((Ipv4Addr::new(*a, *b, *c, *d), port).into())
        }
        (IPV6_BYTES, _, Some(body)) => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&body[..16]);
            let address = Ipv6Addr::from(octets).to_canonical();
            Announced::Client((address, u16::from_be_bytes([body[32], body[33]])).into())
        }
        _ => Announced::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    fn ipv4() -> Vec<u8> {
        header(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0xab, 0xcd, 0x01, 0xbb])
    }

    fn whole(bytes: &[u8]) -> (Announced, usize) {
        match parse(bytes) {
            Ok(Parsed::Whole { announced, bytes }) => (announced, bytes),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_header_announces_the_source_and_ends_where_it_says() {
        let with_more = [ipv4(), b"TLS".to_vec()].concat();
        assert_eq!(whole(&with_more), (Announced::Client("192.0.2.7:43981".parse().unwrap()), 28));
        let mut body = [0; 36];
        body[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        body[32..34].copy_from_slice(&7_u16.to_be_bytes());
        assert_eq!(
            whole(&header(0x21, 0x21, &body)),
            (Announced::Client("[2001:db8::7]:7".parse().unwrap()), 52)
        );
        // IPv4 in the form of IPv6 counts as what it is.
        body[..16].copy_from_slice(&"::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(whole(&header(0x21, 0x21, &body)).0, Announced::Client("192.0.2.7:7".parse().unwrap()));
    }

    #[test]
    fn a_balancer_that_speaks_for_itself_is_local_whatever_else_the_header_holds() {
        for family in [0x00, 0x11, 0x21, 0x31, 0xff] {
            assert_eq!(whole(&header(0x20, family, b"")), (Announced::Local, 16));
            assert_eq!(whole(&header(0x20, family, &[7; 40])), (Announced::Local, 56));
        }
    }

    #[test]
    fn each_fault_is_told_apart() {
        let ipv4_addresses = [0; 12];
        for (bytes, fault) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec(), Malformed::Version1),
            (b"\x16\x03\x01\x02\x00".to_vec(), Malformed::Signature),
            (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Malformed::Signature),
            (header(0x11, 0x11, &ipv4_addresses), Malformed::Version(1)),
            (header(0x31, 0x11, &ipv4_addresses), Malformed::Version(3)),
            (header(0x22, 0x11, &ipv4_addresses), Malformed::Command(2)),
            (header(0x21, 0x00, b""), Malformed::Family(0)),
            (header(0x21, 0x12, &ipv4_addresses), Malformed::Family(0x12)),
            (header(0x21, 0x31, &[0; 216]), Malformed::Family(0x31)),
            (header(0x21, 0x11, &ipv4_addresses[..11]), Malformed::Short(11)),
            (header(0x21, 0x21, &[0; 35]), Malformed::Short(35)),
            (header(0x21, 0x11, &[0; BODY_BYTES_MAX + 1]), Malformed::Long(BODY_BYTES_MAX + 1)),
        ] {
            assert_eq!(parse(&bytes), Err(fault));
        }
    }

    #[test]
    fn a_header_of_the_greatest_length_is_taken() {
        assert_eq!(whole(&header(0x21, 0x11, &[1; BODY_BYTES_MAX])).1, 16 + BODY_BYTES_MAX);
    }

    #[test]
    fn a_wrong_byte_is_noticed_when_it_comes_and_not_later() {
        for at in 0..SIGNATURE.len() {
            let mut bytes = SIGNATURE[..=at].to_vec();
            bytes[at] ^= 0x40;
            assert!(parse(&bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(parse(b"P"), Err(Malformed::Version1));
        assert_eq!(parse(b"PROXX"), Err(Malformed::Signature));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_whoever_reads_what_is_missing_never_reads_too_much(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..100),
                (0_u8..=0x3f, any::<u8>(), prop::collection::vec(any::<u8>(), 0..300))
                    .prop_map(|(command, family, body)| header(command, family, &body)),
                prop::collection::vec(any::<u8>(), 0..30).prop_map(|tail| [ipv4(), tail].concat()),
            ],
        ) {
            // At once, and as a reader does it that takes no byte more than it is told: the same.
            let at_once = parse(&bytes);
            let mut have = 0;
            let in_steps = loop {
                match parse(&bytes[..have]) {
                    Ok(Parsed::Partial { missing }) => {
                        prop_assert!(missing > 0);
                        if have + missing > bytes.len() {
                            break parse(&bytes);
                        }
                        have += missing;
                    }
                    other => break other,
                }
            };
            prop_assert_eq!(in_steps, at_once);
            if let Ok(Parsed::Whole { bytes: length, .. }) = at_once {
                prop_assert_eq!(have, length);
                // A shorter piece is never taken for the whole.
                for end in 0..length {
                    let is_partial = matches!(parse(&bytes[..end]), Ok(Parsed::Partial { missing }) if end + missing <= length);
                    prop_assert!(is_partial, "{}", end);
                }
            }
        }
    }
}
