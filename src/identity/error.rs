//! Why the files that identity is made of are refused.
//!
//! One variant a cause, each with its stable code. A server with such an error does not start; a running one keeps
//! the files that are in force.

use std::fmt;
use std::path::PathBuf;

use rustls::server::VerifierBuilderError;
use sealfeed_wire::Code;

/// Which of the configured files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileRole {
    /// `tls.certificate`
    ServerCertificate,
    /// `tls.key`
    ServerKey,
    /// `tls.client_authorities`
    ClientAuthorities,
    /// `tls.client_revocation_lists`
    RevocationLists,
    /// `tls.deny_list`
    DenyList,
    /// `identity.entitlements`
    Entitlements,
    /// `identity.master_key`
    MasterKey,
    /// `identity.previous_master_key`
    PreviousMasterKey,
    /// `tokens.jwks`
    TokenKeys,
    /// `tokens.withdrawn`
    WithdrawnTokens,
}

impl FileRole {
    /// The configuration key that names the file.
    #[must_use]
    pub const fn config_key(self) -> &'static str {
        match self {
            Self::ServerCertificate => "tls.certificate",
            Self::ServerKey => "tls.key",
            Self::ClientAuthorities => "tls.client_authorities",
            Self::RevocationLists => "tls.client_revocation_lists",
            Self::DenyList => "tls.deny_list",
            Self::Entitlements => "identity.entitlements",
            Self::MasterKey => "identity.master_key",
            Self::PreviousMasterKey => "identity.previous_master_key",
            Self::TokenKeys => "tokens.jwks",
            Self::WithdrawnTokens => "tokens.withdrawn",
        }
    }

    /// Whether the file is a secret: never hashed into the journal, and nobody but its owner may read it.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::ServerKey | Self::MasterKey | Self::PreviousMasterKey)
    }
}

impl fmt::Display for FileRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.config_key())
    }
}

/// Why identity cannot be loaded or reloaded.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file is missing or unreadable.
    #[error("cannot read {role} at {path:?}")]
    Read {
        /// Which file.
        role: FileRole,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than any sensible one.
    #[error("{role} at {path:?} has {bytes} bytes, at most {max} are read")]
    TooLarge {
        /// Which file.
        role: FileRole,
        /// Where.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// A secret can be read by others than its owner.
    #[error("{role} at {path:?} has mode {mode:03o}: group and others must have no access")]
    Exposed {
        /// Which file.
        role: FileRole,
        /// Where.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file holds nothing of the kind it should.
    #[error("{role} holds no PEM section `{expected}`")]
    NoPem {
        /// Which file.
        role: FileRole,
        /// The section that was looked for.
        expected: &'static str,
    },
    /// A PEM section is damaged.
    #[error("{role} is not valid PEM")]
    BadPem {
        /// Which file.
        role: FileRole,
        /// What is wrong.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate or list is not valid DER.
    #[error("entry {position} of {role} cannot be parsed")]
    Malformed {
        /// Which file.
        role: FileRole,
        /// Position in the file, from 1.
        position: usize,
    },
    /// The server's private key is of no supported kind.
    #[error("the private key cannot be used")]
    KeyUnusable {
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Private key and server certificate do not belong together.
    #[error("the private key does not belong to the first certificate of tls.certificate")]
    KeyMismatch,
    /// The server's chain does not start with the certificate of its key.
    #[error(
        "tls.certificate is in the wrong order: the certificate of the key is number {position}, it must be the first"
    )]
    WrongOrder {
        /// Where it stands, from 1.
        position: usize,
    },
    /// The server's chain has a hole.
    #[error("certificate {position} of tls.certificate was not issued by the one after it")]
    BrokenChain {
        /// The certificate whose issuer does not follow, from 1.
        position: usize,
    },
    /// The server certificate is not meant for servers.
    #[error("the server certificate lacks the extended key usage serverAuth")]
    NotForServers,
    /// A certificate is outside its validity.
    #[error("{role}: {subject} is valid from {not_before} to {not_after}, not now")]
    OutsideValidity {
        /// Which file.
        role: FileRole,
        /// The certificate, escaped.
        subject: String,
        /// First moment, RFC 3339.
        not_before: String,
        /// Last moment, RFC 3339.
        not_after: String,
    },
    /// A certificate among the authorities is no CA.
    #[error("{subject} in tls.client_authorities is no certificate authority")]
    NotAnAuthority {
        /// Which one, escaped.
        subject: String,
    },
    /// Two different authorities have one name: their revocation lists could not be told apart.
    #[error("tls.client_authorities has two different authorities named {subject}")]
    AuthorityTwice {
        /// The name, escaped.
        subject: String,
    },
    /// There is no root, only issuing CAs.
    #[error("tls.client_authorities has no self-signed root")]
    NoRoot,
    /// An issuing CA was not issued by any authority of the file.
    #[error("{subject} in tls.client_authorities was issued by no authority of the file")]
    AuthorityUntrusted {
        /// Which one, escaped.
        subject: String,
    },
    /// An authority has no revocation list, so no certificate it issued could be judged.
    #[error("tls.client_revocation_lists has no list of {authority}")]
    NoRevocationList {
        /// Whose list is missing, escaped.
        authority: String,
    },
    /// Two lists of one authority.
    #[error("tls.client_revocation_lists has two lists of {authority}")]
    RevocationListTwice {
        /// Whose, escaped.
        authority: String,
    },
    /// A list was not signed by the authority it names.
    #[error("the revocation list of {authority} is not signed by it")]
    RevocationListForged {
        /// Whose, escaped.
        authority: String,
    },
    /// A list was signed by an authority that may not sign lists.
    #[error(
        "the certificate of {authority} does not allow it to sign revocation lists (key usage without cRLSign)"
    )]
    RevocationListNotAllowed {
        /// Whose, escaped.
        authority: String,
    },
    /// A list is of a kind that cannot be enforced (delta, indirect, unknown critical extension, no number).
    #[error("the revocation list of {authority} is of no supported kind")]
    RevocationListUnsupported {
        /// Whose, escaped.
        authority: String,
    },
    /// A list is past its next update, or not yet in force.
    #[error(
        "the revocation list number {number} of {authority} is valid from {this_update} to {next_update}, not now"
    )]
    RevocationListOutsideValidity {
        /// Whose, escaped.
        authority: String,
        /// Its number.
        number: String,
        /// First moment, RFC 3339.
        this_update: String,
        /// Last moment, RFC 3339.
        next_update: String,
    },
    /// A list is older than the one in force, or says something else under the same number.
    #[error("the revocation list of {authority} has number {number}, number {in_force} is in force")]
    RevocationListRolledBack {
        /// Whose, escaped.
        authority: String,
        /// Its number.
        number: String,
        /// The number in force.
        in_force: String,
    },
    /// A table confines an authority in a way that cannot be meant.
    #[error("[[tls.authority]] table {table}: {what}")]
    Confinement {
        /// Position among the tables, from 1.
        table: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// An entry of the deny-list cannot be meant.
    #[error("tls.deny_list, line {line}: {what}")]
    DenyList {
        /// Where its entry begins.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// The deny-list is not TOML, or has a key or value that is not allowed.
    #[error("tls.deny_list cannot be read")]
    DenyListSyntax {
        /// What and where, with the line.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A master secret is not one line of 64 lower-case hexadecimal digits.
    #[error("{role} is not one line of 64 lower-case hexadecimal digits")]
    MasterSecret {
        /// Which file.
        role: FileRole,
    },
    /// The keys of the issuer of tokens cannot be used.
    #[error("tokens.jwks: {what}")]
    TokenKeys {
        /// What is wrong, and with which key.
        what: String,
    },
    /// An entry of the file of withdrawn tokens cannot be meant.
    #[error("tokens.withdrawn, line {line}: {what}")]
    WithdrawnTokens {
        /// Where its entry begins.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// That file is not TOML, or has a key or value that is not allowed.
    #[error("tokens.withdrawn cannot be read")]
    WithdrawnTokensSyntax {
        /// What and where, with the line.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The entitlement policy is invalid.
    #[error("identity.entitlements is not valid")]
    Policy {
        /// What is wrong, with line or rule.
        #[source]
        source: super::policy_file::PolicyFileError,
    },
    /// rustls refused what was checked before: a defect of this module.
    #[error("the TLS configuration was refused")]
    Tls {
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// rustls refused the authorities or lists.
    #[error("the client verifier was refused")]
    Verifier {
        /// Why.
        #[source]
        source: VerifierBuilderError,
    },
}

impl IdentityError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Read { .. } | Self::TooLarge { .. } => Code::CfgFileUnreadable,
            Self::Exposed { .. } => Code::CfgFileExposed,
            Self::NoPem { role, .. } | Self::BadPem { role, .. } | Self::Malformed { role, .. } => match role
            {
                FileRole::ClientAuthorities => Code::CfgTrustUnusable,
                FileRole::RevocationLists => Code::CfgCrlUnusable,
                FileRole::ServerKey => Code::CfgKeyMismatch,
                _ => Code::CfgCertificateUnusable,
            },
            Self::KeyUnusable { .. } | Self::KeyMismatch => Code::CfgKeyMismatch,
            Self::OutsideValidity { role: FileRole::ClientAuthorities, .. }
            | Self::NotAnAuthority { .. }
            | Self::AuthorityTwice { .. }
            | Self::NoRoot
            | Self::AuthorityUntrusted { .. }
            | Self::Verifier { source: VerifierBuilderError::NoRootAnchors } => Code::CfgTrustUnusable,
            Self::WrongOrder { .. }
            | Self::BrokenChain { .. }
            | Self::NotForServers
            | Self::OutsideValidity { .. }
            | Self::Tls { .. } => Code::CfgCertificateUnusable,
            // A list that our parser takes and rustls does not, for a critical extension that nobody knows.
            Self::Verifier { .. }
            | Self::NoRevocationList { .. }
            | Self::RevocationListTwice { .. }
            | Self::RevocationListForged { .. }
            | Self::RevocationListNotAllowed { .. }
            | Self::RevocationListUnsupported { .. }
            | Self::RevocationListOutsideValidity { .. }
            | Self::RevocationListRolledBack { .. } => Code::CfgCrlUnusable,
            Self::Confinement { .. } => Code::CfgAuthorityConfinement,
            Self::DenyList { .. } | Self::DenyListSyntax { .. } => Code::CfgDenyListUnusable,
            Self::TokenKeys { .. } => Code::CfgTokenKeysUnusable,
            Self::WithdrawnTokens { .. } | Self::WithdrawnTokensSyntax { .. } => {
                Code::CfgWithdrawnTokensUnusable
            }
            Self::MasterSecret { .. } => Code::CfgMasterSecretUnusable,
            Self::Policy { source } => source.code(),
        }
    }
}
