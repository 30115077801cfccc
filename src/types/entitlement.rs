//! What a principal may do. Made by `identity` from the policy, read by every later stage.

use std::sync::Arc;

use sealfeed_wire::{AdminVerb, Channel, Code, Conflation, Depth, ProofDemand, Quantity};

use super::UnixNanos;
use super::patterns::SymbolPatterns;
use super::risk::{CancelOnDisconnect, DuplicateLimit, FirmLimits, RiskBounds};

/// All that a principal may do, with the rule that granted each line. Empty means: nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entitlement {
    /// Market data grants; a subscription needs one that covers it.
    pub grants: Vec<Grant>,
    /// Market data that is refused whatever the grants say: deny wins.
    pub denies: Vec<Grant>,
    /// Rights to trade; `None` means no orders at all.
    pub orders: Option<OrderRights>,
    /// Rights to publish market data; `None` means none.
    pub publish: Option<PublishRights>,
    /// What an operator may do: each verb once, in the order of [`AdminVerb::ALL`].
    pub admin: Vec<AdminVerb>,
    /// Whether the execution reports of the whole firm may be read.
    pub drop_copy: bool,
    /// Names of the rules that grant a verb or the drop copy.
    pub operator_rules: Vec<Arc<str>>,
    /// Bounds on all principals of the firm together, if it has any and this one may trade.
    pub firm: Option<Arc<FirmLimits>>,
    /// Ceilings for each session of this principal.
    pub limits: SessionLimits,
    /// Whether the user is a professional one, as exchanges count them; `None`: the policy does not say.
    pub professional: Option<bool>,
    /// Whether the data is for display to a person; `Some(false)`: for use by programs; `None`: the policy does not say.
    pub display: Option<bool>,
    /// The next instant at which this may be another one, because a rule begins or ends then: open sessions are judged again.
    /// `None`: not before the policy itself changes.
    pub changes_at: Option<UnixNanos>,
}

/// One line of market data entitlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Name of the rule it came from.
    pub rule: Arc<str>,
    /// Channels it covers.
    pub channels: Vec<Channel>,
    /// Symbols it covers.
    pub symbols: SymbolPatterns,
    /// Deepest `book` it covers, in levels; 0 means the full book. In a deny: books deeper than this are refused. `mbo`, which shows every
    /// order, is as deep as the full book.
    pub depth_max: u32,
    /// Shortest interval of `bbo` and `book` that it covers; in a deny: streams with a shorter one are refused.
    pub conflate_min: Conflation,
    /// How much later than the market it is delivered, in milliseconds; 0: in real time. A deny has none.
    pub delay_ms: u64,
}

/// How a stream may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// Name of the rule that grants it.
    pub rule: &'a Arc<str>,
    /// How much later than the market it is to be delivered, in milliseconds; 0: in real time.
    pub delay_ms: u64,
}

impl Grant {
    /// Whether this, as a deny, refuses a stream: all of a channel, or what is beyond its bounds, if it has any.
    fn refuses(&self, channel: Channel, is_deeper: bool, is_faster: bool) -> bool {
        let bounds_depth = has_depth(channel) && self.depth_max != 0;
        let bounds_interval =
            matches!(channel, Channel::Bbo | Channel::Book) && self.conflate_min != Conflation::Off;
        is_deeper || is_faster || !(bounds_depth || bounds_interval)
    }
}

/// Whether a bound of the depth means anything: `mbo` shows every order, so that a bound of any depth refuses it.
const fn has_depth(channel: Channel) -> bool {
    matches!(channel, Channel::Book | Channel::Mbo)
}

/// Rights to place orders, and their bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRights {
    /// Name of the rule it came from.
    pub rule: Arc<str>,
    /// Symbols that may be traded.
    pub symbols: SymbolPatterns,
    /// Largest quantity of one order; zero means no bound.
    pub quantity_max: Quantity,
    /// Largest price times quantity of one order, in whole currency units; 0 means no bound.
    pub notional_max: u64,
    /// Most orders resting at once; 0 means no bound.
    pub open_orders_max: u32,
    /// Orders and cancels a second, sustained; the burst is one second's worth. Never 0.
    pub orders_per_second: u32,
    /// How far a buy may be priced above the market, and a sell below it, in basis points of the market's price; 0 means no bound.
    pub price_collar_bps: u32,
    /// How often the same order may be sent in a while; `None` means no bound.
    pub duplicates: Option<DuplicateLimit>,
    /// What all orders together may lead to.
    pub bounds: RiskBounds,
    /// Whose resting orders are cancelled when a session ends without a logout.
    pub cancel_on_disconnect: CancelOnDisconnect,
    /// Whether the resting orders are cancelled when the certificate is withdrawn.
    pub cancel_on_revocation: bool,
    /// What signed requests must carry, beyond what happens to be sent.
    pub proof: ProofDemand,
}

impl OrderRights {
    /// Rights without any bound but the rate.
    #[must_use]
    pub fn unbounded(rule: impl Into<Arc<str>>, symbols: SymbolPatterns, orders_per_second: u32) -> Self {
        Self {
            rule: rule.into(),
            symbols,
            quantity_max: Quantity::ZERO,
            notional_max: 0,
            open_orders_max: 0,
            orders_per_second,
            price_collar_bps: 0,
            duplicates: None,
            bounds: RiskBounds::default(),
            cancel_on_disconnect: CancelOnDisconnect::default(),
            cancel_on_revocation: true,
            proof: ProofDemand::Mac,
        }
    }
}

/// Rights to publish market data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRights {
    /// Name of the rule it came from.
    pub rule: Arc<str>,
    /// Symbols that may be published; each must be an instrument of this principal's own source, too.
    pub symbols: SymbolPatterns,
}

/// Ceilings of one session. Every one of them is announced in `welcome`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions of this principal at once.
    pub sessions_max: u32,
    /// What becomes of one more.
    pub sessions_policy: SessionsPolicy,
    /// Subscriptions, counted per (channel, symbol), of one session.
    pub subscriptions_max: u32,
    /// Inbound messages a second, sustained, each at its weight; the burst is one second's worth.
    pub messages_per_second: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            sessions_max: 8,
            sessions_policy: SessionsPolicy::Refuse,
            subscriptions_max: 1024,
            messages_per_second: 200,
        }
    }
}

/// What becomes of a session beyond `sessions_max` of its principal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionsPolicy {
    /// It is refused at the upgrade, SF-SES-007.
    #[default]
    Refuse,
    /// It begins, and the oldest one ends with SF-SES-036, close 4004.
    Evict,
    /// It begins; the log says with each session how many there are, for the bill.
    Count,
}

impl SessionsPolicy {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Refuse, Self::Evict, Self::Count];

    /// The word for it in the policy and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Evict => "evict",
            Self::Count => "count",
        }
    }

    /// What a word stands for.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text)
    }
}

impl Entitlement {
    /// Whether anything is granted; a principal with nothing is refused at the upgrade.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
            && self.orders.is_none()
            && self.publish.is_none()
            && self.admin.is_empty()
            && !self.drop_copy
    }

    /// Whether `channel` of `symbol` may be read; `depth` counts for the book only (`mbo` is as deep as can be), `conflation` for book and best bid and offer.
    /// One grant must cover all of it; of several, the one with the shortest delay counts. Nothing may be delivered sooner than [`Access::delay_ms`] says.
    ///
    /// # Errors
    /// The code that answers the request: channel, symbol, depth or conflation not entitled, in that order.
    pub fn may_subscribe(
        &self,
        channel: Channel,
        symbol: &str,
        depth: Depth,
        conflation: Conflation,
    ) -> Result<Access<'_>, Code> {
        let levels_max = if channel == Channel::Mbo { usize::MAX } else { depth.levels_max() };
        let is_deeper = |max: u32| has_depth(channel) && max != 0 && levels_max > max as usize;
        let can_wait = matches!(channel, Channel::Bbo | Channel::Book);
        let is_faster = |grant: &Grant| can_wait && conflation.get() < grant.conflate_min.get();
        let of_channel = || self.grants.iter().filter(|grant| grant.channels.contains(&channel));
        if of_channel().next().is_none() {
            return Err(Code::SubChannelNotEntitled);
        }
        let denied = self.denies.iter().any(|deny| {
            deny.channels.contains(&channel)
                && deny.symbols.cover(symbol)
                && deny.refuses(channel, is_deeper(deny.depth_max), is_faster(deny))
        });
        let mut of_symbol = of_channel().filter(|grant| grant.symbols.cover(symbol)).peekable();
        if denied || of_symbol.peek().is_none() {
            return Err(Code::SubSymbolNotEntitled);
        }
        let mut of_depth = of_symbol.filter(|grant| !is_deeper(grant.depth_max)).peekable();
        if of_depth.peek().is_none() {
            return Err(Code::SubDepthNotEntitled);
        }
        of_depth
            .filter(|grant| !is_faster(grant))
            .min_by_key(|grant| grant.delay_ms)
            .map(|grant| Access { rule: &grant.rule, delay_ms: grant.delay_ms })
            .ok_or(Code::SubConflationNotEntitled)
    }

    /// Whether `["*"]` may be subscribed on `channel`: an unbounded grant and no deny at all on the channel.
    #[must_use]
    pub fn may_subscribe_to_everything(&self, channel: Channel) -> bool {
        self.grants.iter().any(|grant| grant.channels.contains(&channel) && grant.symbols.cover_everything())
            && !self.denies.iter().any(|deny| deny.channels.contains(&channel))
    }

    /// Whether `symbol` may be published.
    ///
    /// # Errors
    /// The code that answers the request: no right to publish at all, or not this symbol.
    pub fn may_publish(&self, symbol: &str) -> Result<(), Code> {
        let rights = self.publish.as_ref().ok_or(Code::PubNotEntitled)?;
        if rights.symbols.cover(symbol) { Ok(()) } else { Err(Code::PubSymbolNotEntitled) }
    }

    /// What every signed request must carry; the MAC where there are no rights to trade that say otherwise.
    #[must_use]
    pub fn proof(&self) -> ProofDemand {
        self.orders.as_ref().map_or(ProofDemand::Mac, |rights| rights.proof)
    }

    /// Whether a private channel may be read: one's own reports with the right to trade, those of one's firm with the drop copy.
    #[must_use]
    pub const fn may_read_reports(&self, channel: Channel) -> bool {
        match channel {
            Channel::Orders => self.orders.is_some(),
            Channel::DropCopy => self.drop_copy,
            _ => false,
        }
    }

    /// Whether an operator's verb may be used.
    #[must_use]
    pub fn may_administer(&self, verb: AdminVerb) -> bool {
        self.admin.contains(&verb)
    }

    /// The rights under which `symbol` may be traded.
    ///
    /// # Errors
    /// The code that answers the order: no order rights at all, or not in this symbol.
    pub fn may_trade(&self, symbol: &str) -> Result<&OrderRights, Code> {
        let rights = self.orders.as_ref().ok_or(Code::OrdNotEntitled)?;
        if rights.symbols.cover(symbol) { Ok(rights) } else { Err(Code::OrdSymbolNotEntitled) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(channels: &[Channel], symbols: &[&str], depth_max: u32) -> Grant {
        Grant {
            rule: "r".into(),
            channels: channels.to_vec(),
            symbols: SymbolPatterns::new(symbols.iter().copied()),
            depth_max,
            conflate_min: Conflation::Off,
            delay_ms: 0,
        }
    }

    #[test]
    fn deny_wins_over_every_grant() {
        let entitlement = Entitlement {
            grants: vec![grant(&[Channel::Book, Channel::Trades], &["*"], 0)],
            denies: vec![grant(&[Channel::Book], &["ES*"], 0)],
            ..Entitlement::default()
        };
        assert_eq!(
            entitlement.may_subscribe(Channel::Book, "ESH4", Depth::Ten, Conflation::Off),
            Err(Code::SubSymbolNotEntitled)
        );
        assert!(entitlement.may_subscribe(Channel::Trades, "ESH4", Depth::Full, Conflation::Off).is_ok());
        assert!(entitlement.may_subscribe(Channel::Book, "NQH4", Depth::Full, Conflation::Off).is_ok());
        assert!(!entitlement.may_subscribe_to_everything(Channel::Book));
        assert!(entitlement.may_subscribe_to_everything(Channel::Trades));
    }

    #[test]
    fn of_several_grants_that_cover_a_stream_the_shortest_delay_counts() {
        let delayed = |delay_ms, symbols: &[&str]| Grant { delay_ms, ..grant(&[Channel::Book], symbols, 0) };
        let entitlement = Entitlement {
            grants: vec![
                delayed(900_000, &["*"]),
                delayed(60_000, &["ES*"]),
                Grant { depth_max: 10, ..grant(&[Channel::Book], &["ESH4"], 0) },
            ],
            ..Entitlement::default()
        };
        let delay = |symbol, depth| {
            entitlement.may_subscribe(Channel::Book, symbol, depth, Conflation::Off).unwrap().delay_ms
        };
        assert_eq!(delay("ESH4", Depth::Ten), 0);
        assert_eq!(delay("ESH4", Depth::Full), 60_000, "in real time only ten levels are granted");
        assert_eq!(delay("SEAL", Depth::Ten), 900_000);
    }

    #[test]
    fn a_book_deeper_than_every_grant_is_refused() {
        let entitlement =
            Entitlement { grants: vec![grant(&[Channel::Book], &["*"], 10)], ..Entitlement::default() };
        assert!(entitlement.may_subscribe(Channel::Book, "X", Depth::Ten, Conflation::Off).is_ok());
        assert_eq!(
            entitlement.may_subscribe(Channel::Book, "X", Depth::Fifty, Conflation::Off),
            Err(Code::SubDepthNotEntitled)
        );
        assert_eq!(
            entitlement.may_subscribe(Channel::Book, "X", Depth::Full, Conflation::Off),
            Err(Code::SubDepthNotEntitled)
        );
        assert_eq!(
            entitlement.may_subscribe(Channel::Bbo, "X", Depth::Full, Conflation::Off),
            Err(Code::SubChannelNotEntitled)
        );
    }

    #[test]
    fn a_bound_of_the_depth_refuses_every_order_of_the_book_too() {
        let both = [Channel::Book, Channel::Mbo];
        let mbo = |grants: Vec<Grant>, denies: Vec<Grant>| {
            let entitlement = Entitlement { grants, denies, ..Entitlement::default() };
            entitlement.may_subscribe(Channel::Mbo, "X", Depth::Ten, Conflation::Off).map(|_| ())
        };
        let of = |depth_max| grant(&both, &["*"], depth_max);
        assert_eq!(mbo(vec![of(50)], vec![]), Err(Code::SubDepthNotEntitled));
        assert_eq!(mbo(vec![of(50), of(0)], vec![]), Ok(()));
        assert_eq!(mbo(vec![of(0)], vec![of(50)]), Err(Code::SubSymbolNotEntitled));
    }

    #[test]
    fn a_stream_that_is_faster_than_every_grant_is_refused_and_events_are_not() {
        let slow =
            Grant { conflate_min: Conflation::Ms250, ..grant(&[Channel::Bbo, Channel::Trades], &["*"], 0) };
        let entitlement = Entitlement { grants: vec![slow.clone()], ..Entitlement::default() };
        let check = |entitlement: &Entitlement, channel, conflation| {
            entitlement.may_subscribe(channel, "X", Depth::Ten, conflation).err()
        };
        let too_fast = Some(Code::SubConflationNotEntitled);
        assert_eq!(check(&entitlement, Channel::Bbo, Conflation::Off), too_fast);
        assert_eq!(check(&entitlement, Channel::Bbo, Conflation::Ms100), too_fast);
        assert_eq!(check(&entitlement, Channel::Bbo, Conflation::Ms1000), None);
        assert_eq!(check(&entitlement, Channel::Trades, Conflation::Off), None);
        let denied = Entitlement {
            grants: vec![grant(&[Channel::Bbo], &["*"], 0)],
            denies: vec![Grant { channels: vec![Channel::Bbo], ..slow }],
            ..Entitlement::default()
        };
        assert_eq!(check(&denied, Channel::Bbo, Conflation::Off), Some(Code::SubSymbolNotEntitled));
        assert_eq!(check(&denied, Channel::Bbo, Conflation::Ms250), None);
    }
}
