//! Bodies of what operators sign: `admin.kill`, `admin.trading` and `admin.reload`. All carry a reason, which is sealed with them.

use std::fmt;

use super::{Body, BodyError, Refusal};
use crate::code::Code;
use crate::ident::Symbol;
use crate::request::write_text;
use crate::term::{KillAction, KillScope, TradingPhase};

/// Most bytes of an operator's reason.
pub const OPERATOR_REASON_BYTES_MAX: usize = 200;

/// Most bytes of a firm's or a user's name.
const NAME_BYTES_MAX: usize = 64;

/// Why an operator did something: 1 to [`OPERATOR_REASON_BYTES_MAX`] printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorReason(Box<str>);

impl OperatorReason {
    /// A reason; `None` if the text is empty, too long or has anything outside space to tilde.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=OPERATOR_REASON_BYTES_MAX).contains(&text.len());
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (fits && is_printable).then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperatorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whose orders a kill switch stops. Names are 1 to 64 characters of `A-Z a-z 0-9 . _ -`, as in certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KillTarget {
    /// One principal: `firm/user`.
    Principal {
        /// Its firm.
        firm: Box<str>,
        /// Its name in the firm.
        user: Box<str>,
    },
    /// Every principal of a firm.
    Firm(Box<str>),
    /// One instrument.
    Symbol(Symbol),
    /// Everybody and everything.
    All,
}

impl KillTarget {
    /// A target in the words of the wire; `None` if the text does not fit the scope.
    #[must_use]
    pub fn new(scope: KillScope, target: Option<&str>) -> Option<Self> {
        let name = |text: &str| is_name(text).then(|| text.into());
        match (scope, target) {
            (KillScope::Principal, Some(target)) => {
                let (firm, user) = target.split_once('/')?;
                Some(Self::Principal { firm: name(firm)?, user: name(user)? })
            }
            (KillScope::Firm, Some(target)) => name(target).map(Self::Firm),
            (KillScope::Symbol, Some(target)) => Symbol::new(target).ok().map(Self::Symbol),
            (KillScope::All, None) => Some(Self::All),
            (KillScope::Principal | KillScope::Firm | KillScope::Symbol, None)
            | (KillScope::All, Some(_)) => None,
        }
    }

    /// The scope.
    #[must_use]
    pub const fn scope(&self) -> KillScope {
        match self {
            Self::Principal { .. } => KillScope::Principal,
            Self::Firm(_) => KillScope::Firm,
            Self::Symbol(_) => KillScope::Symbol,
            Self::All => KillScope::All,
        }
    }

    /// `target` on the wire; `None` for [`KillTarget::All`].
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Principal { firm, user } => Some(format!("{firm}/{user}")),
            Self::Firm(firm) => Some(firm.to_string()),
            Self::Symbol(symbol) => Some(symbol.to_string()),
            Self::All => None,
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_name_byte)
}

/// Body of `admin.kill`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminKill {
    /// Whose orders.
    pub target: KillTarget,
    /// Stop them, or let them be again.
    pub action: KillAction,
    /// Why.
    pub reason: OperatorReason,
}

/// Body of `admin.trading`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTrading {
    /// Which instrument of the venue.
    pub symbol: Symbol,
    /// How it is to trade from now on.
    pub state: TradingPhase,
    /// Why.
    pub reason: OperatorReason,
}

/// Body of `admin.reload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminReload {
    /// Why.
    pub reason: OperatorReason,
}

const RELOAD: [&str; 1] = ["reason"];

fn place_reload(key: &str) -> Option<usize> {
    RELOAD.iter().position(|name| *name == key)
}

const SCOPE: usize = 0;
const TARGET: usize = 1;
const ACTION: usize = 2;
const KILL_REASON: usize = 3;

const KILL: [&str; 4] = ["scope", "target", "action", "reason"];

fn place_kill(key: &str) -> Option<usize> {
    KILL.iter().position(|name| *name == key)
}

const SYMBOL: usize = 0;
const STATE: usize = 1;
const TRADING_REASON: usize = 2;

const TRADING: [&str; 3] = ["symbol", "state", "reason"];

fn place_trading(key: &str) -> Option<usize> {
    TRADING.iter().position(|name| *name == key)
}

fn reason<const N: usize>(body: &Body<'_, N>, index: usize) -> Result<OperatorReason, Refusal> {
    OperatorReason::new(body.need_text(index)?).ok_or((Code::OrdReasonInvalid, "reason".into()))
}

impl AdminKill {
    /// Reads the raw body of an `admin.kill` whose proof has verified.
    ///
    /// # Errors
    /// [`BodyError`] with the code of the first thing that is wrong.
    pub fn decode(body: &str) -> Result<Self, BodyError> {
        let body = Body::read(body, &KILL, place_kill);
        Self::from_fields(&body).map_err(|refusal| body.error(refusal))
    }

    fn from_fields(body: &Body<'_, { KILL.len() }>) -> Result<Self, Refusal> {
        body.check_form()?;
        let scope = body.need_parsed(SCOPE, KillScope::parse, Code::OrdBodyFieldValueInvalid)?;
        let has_target = body.fields.get(TARGET).is_some();
        let target = has_target.then(|| body.need_text(TARGET)).transpose()?;
        Ok(Self {
            target: KillTarget::new(scope, target).ok_or((Code::OrdKillTargetInvalid, "target".into()))?,
            action: body.need_parsed(ACTION, KillAction::parse, Code::OrdBodyFieldValueInvalid)?,
            reason: reason(body, KILL_REASON)?,
        })
    }

    /// The body as JSON, ready to be signed and sent.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut body = format!(r#"{{"scope":"{}""#, self.target.scope());
        if let Some(target) = self.target.text() {
            body += &format!(r#","target":"{target}""#);
        }
        body += &format!(r#","action":"{}","reason":"#, self.action);
        write_text(&mut body, self.reason.as_str());
        body.push('}');
        body
    }
}

impl AdminTrading {
    /// Reads the raw body of an `admin.trading` whose proof has verified.
    ///
    /// # Errors
    /// [`BodyError`] with the code of the first thing that is wrong.
    pub fn decode(body: &str) -> Result<Self, BodyError> {
        let body = Body::read(body, &TRADING, place_trading);
        Self::from_fields(&body).map_err(|refusal| body.error(refusal))
    }

    fn from_fields(body: &Body<'_, { TRADING.len() }>) -> Result<Self, Refusal> {
        body.check_form()?;
        Ok(Self {
            symbol: body.need_parsed(SYMBOL, Symbol::new, Code::OrdSymbolUnknown)?,
            state: body.need_parsed(STATE, TradingPhase::parse, Code::OrdBodyFieldValueInvalid)?,
            reason: reason(body, TRADING_REASON)?,
        })
    }

    /// The body as JSON, ready to be signed and sent.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut body = format!(r#"{{"symbol":"{}","state":"{}","reason":"#, self.symbol, self.state);
        write_text(&mut body, self.reason.as_str());
        body.push('}');
        body
    }
}

impl AdminReload {
    /// Reads the raw body of an `admin.reload` whose proof has verified.
    ///
    /// # Errors
    /// [`BodyError`] with the code of the first thing that is wrong.
    pub fn decode(body: &str) -> Result<Self, BodyError> {
        let body = Body::read(body, &RELOAD, place_reload);
        let read = |body: &Body<'_, { RELOAD.len() }>| {
            body.check_form()?;
            Ok(Self { reason: reason(body, 0)? })
        };
        read(&body).map_err(|refusal| body.error(refusal))
    }

    /// The body as JSON, ready to be signed and sent.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut body = r#"{"reason":"#.to_owned();
        write_text(&mut body, self.reason.as_str());
        body.push('}');
        body
    }
}
