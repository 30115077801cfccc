//! `[tls]`: the certificates of the server, and by what those of clients are judged.
//!
//! All of it is read again by a reload. Open sessions are then held to lists, deny-list and authorities; the ceilings
//! (`lifetime_days_max`, `rsa_bits_min`) hold for new connections.

use std::path::PathBuf;

use serde::Deserialize;

/// Files as `pki/pki.sh` makes them, or any PKI's of the same shape; and how strictly certificates are judged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Authorities whose client certificates are accepted: roots and issuing CAs, PEM.
    pub client_authorities: PathBuf,
    /// Revocation lists, PEM: one of every authority that issues, the root's included.
    pub client_revocation_lists: PathBuf,
    /// Longest life of a client certificate, from its first moment to its last, days, 1 to 3,650.
    #[serde(default = "lifetime_days_max")]
    pub lifetime_days_max: u16,
    /// Fewest bits of the modulus of a client's RSA key, 2,048 to 8,192. Other kinds of key have no choice: P-256, P-384, Ed25519.
    #[serde(default = "rsa_bits_min")]
    pub rsa_bits_min: u16,
    /// How long a revocation list goes on counting after its `nextUpdate`, hours, 0 to 168. 0: not at all.
    #[serde(default)]
    pub revocation_grace_hours: u16,
    /// Certificates, keys and principals that are refused whatever their authorities say, TOML; none by default.
    #[serde(default)]
    pub deny_list: Option<PathBuf>,
    /// Which authority vouches for which firms. Without any, each vouches for every firm.
    #[serde(default, rename = "authority")]
    pub authorities: Vec<AuthorityConfig>,
}

/// `[[tls.authority]]`: one authority of `client_authorities`, confined to its firms. Named by exactly one of `subject` and
/// `sha256`. As soon as there is one such table, an authority without one, on no path of which stands one, vouches for nobody.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityConfig {
    /// Its subject, as the server's log prints it: `CN=Acme Clients`.
    #[serde(default)]
    pub subject: Option<String>,
    /// SHA-256 of its certificate's DER form, 64 hexadecimal digits, colons allowed.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Firms that it, and every authority below it, may vouch for; `["*"]`: any.
    pub firms: Vec<String>,
}

const fn lifetime_days_max() -> u16 {
    825
}

const fn rsa_bits_min() -> u16 {
    3072
}

impl TlsConfig {
    /// These four files, everything else at its default.
    #[must_use]
    pub const fn new(
        certificate: PathBuf,
        key: PathBuf,
        client_authorities: PathBuf,
        client_revocation_lists: PathBuf,
    ) -> Self {
        Self {
            certificate,
            key,
            client_authorities,
            client_revocation_lists,
            lifetime_days_max: lifetime_days_max(),
            rsa_bits_min: rsa_bits_min(),
            revocation_grace_hours: 0,
            deny_list: None,
            authorities: Vec::new(),
        }
    }
}
