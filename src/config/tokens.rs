//! `[tokens]`: tokens of an identity provider beside certificates.

use std::path::PathBuf;

use serde::Deserialize;

/// Most patterns of [`TokensConfig::required_for`].
const PATTERNS_MAX: usize = 1_000;
/// Most bytes of issuer and audience.
const TEXT_BYTES_MAX: usize = 300;

/// By what tokens are judged. All of it, and its files, are read again by a reload; open sessions are then held to issuer, audience,
/// algorithms, keys, withdrawals and `required_for`, but not to the times.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensConfig {
    /// The issuer's name, as its tokens have it in `iss`.
    pub issuer: String,
    /// This server's name, as they have it in `aud`.
    pub audience: String,
    /// Public keys of the issuer, by `kid`: a JSON Web Key Set (RFC 7517).
    pub jwks: PathBuf,
    /// Who needs a token beside the certificate: `*`, `FIRM`, `FIRM/*` or `FIRM/USER`, where a `*` stands for any characters; everybody
    /// unless it is given. Others may come with one.
    #[serde(default = "everybody")]
    pub required_for: Vec<String>,
    /// Signature algorithms that are allowed; `EdDSA` and `ES256` unless they are given.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<TokenAlgorithm>,
    /// By how much the issuer's clock may be ahead, seconds, 0 to 120. Nothing is added to a token's end.
    #[serde(default = "leeway_s")]
    pub leeway_s: u64,
    /// Longest life of a token, from `iat` to `exp`, seconds, 60 to 604,800.
    #[serde(default = "lifetime_s_max")]
    pub lifetime_s_max: u64,
    /// Tokens that the operator has withdrawn, TOML; none by default.
    #[serde(default)]
    pub withdrawn: Option<PathBuf>,
}

/// A signature algorithm of tokens, by its name in RFC 7518 and RFC 8037. There is none without a signature and none by a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TokenAlgorithm {
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA by P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
}

impl TokenAlgorithm {
    /// Its name in a token's `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

fn everybody() -> Vec<String> {
    vec!["*".to_owned()]
}

fn algorithms() -> Vec<TokenAlgorithm> {
    vec![TokenAlgorithm::EdDsa, TokenAlgorithm::Es256]
}

const fn leeway_s() -> u64 {
    30
}

const fn lifetime_s_max() -> u64 {
    86_400
}

impl TokensConfig {
    /// Tokens of this issuer for this server, everything else at its default.
    #[must_use]
    pub fn new(issuer: &str, audience: &str, jwks: PathBuf) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            jwks,
            required_for: everybody(),
            algorithms: algorithms(),
            leeway_s: leeway_s(),
            lifetime_s_max: lifetime_s_max(),
            withdrawn: None,
        }
    }

    /// What is wrong with it, beside ranges and files.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let is_name = |text: &str| {
            (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !is_name(&self.issuer) || !is_name(&self.audience) {
            return Some("`issuer` and `audience` must be 1 to 300 printable characters without spaces");
        }
        if self.algorithms.is_empty() {
            return Some("`algorithms` must name at least one");
        }
        if (1..self.algorithms.len()).any(|place| self.algorithms[..place].contains(&self.algorithms[place]))
        {
            return Some("`algorithms` names one twice");
        }
        if self.required_for.len() > PATTERNS_MAX {
            return Some("`required_for` has more than 1000 entries");
        }
        if !self.required_for.iter().all(|pattern| is_pattern(pattern)) {
            return Some(
                "`required_for` must list *, FIRM, FIRM/* or FIRM/USER; * stands for any characters",
            );
        }
        None
    }
}

fn is_pattern(pattern: &str) -> bool {
    let is_part = |part: &str| {
        (1..=64).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte))
    };
    match pattern.split_once('/') {
        Some((firm, user)) => is_part(firm) && is_part(user),
        None => is_part(pattern),
    }
}
