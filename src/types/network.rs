//! Ranges of IP addresses, as in `10.0.0.0/8`, and what counts as one address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits (RFC 4632, RFC 4291 section 2.3). An IPv4 address written as IPv6 counts as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// The lowest of them.
    base: IpAddr,
    bits: u8,
}

/// Why a text names no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is neither an address nor an address, `/` and a number of bits that its family has.
    #[error("`{0}` is no address range such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32")]
    Form(String),
    /// The address has bits behind the prefix: a typing error in one of the two.
    #[error("`{text}` has bits behind its prefix; write {base}/{bits} if that is meant")]
    HostBits {
        /// The text.
        text: String,
        /// The lowest address of the range.
        base: IpAddr,
        /// Bits of its prefix.
        bits: u8,
    },
    /// It names every address there is, which no list of exceptions may.
    #[error("`{0}` names every address")]
    Everyone(String),
}

impl Network {
    /// Whether the address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && prefix(address, self.bits) == self.base
    }
}

/// The lowest address that has the first `bits` bits of this one in common; all of them if the family has fewer.
fn prefix(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// What counts as one address: itself for IPv4, its first `ipv6_bits` bits for IPv6, where one host owns as many as it likes.
#[must_use]
pub fn one_address(address: IpAddr, ipv6_bits: u8) -> IpAddr {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address,
        address @ IpAddr::V6(_) => prefix(address, ipv6_bits),
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let form = || NetworkError::Form(text.to_owned());
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| form())?;
        if address != address.to_canonical() {
            return Err(form());
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| form())?
            }
            Some(_) => return Err(form()),
        };
        if bits > most {
            return Err(form());
        }
        if bits == 0 {
            return Err(NetworkError::Everyone(text.to_owned()));
        }
        let base = prefix(address, bits);
        if base != address {
            return Err(NetworkError::HostBits { text: text.to_owned(), base, bits });
        }
        Ok(Self { base, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_holds_what_begins_as_it_does_and_nothing_of_the_other_family() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.5", "10.0.0.5", "10.0.0.4"),
            ("10.0.0.5/32", "::ffff:10.0.0.5", "::10.0.0.5"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            assert!(network(range).contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(!network(range).contains(outside.parse().unwrap()), "{range} {outside}");
        }
    }

    #[test]
    fn a_text_that_cannot_be_meant_is_refused() {
        for text in
            ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/+8", "10.0.0.0/", "::ffff:10.0.0.1", "host"]
        {
            assert!(matches!(text.parse::<Network>(), Err(NetworkError::Form(_))), "{text}");
        }
        assert!(matches!("0.0.0.0/0".parse::<Network>(), Err(NetworkError::Everyone(_))));
        assert!(matches!("::/0".parse::<Network>(), Err(NetworkError::Everyone(_))));
        let error = "10.0.0.5/8".parse::<Network>().unwrap_err();
        assert!(error.to_string().ends_with("write 10.0.0.0/8 if that is meant"), "{error}");
    }

    #[test]
    fn addresses_of_one_ipv6_prefix_count_as_one_and_ipv4_addresses_never_do() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = |text: &str, bits| one_address(address(text), bits);
        assert_eq!(one("2001:db8:1:2:3::4", 64), address("2001:db8:1:2::"));
        assert_eq!(one("2001:db8:1:2:3::4", 64), one("2001:db8:1:2:ffff::", 64));
        assert_ne!(one("2001:db8:1:2::", 64), one("2001:db8:1:3::", 64));
        assert_eq!(one("2001:db8:1:2::", 48), one("2001:db8:1:3::", 48));
        assert_eq!(one("2001:db8::7", 128), address("2001:db8::7"));
        assert_eq!(one("::ffff:192.0.2.1", 32), address("192.0.2.1"));
        assert_ne!(one("192.0.2.1", 32), one("192.0.2.2", 32));
    }

    proptest! {
        #[test]
        fn a_range_holds_an_address_exactly_if_their_first_bits_agree(base: u128, other: u128, bits in 1_u8..=128, shared: bool) {
            let mask = u128::MAX << (128 - u32::from(bits));
            let base = base & mask;
            let other = if shared { base | (other & !mask) } else { other };
            // Those that are IPv4 in another form are none of this family.
            let (lowest, address) = (Ipv6Addr::from_bits(base), Ipv6Addr::from_bits(other));
            prop_assume!(IpAddr::from(lowest).to_canonical().is_ipv6() && IpAddr::from(address).to_canonical().is_ipv6());
            let range = network(&format!("{lowest}/{bits}"));
            prop_assert_eq!(range.contains(address.into()), other & mask == base);
            prop_assert_eq!(network(&range.to_string()), range);
        }
    }
}
