//! What a certificate says of itself, for people and for commands that show it: never for decisions on the server.
//!
//! In: DER of a certificate, from a file or from a peer. Out: texts that are safe to print, and dates. Nothing here is proven.

use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use super::leaf;
use crate::types::UnixNanos;

/// Most names of a certificate that are listed.
const NAMES_MAX: usize = 20;

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The subject, escaped and cut at about 256 bytes.
    pub subject: String,
    /// The subject's DER form, as it stands in the certificate.
    pub subject_der: Vec<u8>,
    /// The issuer, escaped and cut likewise.
    pub issuer: String,
    /// The serial number, lower-case hexadecimal.
    pub serial: String,
    /// First moment of validity.
    pub not_before: UnixNanos,
    /// Last moment of validity.
    pub not_after: UnixNanos,
    /// Why a server of ours would refuse its purpose or form; `None` if it would not.
    pub unfit_for_clients: Option<&'static str>,
    /// DNS names and addresses that it is valid for, escaped; the first 20.
    pub names: Vec<String>,
}

/// What a certificate says of itself; `None` if it cannot be parsed.
#[must_use]
pub fn describe(der: &[u8]) -> Option<Described> {
    let certificate = leaf::parse(der)?;
    let claim = leaf::claim(&certificate);
    let unfit = leaf::check_form(der, &certificate).and_then(|()| leaf::check_purpose(&certificate));
    let names = match certificate.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().filter_map(name).take(NAMES_MAX).collect(),
        Ok(None) | Err(_) => Vec::new(),
    };
    Some(Described {
        subject: claim.subject,
        subject_der: certificate.subject().as_raw().to_vec(),
        issuer: claim.issuer,
        serial: claim.serial,
        not_before: leaf::nanos(certificate.validity().not_before),
        not_after: leaf::nanos(certificate.validity().not_after),
        unfit_for_clients: unfit.err().map(|(_, why)| why),
        names,
    })
}

/// Position, from 1, of the first certificate of a chain that was not issued by the next one, judged by names; `None` if each was.
/// One that cannot be parsed was issued by nobody.
#[must_use]
pub fn chain_breaks_at(chain: &[CertificateDer<'_>]) -> Option<usize> {
    let is_linked = |pair: &[CertificateDer<'_>]| {
        let (Some(one), Some(next)) = (leaf::parse(&pair[0]), leaf::parse(&pair[1])) else { return false };
        one.issuer().as_raw() == next.subject().as_raw()
    };
    chain.windows(2).position(|pair| !is_linked(pair)).map(|index| index + 1)
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.escape_default().to_string()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from).ok();
            let address = four.or_else(|| <[u8; 16]>::try_from(*bytes).map(IpAddr::from).ok());
            address.map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_not_described_and_links_to_nothing() {
        assert_eq!(describe(b"\x30\x03abc"), None);
        let junk = CertificateDer::from(vec![0x30, 0x00]);
        assert_eq!(chain_breaks_at(&[junk.clone(), junk.clone()]), Some(1));
        assert_eq!(chain_breaks_at(&[junk]), None, "one alone has no link to break");
    }
}
