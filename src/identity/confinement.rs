//! Which firms an authority vouches for: `[[tls.authority]]`, resolved to the authorities that are configured.
//!
//! A table confines everything below its authority, at any depth; where two tables stand on one path, both must allow the firm. As
//! soon as there is any table, a path without one vouches for nobody: a forgotten authority is a refused client and not an
//! open door (`docs/adr/0034-judging-certificates.md`).

use std::collections::{BTreeMap, BTreeSet};

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;

use super::deny_list::digest_of;
use super::error::IdentityError;
use super::leaf;
use crate::config::AuthorityConfig;
use crate::types::principal::is_name;

/// Firms of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Firms {
    /// `["*"]`
    Any,
    /// These.
    Only(BTreeSet<Box<str>>),
}

impl Firms {
    pub(super) fn allow(&self, firm: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(firms) => firms.contains(firm),
        }
    }
}

/// The firms of each authority that a table names, by its position in `certificates`.
pub(super) fn resolve(
    tables: &[AuthorityConfig],
    ders: &[CertificateDer<'static>],
    certificates: &[X509Certificate<'_>],
) -> Result<BTreeMap<usize, Firms>, IdentityError> {
    let mut resolved = BTreeMap::new();
    for (index, table) in tables.iter().enumerate() {
        let refused = |what: String| IdentityError::Confinement { table: index + 1, what };
        let firms = firms_of(&table.firms).map_err(refused)?;
        let position = position_of(table, ders, certificates).map_err(refused)?;
        if resolved.insert(position, firms).is_some() {
            let name = leaf::escape(certificates[position].subject());
            return Err(refused(format!("{name} is named by another table too")));
        }
    }
    Ok(resolved)
}

fn firms_of(names: &[String]) -> Result<Firms, String> {
    match names {
        [] => {
            Err("it has no firms: name them, or take the authority out of tls.client_authorities".to_owned())
        }
        [any] if any == "*" => Ok(Firms::Any),
        names => match names.iter().find(|name| !is_name(name)) {
            Some(name) => {
                Err(format!("{name:?} is no firm: 1 to 64 characters of A-Z a-z 0-9 . _ -, or \"*\" alone"))
            }
            None => Ok(Firms::Only(names.iter().map(|name| name.as_str().into()).collect())),
        },
    }
}

/// Which certificate a table names.
fn position_of(
    table: &AuthorityConfig,
    ders: &[CertificateDer<'static>],
    certificates: &[X509Certificate<'_>],
) -> Result<usize, String> {
    let (found, named): (Vec<usize>, &str) = match (&table.subject, &table.sha256) {
        (Some(subject), None) => {
            let is_it = |certificate: &X509Certificate<'_>| leaf::escape(certificate.subject()) == *subject;
            (positions(certificates, is_it), subject)
        }
        (None, Some(text)) => {
            let digest = digest_of(text).ok_or("sha256 must be 64 hexadecimal digits")?;
            (
                positions(ders, |der: &CertificateDer<'_>| <[u8; 32]>::from(Sha256::digest(der)) == digest),
                text,
            )
        }
        _ => return Err("it needs exactly one of subject and sha256".to_owned()),
    };
    match found[..] {
        [position] => Ok(position),
        [] => {
            let known: Vec<String> =
                certificates.iter().map(|certificate| leaf::escape(certificate.subject())).collect();
            Err(format!("tls.client_authorities has no {named:?}; it has {}", known.join("; ")))
        }
        _ => Err(format!("two authorities print as {named:?}: tell them apart by sha256")),
    }
}

fn positions<T>(items: &[T], is_it: impl Fn(&T) -> bool) -> Vec<usize> {
    items.iter().enumerate().filter(|(_, item)| is_it(item)).map(|(position, _)| position).collect()
}
