//! Tokens of an identity provider, bound to the client's certificate: JSON Web Tokens (RFC 7519) as RFC 8705 section 3 binds them.
//!
//! A token is a second factor and grants nothing by itself. Whatever is there is checked, whether it is demanded or not. A token is read
//! here and nowhere else, and is kept nowhere: what stays of it is [`Token`], which can be printed.

use std::fmt;

use sealfeed_wire::Code;

use super::error::IdentityError;
use super::files::{self, Contents};
use super::principal::Identified;
use super::token_jwt::{self, Claims, Jwt};
use super::token_keys::TokenKeys;
use super::token_withdrawn::WithdrawnTokens;
use crate::clock::format_utc;
use crate::config::{TokenAlgorithm, TokensConfig};
use crate::identity::FileRole;
use crate::types::{Principal, SymbolPatterns, UnixNanos};

/// Most bytes of a `jti` and a `kid`.
pub(super) const NAME_BYTES_MAX: usize = 128;

/// What is kept of a token that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// When it expires, and the session with it.
    pub expires: UnixNanos,
    pub(super) id: Box<str>,
    pub(super) key_id: Box<str>,
    subject: Option<Box<str>>,
    issuer: Box<str>,
    audience: Box<str>,
    issued_s: u64,
    algorithm: TokenAlgorithm,
    /// Digest of the key that signed it.
    key: [u8; 32],
}

impl Token {
    /// Its `jti`, escaped, for the log.
    #[must_use]
    pub fn id(&self) -> String {
        escaped(&self.id)
    }

    /// Its `kid`, escaped, for the log.
    #[must_use]
    pub fn key_id(&self) -> String {
        escaped(&self.key_id)
    }
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRefusal {
    /// The stable code.
    pub code: Code,
    /// For the log: `kid` and, once the signature has verified, `jti`, escaped and cut, and what is wrong. Nothing else of the token.
    pub detail: String,
}

impl TokenRefusal {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

/// The tokens that are accepted: section and files.
pub(super) struct Tokens {
    config: TokensConfig,
    required_for: SymbolPatterns,
    keys: TokenKeys,
    withdrawn: WithdrawnTokens,
}

impl Tokens {
    /// Reads and checks the files that the section names; with what was read.
    pub(super) fn load(config: &TokensConfig) -> Result<(Self, Vec<Contents>), IdentityError> {
        let keys = files::read(FileRole::TokenKeys, &config.jwks)?;
        let withdrawn =
            config.withdrawn.as_ref().map(|path| files::read(FileRole::WithdrawnTokens, path)).transpose()?;
        // A firm alone stands for all of its users.
        let patterns = config.required_for.iter().map(|pattern| {
            if pattern.contains('/') || pattern == "*" { pattern.clone() } else { format!("{pattern}/*") }
        });
        let tokens = Self {
            config: config.clone(),
            required_for: SymbolPatterns::new(patterns),
            keys: TokenKeys::parse(&keys, &config.algorithms)?,
            withdrawn: withdrawn.as_ref().map(WithdrawnTokens::parse).transpose()?.unwrap_or_default(),
        };
        Ok((tokens, std::iter::once(keys).chain(withdrawn).collect()))
    }

    /// Whether this principal needs one.
    fn is_required_for(&self, principal: &Principal) -> bool {
        self.required_for.cover(&principal.to_string())
    }

    /// Judges a token that came with this certificate.
    fn check(&self, text: &str, identified: &Identified, now: UnixNanos) -> Result<Token, TokenRefusal> {
        let jwt = Jwt::read(text)?;
        let key_id = escaped(&jwt.key_id);
        let refuse = |code, what: &str| TokenRefusal::new(code, format!("kid {key_id}: {what}"));
        let allowed = self.config.algorithms.iter().find(|allowed| allowed.as_str() == &*jwt.algorithm);
        let Some(algorithm) = allowed.copied() else {
            return Err(refuse(Code::SesTokenAlgorithmRefused, "alg is none of tokens.algorithms"));
        };
        let Some(key) = self.keys.find(&jwt.key_id) else {
            return Err(refuse(Code::SesTokenKeyUnknown, "tokens.jwks has no such key"));
        };
        if !key.is_for(algorithm) {
            return Err(refuse(Code::SesTokenAlgorithmRefused, "alg is not that of the key"));
        }
        if !key.verifies(algorithm, jwt.signed.as_bytes(), &jwt.signature) {
            return Err(refuse(Code::SesTokenSignatureInvalid, "the signature does not verify"));
        }
        let claims = token_jwt::claims(&jwt.payload).map_err(|what| refuse(Code::SesTokenMalformed, what))?;
        let id = escaped(&claims.id);
        let refuse = |code, what: &str| TokenRefusal::new(code, format!("kid {key_id} jti {id}: {what}"));
        self.check_claims(&claims, identified, now).map_err(|(code, what)| refuse(code, &what))?;
        let token = Token {
            expires: UnixNanos(claims.expires * 1_000_000_000),
            id: claims.id.into(),
            key_id: jwt.key_id.into(),
            subject: claims.subject.map(Into::into),
            issuer: claims.issuer.into(),
            audience: claims.audience.into(),
            issued_s: claims.issued,
            algorithm,
            key: key.digest,
        };
        self.check_withdrawn(&token, &identified.principal).map_err(|(code, what)| refuse(code, &what))?;
        Ok(token)
    }

    fn check_claims(
        &self,
        claims: &Claims,
        identified: &Identified,
        now: UnixNanos,
    ) -> Result<(), (Code, String)> {
        let refuse = |code, what: &str| Err((code, what.to_owned()));
        if claims.issuer != self.config.issuer {
            return refuse(Code::SesTokenNotForHere, "iss is not tokens.issuer");
        }
        if claims.audience != self.config.audience {
            return refuse(Code::SesTokenNotForHere, "aud is not tokens.audience");
        }
        if claims.certificate != identified.fingerprint {
            return refuse(Code::SesTokenNotYours, "cnf x5t#S256 is not the client certificate's");
        }
        if claims.subject.as_ref().is_some_and(|subject| *subject != identified.principal.to_string()) {
            return refuse(Code::SesTokenNotYours, "sub is not the certificate's principal");
        }
        let now_s = now.0 / 1_000_000_000;
        let latest = now_s.saturating_add(self.config.leeway_s);
        let wrong = if claims.expires <= now_s {
            "it has expired"
        } else if claims.issued > latest {
            "iat lies in the future"
        } else if claims.not_before.is_some_and(|then| then > latest) {
            "nbf lies in the future"
        } else if claims.expires <= claims.issued
            || claims.expires - claims.issued > self.config.lifetime_s_max
        {
            "it lives longer than tokens.lifetime_s_max, or not at all"
        } else {
            return Ok(());
        };
        refuse(Code::SesTokenOutOfTime, wrong)
    }

    fn check_withdrawn(&self, token: &Token, principal: &Principal) -> Result<(), (Code, String)> {
        match self.withdrawn.find(&token.id, &principal.to_string(), token.issued_s) {
            Some(why) => Err((Code::SesTokenWithdrawn, why)),
            None => Ok(()),
        }
    }

    /// Whether a token that was accepted before holds still.
    fn still_holds(&self, token: &Token, principal: &Principal) -> Result<(), (Code, String)> {
        let refuse = |code, what: &str| Err((code, what.to_owned()));
        if *token.issuer != *self.config.issuer || *token.audience != *self.config.audience {
            return refuse(Code::SesTokenNotForHere, "tokens.issuer or tokens.audience is another now");
        }
        if !self.config.algorithms.contains(&token.algorithm) {
            return refuse(
                Code::SesTokenAlgorithmRefused,
                "its algorithm is not in tokens.algorithms any more",
            );
        }
        if self.keys.find(&token.key_id).is_none_or(|key| key.digest != token.key) {
            return refuse(Code::SesTokenKeyUnknown, "its key is not in tokens.jwks any more");
        }
        self.check_withdrawn(token, principal)
    }

    /// What is in force, for the journal.
    pub(super) fn summary(&self) -> String {
        let withdrawn =
            self.config.withdrawn.as_ref().map_or(String::new(), |_| format!(", {}", self.withdrawn.count()));
        let withdrawn =
            if withdrawn.is_empty() { withdrawn } else { format!("{withdrawn} entries of withdrawals") };
        format!("tokens of {} by {} keys{withdrawn}; ", self.config.issuer, self.keys.count())
    }
}

/// Judges what came with an upgrade; `tokens` is `None` where they are off.
pub(super) fn admit(
    tokens: Option<&Tokens>,
    presented: Option<&str>,
    identified: &Identified,
    now: UnixNanos,
) -> Result<Option<Token>, TokenRefusal> {
    match (tokens, presented) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(TokenRefusal::new(Code::SesTokenNotForHere, "this server takes no tokens")),
        (Some(tokens), Some(text)) => tokens.check(text, identified, now).map(Some),
        (Some(tokens), None) if tokens.is_required_for(&identified.principal) => {
            Err(TokenRefusal::new(Code::SesTokenMissing, "no Authorization header came"))
        }
        (Some(_), None) => Ok(None),
    }
}

/// Judges the token that is to follow `before`.
pub(super) fn renew(
    tokens: Option<&Tokens>,
    before: Option<&Token>,
    text: &str,
    identified: &Identified,
    now: UnixNanos,
) -> Result<Token, TokenRefusal> {
    let Some(tokens) = tokens else {
        return Err(TokenRefusal::new(Code::SesTokenNotForHere, "this server takes no tokens"));
    };
    let Some(before) = before else {
        return Err(TokenRefusal::new(Code::SesTokenMissing, "the session came with no token"));
    };
    let token = tokens.check(text, identified, now)?;
    if token.subject != before.subject {
        let detail =
            format!("kid {} jti {}: sub is not that of the token before", token.key_id(), token.id());
        return Err(TokenRefusal::new(Code::SesTokenNotYours, detail));
    }
    Ok(token)
}

/// Whether an open session may go on with the token that it has, or without one.
pub(super) fn holds(
    tokens: Option<&Tokens>,
    token: Option<&Token>,
    principal: &Principal,
    now: UnixNanos,
) -> Result<(), (Code, String)> {
    if let Some(token) = token
        && token.expires <= now
    {
        return Err((
            Code::SesTokenOutOfTime,
            format!("the token was valid until {}", format_utc(token.expires)),
        ));
    }
    match (tokens, token) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err((Code::SesTokenNotForHere, "tokens are switched off now".to_owned())),
        (Some(tokens), Some(token)) => tokens.still_holds(token, principal),
        (Some(tokens), None) if tokens.is_required_for(principal) => {
            Err((Code::SesTokenMissing, "a token is needed now, and the session came with none".to_owned()))
        }
        (Some(_), None) => Ok(()),
    }
}

/// A name from a token for the log: printable, and cut.
pub(super) fn escaped(name: &str) -> String {
    let end = name.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= 64).last();
    name[..end.unwrap_or(0)].escape_default().to_string()
}
