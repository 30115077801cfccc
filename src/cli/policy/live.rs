//! Who is connected, by the sealed log, and which of their subscriptions another policy would end.

use std::path::Path;

use sealfeed_wire::Conflation;
use serde_json::{Value, json};

use super::{Who, usage};
use crate::cli::audit::{OpenSession, open_sessions};
use crate::cli::context::Problem;
use crate::identity::Policy;
use crate::types::{Channel, Code, Depth, Principal, Role, UnixNanos};

/// A session without a disconnect in the last run of the log.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) who: Who,
    session: OpenSession,
}

/// A subscription that would end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) who: String,
    pub(super) channel: String,
    pub(super) symbol: String,
    pub(super) code: Code,
}

impl Ends {
    pub(super) fn value(&self) -> Value {
        json!({"who": self.who, "channel": self.channel, "symbol": self.symbol, "code": self.code.as_str()})
    }
}

/// The sessions that are open at the end of a log.
pub(super) fn live(directory: &Path) -> Result<Vec<Live>, Problem> {
    let sessions = open_sessions(directory).map_err(|error| {
        usage(format!("{error:#}"), "Name the directory of a sealed log.").at(directory.display().to_string())
    })?;
    let known = sessions.into_iter().filter_map(|session| {
        let (firm, user) = session.principal.split_once('/')?;
        let who = Who { principal: Principal::new(firm, user)?, role: Role::new(&session.role) };
        Some(Live { who, session })
    });
    Ok(known.collect())
}

impl Live {
    /// Subscriptions that the policy does not cover.
    pub(super) fn ends(&self, policy: &Policy, now: UnixNanos) -> Vec<Ends> {
        let entitlement = policy.entitlement(&self.who.principal, self.who.role.as_ref(), now);
        let products = self.session.products.iter().filter_map(|(channel, symbol, depth)| {
            let code = match &entitlement {
                Err(error) => Some(error.code()),
                Ok(entitlement) => {
                    let known = Channel::parse(channel).ok()?;
                    if known.is_private() {
                        (!entitlement.may_read_reports(known)).then_some(Code::SubChannelNotEntitled)
                    } else {
                        let depth =
                            u16::try_from(*depth).ok().and_then(|depth| Depth::try_from(depth).ok())?;
                        // The log does not say how often the stream comes: the slowest may always stay.
                        entitlement.may_subscribe(known, symbol, depth, Conflation::Ms1000).err()
                    }
                }
            };
            let (channel, symbol) = (channel.clone(), symbol.clone());
            Some(Ends { who: self.who.to_string(), channel, symbol, code: code? })
        });
        products.collect()
    }
}
