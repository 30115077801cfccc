//! Tokens on the way of a session: what the upgrade brought, and what of it stands in the log.

use std::fmt;
use std::sync::Arc;

use tokio_tungstenite::tungstenite::http::HeaderMap;
use zeroize::Zeroizing;

use super::SessionContext;
use super::upgrade::Refused;
use crate::identity::{Identified, Token};
use crate::journal::event;
use crate::pipeline::SessionHandle;
use crate::types::Code;

/// What the `Authorization` header of an upgrade said. Never printed, and gone from the request that it came in.
pub enum Authorization {
    /// There was none.
    Missing,
    /// `Bearer` and a token, not judged yet.
    Bearer(Zeroizing<String>),
    /// Something else, and what is wrong with it.
    Unusable(&'static str),
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("Missing"),
            Self::Bearer(token) => write!(f, "Bearer({} bytes)", token.len()),
            Self::Unusable(what) => write!(f, "Unusable({what})"),
        }
    }
}

impl Authorization {
    /// Takes it out of the headers (RFC 6750 section 2.1; the scheme's case does not matter, RFC 9110 section 11.1).
    pub(super) fn take(headers: &mut HeaderMap) -> Self {
        let count = headers.get_all("authorization").iter().count();
        let Some(value) = headers.remove("authorization") else { return Self::Missing };
        if count > 1 {
            return Self::Unusable("header authorization stands twice");
        }
        let Ok(text) = value.to_str() else { return Self::Unusable("header authorization is no ASCII text") };
        match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => {
                Self::Bearer(Zeroizing::new(token.to_owned()))
            }
            _ => Self::Unusable("header authorization is not Bearer and a token"),
        }
    }
}

/// Judges what the upgrade of this certificate brought.
pub(super) fn admit(
    context: &SessionContext,
    identity: &Identified,
    authorization: &Authorization,
) -> Result<Option<Arc<Token>>, Refused> {
    let presented = match authorization {
        Authorization::Missing => None,
        Authorization::Bearer(token) => Some(token.as_str()),
        Authorization::Unusable(what) => return Err(Refused::new(Code::SesTokenMalformed, *what)),
    };
    let judged = context.identity.admit_token(presented, identity, context.clock.now());
    match judged {
        Ok(token) => Ok(token.map(Arc::new)),
        Err(refusal) => Err(Refused::new(refusal.code, refusal.detail)),
    }
}

/// The entry of a token that lets the session go on: `granted` or `renewed`.
pub(super) fn accepted(handle: &SessionHandle, what: &str, token: &Token) -> event::Token {
    event::Token {
        principal: handle.principal.to_string(),
        what: what.to_owned(),
        jti: token.id(),
        kid: token.key_id(),
        expires: token.expires.0,
        code: String::new(),
        detail: String::new(),
    }
}

/// The entry of a session that ends for its token, or for want of one.
pub(super) fn ended(
    handle: &SessionHandle,
    token: Option<&Token>,
    code: Code,
    why: Option<String>,
) -> event::Token {
    event::Token {
        principal: handle.principal.to_string(),
        what: "ended".to_owned(),
        jti: token.map(Token::id).unwrap_or_default(),
        kid: token.map(Token::key_id).unwrap_or_default(),
        expires: token.map_or(0, |token| token.expires.0),
        code: code.as_str().to_owned(),
        detail: why.unwrap_or_else(|| code.message().to_owned()),
    }
}
