//! What a session is told about itself: `welcome` and `whoami`.

use sealfeed_wire::reply::{
    Certificate, ChannelGrant, Entitlement as WireEntitlement, EntitlementChanged, FirmGrant, Limits,
    OrderGrant, RateCeiling, Welcome, Whoami,
};
use sealfeed_wire::{Channel, Conflation, RequestId, UnixNanos};

use super::SessionContext;
use super::inbound::encoded;
use crate::identity::Identified;
use crate::pipeline::SessionHandle;
use crate::types::{
    CancelOnDisconnect, Entitlement, FirmLimits, ProofDemand, SessionsPolicy, SymbolPatterns,
};

/// Name and version of this software, as `welcome` shows it.
const SERVER: &str = concat!("sealfeed/", env!("CARGO_PKG_VERSION"));
/// Faults count for this long; see `abuse`.
const MALFORMED_INTERVAL_MS: u64 = 10_000;

/// The first message of a session.
pub(super) fn message(
    context: &SessionContext,
    handle: &SessionHandle,
    token_expires: Option<UnixNanos>,
) -> Vec<u8> {
    let granted = handle.entitlement();
    encoded(&Welcome {
        session: handle.id(),
        binding: Welcome::BINDING.into(),
        principal: handle.principal.to_string(),
        server: SERVER.into(),
        ts: context.clock.now(),
        entitlement: entitlement(&granted, Detail::WithoutRules),
        limits: limits(context, &granted),
        order_window_ms: context.order_window_ms,
        heartbeat_ms: context.heartbeat_ms,
        token_expires,
    })
}

/// What an open session is told when it may do something else; what ends or is moved by that is put in later.
pub fn changed(context: &SessionContext, granted: &Entitlement) -> EntitlementChanged {
    EntitlementChanged {
        ts: context.clock.now(),
        entitlement: entitlement(granted, Detail::WithoutRules),
        limits: limits(context, granted),
        ended: Vec::new(),
        changed: Vec::new(),
    }
}

/// The answer to `whoami`.
pub(super) fn whoami(
    context: &SessionContext,
    handle: &SessionHandle,
    identity: &Identified,
    id: Option<RequestId>,
) -> Vec<u8> {
    let granted = handle.entitlement();
    encoded(&Whoami {
        id,
        principal: handle.principal.to_string(),
        certificate: Certificate {
            subject: identity.subject.to_string(),
            issuer: identity.issuer_name().to_owned(),
            serial: identity.serial(),
            not_before: identity.not_before,
            not_after: identity.not_after,
            sha256: sealfeed_wire::CertificateHash(identity.fingerprint),
        },
        entitlement: entitlement(&granted, Detail::WithRules),
        limits: limits(context, &granted),
        rate_limits: handle.rate_limits(),
    })
}

/// Whether each line names the rule that granted it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    WithRules,
    WithoutRules,
}

fn entitlement(entitlement: &Entitlement, detail: Detail) -> WireEntitlement {
    let rule = |rule: &str| (detail == Detail::WithRules).then(|| rule.to_owned());
    let channels = entitlement.grants.iter().flat_map(|grant| {
        // A bound of the depth leaves nothing of `mbo`.
        let is_had = |channel: &&Channel| **channel != Channel::Mbo || grant.depth_max == 0;
        grant.channels.iter().filter(is_had).map(|channel| ChannelGrant {
            channel: channel.as_str().into(),
            symbols: symbols(&grant.symbols),
            depth_max: (*channel == Channel::Book)
                .then(|| u16::try_from(grant.depth_max).unwrap_or(u16::MAX)),
            conflate_ms_min: (matches!(channel, Channel::Bbo | Channel::Book)
                && grant.conflate_min != Conflation::Off)
                .then_some(grant.conflate_min),
            delayed_ms: (grant.delay_ms != 0).then_some(grant.delay_ms),
            rule: rule(&grant.rule),
        })
    });
    let orders = entitlement.orders.as_ref().map(|rights| OrderGrant {
        symbols: symbols(&rights.symbols),
        qty_max: (!rights.quantity_max.is_zero()).then_some(rights.quantity_max),
        notional_max: (rights.notional_max != 0).then_some(rights.notional_max),
        open_orders_max: (rights.open_orders_max != 0).then_some(rights.open_orders_max),
        restricted_symbols: symbols(&rights.bounds.restricted_symbols),
        price_collar_bps: (rights.price_collar_bps != 0).then_some(rights.price_collar_bps),
        position_max: (!rights.bounds.position_max.is_zero()).then_some(rights.bounds.position_max),
        exposure_max: (rights.bounds.exposure_max != 0).then_some(rights.bounds.exposure_max),
        loss_max: (rights.bounds.loss_max != 0).then_some(rights.bounds.loss_max),
        duplicates_max: rights.duplicates.map(|limit| limit.count_max),
        duplicates_ms: rights.duplicates.map(|limit| limit.within_ms),
        cancel_on_disconnect: (rights.cancel_on_disconnect != CancelOnDisconnect::Off)
            .then(|| rights.cancel_on_disconnect.as_str().into()),
        firm: entitlement.firm.as_deref().map(firm),
        rule: rule(&rights.rule),
        proof: (rights.proof != ProofDemand::Mac).then(|| rights.proof.as_str().into()),
    });
    WireEntitlement {
        channels: channels.collect(),
        orders,
        admin: entitlement.admin.iter().map(|verb| verb.as_str().into()).collect(),
        drop_copy: entitlement.drop_copy,
        professional: entitlement.professional,
        display: entitlement.display,
        changes_at: entitlement.changes_at,
    }
}

fn symbols(patterns: &SymbolPatterns) -> Vec<String> {
    patterns.iter().map(str::to_owned).collect()
}

fn firm(limits: &FirmLimits) -> FirmGrant {
    let bounds = &limits.bounds;
    FirmGrant {
        restricted_symbols: symbols(&bounds.restricted_symbols),
        open_orders_max: (limits.open_orders_max != 0).then_some(limits.open_orders_max),
        position_max: (!bounds.position_max.is_zero()).then_some(bounds.position_max),
        exposure_max: (bounds.exposure_max != 0).then_some(bounds.exposure_max),
        loss_max: (bounds.loss_max != 0).then_some(bounds.loss_max),
        orders_per_second: (limits.orders_per_second != 0).then_some(limits.orders_per_second),
    }
}

fn limits(context: &SessionContext, entitlement: &Entitlement) -> Limits {
    let limits = context.limits.now();
    let mut rates = vec![RateCeiling {
        name: "messages".into(),
        limit: entitlement.limits.messages_per_second,
        interval_ms: 1_000,
    }];
    if let Some(rights) = &entitlement.orders {
        rates.push(RateCeiling {
            name: "orders".into(),
            limit: rights.orders_per_second,
            interval_ms: 1_000,
        });
    }
    Limits {
        message_bytes_max: u32::try_from(limits.message_bytes_max).unwrap_or(u32::MAX),
        subscriptions_max: entitlement.limits.subscriptions_max,
        sessions_max: entitlement.limits.sessions_max,
        sessions_policy: (entitlement.limits.sessions_policy != SessionsPolicy::Refuse)
            .then(|| entitlement.limits.sessions_policy.as_str().into()),
        queue_bytes_max: limits.out_queue_bytes_max as u64,
        queue_age_ms_max: Some(limits.out_queue_age_max_ms),
        malformed_max: limits.malformed_max,
        malformed_interval_ms: MALFORMED_INTERVAL_MS,
        rates,
    }
}
