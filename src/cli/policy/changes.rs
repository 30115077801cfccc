//! What one entitlement has that another has not, in words: each change a sentence without its subject.

use std::collections::{BTreeMap, BTreeSet};

use sealfeed_wire::Conflation;

use crate::identity::PolicyError;
use crate::types::{Channel, Entitlement, Grant, OrderRights, SessionLimits, SymbolPatterns};

/// Symbols that a sentence lists at most.
const SYMBOLS_SHOWN_MAX: usize = 8;

/// What changes from one answer of a policy to another.
pub(super) fn changes(
    old: &Result<Entitlement, PolicyError>,
    new: &Result<Entitlement, PolicyError>,
) -> Vec<String> {
    match (old, new) {
        (Err(old), Err(new)) if old.code() == new.code() => Vec::new(),
        (Err(_), Err(new)) => vec![format!("is refused for another reason: {}", new.code())],
        (Ok(_), Err(new)) => vec![format!("loses everything: {}", new.code())],
        (Err(_), Ok(new)) => between(&Entitlement::default(), new),
        (Ok(old), Ok(new)) => between(old, new),
    }
}

fn between(old: &Entitlement, new: &Entitlement) -> Vec<String> {
    let mut changes = streams(&old.grants, &new.grants);
    changes.extend(denies(&old.denies, &new.denies));
    match (&old.orders, &new.orders) {
        (None, None) => {}
        (Some(_), None) => changes.push("loses orders".to_owned()),
        (None, Some(rights)) => changes.push(format!("gains orders of {}", listed(&texts(&rights.symbols)))),
        (Some(old), Some(new)) => changes.extend(orders(old, new)),
    }
    if old.orders.is_some() && new.orders.is_some() && old.firm != new.firm {
        changes.push("has other bounds of the whole firm".to_owned());
    }
    let symbols = |entitlement: &Entitlement| {
        entitlement.publish.as_ref().map(|rights| texts(&rights.symbols)).unwrap_or_default()
    };
    changes.extend(sets("publishing", &symbols(old), &symbols(new)));
    let verbs = |entitlement: &Entitlement| -> BTreeSet<String> {
        entitlement.admin.iter().map(|verb| verb.as_str().to_owned()).collect()
    };
    changes.extend(sets("the operator's verbs", &verbs(old), &verbs(new)));
    match (old.drop_copy, new.drop_copy) {
        (true, false) => changes.push("loses the drop copy".to_owned()),
        (false, true) => changes.push("gains the drop copy".to_owned()),
        _ => {}
    }
    changes.extend(limits(&old.limits, &new.limits));
    let flag = |flag: Option<bool>| flag.map_or("not said".to_owned(), |flag| flag.to_string());
    changes.extend(value("professional", &flag(old.professional), &flag(new.professional)));
    changes.extend(value("display", &flag(old.display), &flag(new.display)));
    changes
}

/// Bounds of a stream: depth, interval, delay.
type Bounds = BTreeSet<(u32, u16, u64)>;

fn by_stream(grants: &[Grant]) -> BTreeMap<Channel, BTreeMap<&str, Bounds>> {
    let mut streams: BTreeMap<Channel, BTreeMap<&str, Bounds>> = BTreeMap::new();
    for grant in grants {
        for channel in grant.channels.iter().filter(|channel| !channel.is_private()) {
            let has_depth = matches!(channel, Channel::Book | Channel::Mbo);
            let depth = if has_depth { grant.depth_max } else { 0 };
            let is_timed = matches!(channel, Channel::Bbo | Channel::Book);
            let interval = if is_timed { grant.conflate_min } else { Conflation::Off };
            let bounds = (depth, interval.get(), grant.delay_ms);
            for symbol in grant.symbols.iter() {
                streams.entry(*channel).or_default().entry(symbol).or_default().insert(bounds);
            }
        }
    }
    streams
}

fn streams(old: &[Grant], new: &[Grant]) -> Vec<String> {
    let (old, new) = (by_stream(old), by_stream(new));
    let channels: BTreeSet<Channel> = old.keys().chain(new.keys()).copied().collect();
    let mut changes = Vec::new();
    for channel in channels {
        let name = level(channel);
        let (Some(before), Some(after)) = (old.get(&channel), new.get(&channel)) else {
            match new.get(&channel) {
                None => changes.push(format!("loses {name}")),
                Some(after) => changes.push(format!(
                    "gains {name} of {}",
                    listed(&after.keys().map(ToString::to_string).collect())
                )),
            }
            continue;
        };
        let keys = |one: &BTreeMap<&str, Bounds>, other: &BTreeMap<&str, Bounds>| -> BTreeSet<String> {
            one.keys().filter(|symbol| !other.contains_key(*symbol)).map(ToString::to_string).collect()
        };
        let (lost, gained) = (keys(before, after), keys(after, before));
        changes.extend((!lost.is_empty()).then(|| format!("loses {name} of {}", listed(&lost))));
        changes.extend((!gained.is_empty()).then(|| format!("gains {name} of {}", listed(&gained))));
        for (symbol, bounds) in before {
            if let Some(other) = after.get(symbol).filter(|other| *other != bounds) {
                let (other, bounds) = (in_words(channel, other), in_words(channel, bounds));
                changes.push(format!("has {name} of {symbol} {other}, was {bounds}"));
            }
        }
    }
    changes
}

fn denies(old: &[Grant], new: &[Grant]) -> Vec<String> {
    let (old, new) = (by_stream(old), by_stream(new));
    let flat = |streams: &BTreeMap<Channel, BTreeMap<&str, Bounds>>| -> BTreeSet<String> {
        let of = streams.iter().flat_map(|(channel, symbols)| {
            symbols.iter().map(|(symbol, bounds)| {
                let bounds = match bounds.iter().all(|bounds| *bounds == (0, 0, 0)) {
                    true => String::new(),
                    false => format!(" beyond {}", in_words(*channel, bounds)),
                };
                format!("{} of {symbol}{bounds}", level(*channel))
            })
        });
        of.collect()
    };
    let (old, new) = (flat(&old), flat(&new));
    let denied = new.difference(&old).map(|stream| format!("is denied {stream}"));
    let freed = old.difference(&new).map(|stream| format!("is no longer denied {stream}"));
    denied.chain(freed).collect()
}

fn orders(old: &OrderRights, new: &OrderRights) -> Vec<String> {
    let mut changes = sets("orders", &texts(&old.symbols), &texts(&new.symbols));
    let restricted = |rights: &OrderRights| listed(&texts(&rights.bounds.restricted_symbols));
    let duplicates = |rights: &OrderRights| {
        rights
            .duplicates
            .map_or("0".to_owned(), |limit| format!("{} in {} ms", limit.count_max, limit.within_ms))
    };
    type Field = (&'static str, fn(&OrderRights) -> String);
    let fields: [Field; 11] = [
        ("quantity_max", |rights| rights.quantity_max.to_string()),
        ("notional_max", |rights| rights.notional_max.to_string()),
        ("open_orders_max", |rights| rights.open_orders_max.to_string()),
        ("orders_per_second", |rights| rights.orders_per_second.to_string()),
        ("price_collar_bps", |rights| rights.price_collar_bps.to_string()),
        ("position_max", |rights| rights.bounds.position_max.to_string()),
        ("exposure_max", |rights| rights.bounds.exposure_max.to_string()),
        ("loss_max", |rights| rights.bounds.loss_max.to_string()),
        ("cancel_on_disconnect", |rights| rights.cancel_on_disconnect.as_str().to_owned()),
        ("cancel_on_revocation", |rights| rights.cancel_on_revocation.to_string()),
        ("proof", |rights| rights.proof.as_str().to_owned()),
    ];
    changes.extend(fields.iter().filter_map(|(name, of)| value(name, &of(old), &of(new))));
    changes.extend(value("restricted_symbols", &restricted(old), &restricted(new)));
    changes.extend(value("duplicates_max", &duplicates(old), &duplicates(new)));
    changes
}

fn limits(old: &SessionLimits, new: &SessionLimits) -> Vec<String> {
    type Field = (&'static str, fn(&SessionLimits) -> String);
    let fields: [Field; 4] = [
        ("sessions_max", |limits| limits.sessions_max.to_string()),
        ("sessions_policy", |limits| limits.sessions_policy.as_str().to_owned()),
        ("subscriptions_max", |limits| limits.subscriptions_max.to_string()),
        ("messages_per_second", |limits| limits.messages_per_second.to_string()),
    ];
    fields.iter().filter_map(|(name, of)| value(name, &of(old), &of(new))).collect()
}

fn value(name: &str, old: &str, new: &str) -> Option<String> {
    let shown = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    (old != new).then(|| format!("has {name} {}, was {}", shown(new), shown(old)))
}

fn sets(what: &str, old: &BTreeSet<String>, new: &BTreeSet<String>) -> Vec<String> {
    let of = |verb: &str, one: &BTreeSet<String>, other: &BTreeSet<String>| {
        let only: BTreeSet<String> = one.difference(other).cloned().collect();
        (!only.is_empty()).then(|| format!("{verb} {what} of {}", listed(&only)))
    };
    of("loses", old, new).into_iter().chain(of("gains", new, old)).collect()
}

fn texts(patterns: &SymbolPatterns) -> BTreeSet<String> {
    patterns.iter().map(str::to_owned).collect()
}

fn listed(symbols: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = symbols.iter().take(SYMBOLS_SHOWN_MAX).map(String::as_str).collect();
    match symbols.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A channel, with the name that the market gives its data.
fn level(channel: Channel) -> String {
    match channel {
        Channel::Bbo => "bbo (L1)".to_owned(),
        Channel::Book => "book (L2)".to_owned(),
        Channel::Mbo => "mbo (L3)".to_owned(),
        other => other.as_str().to_owned(),
    }
}

fn in_words(channel: Channel, bounds: &Bounds) -> String {
    let words = bounds.iter().map(|(depth, interval, delay_ms)| {
        let depth = match (channel, depth) {
            (Channel::Book, 0) => "to every level, ".to_owned(),
            (Channel::Book, depth) => format!("to {depth} levels, "),
            _ => String::new(),
        };
        let interval = if *interval == 0 { String::new() } else { format!("every {interval} ms, ") };
        let delay =
            if *delay_ms == 0 { "in real time".to_owned() } else { format!("{} s late", delay_ms / 1_000) };
        format!("{depth}{interval}{delay}")
    });
    words.collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Policy;
    use crate::types::{Principal, UnixNanos};

    const RULE: &str = "[[rule]]\nname = \"r\"\nmatch = {}\nchannels = [\"trades\", \"book\"]\nsymbols = [\"ES*\", \"SEAL\"]\n";

    fn check(old: &str, new: &str) -> Vec<String> {
        let of = |file: &str| {
            let policy = Policy::parse(file.as_bytes()).unwrap();
            policy.entitlement(&Principal::new("acme", "bob").unwrap(), None, UnixNanos(0))
        };
        changes(&of(old), &of(new))
    }

    #[test]
    fn each_change_is_said_in_the_words_of_the_market() {
        let orders = "[rule.orders]\nsymbols = [\"SEAL\"]\nquantity_max = \"10\"\n";
        for (old, new, expected) in [
            (RULE.to_owned(), RULE.replace(", \"book\"", ""), vec!["loses book (L2)"]),
            (RULE.replace(", \"book\"", ""), RULE.to_owned(), vec!["gains book (L2) of ES*, SEAL"]),
            (
                RULE.to_owned(),
                RULE.replace(", \"SEAL\"", ""),
                vec!["loses trades of SEAL", "loses book (L2) of SEAL"],
            ),
            (
                RULE.replace("\"trades\", ", "").replace(", \"SEAL\"", ""),
                RULE.replace("\"trades\", ", "").replace(", \"SEAL\"", "")
                    + "depth_max = 10\ndelay = \"15m\"\n",
                vec!["has book (L2) of ES* to 10 levels, 900 s late, was to every level, in real time"],
            ),
            (RULE.to_owned(), RULE.to_owned() + orders, vec!["gains orders of SEAL"]),
            (
                RULE.to_owned() + orders,
                RULE.to_owned() + &orders.replace("\"10\"", "\"20\""),
                vec!["has quantity_max 20, was 10"],
            ),
            (
                RULE.to_owned(),
                RULE.to_owned()
                    + "[[deny]]\nname = \"d\"\nmatch = {}\nchannels = [\"book\"]\nsymbols = [\"ESZ*\"]\n",
                vec!["is denied book (L2) of ESZ*"],
            ),
            (RULE.to_owned(), String::new(), vec!["loses everything: SF-SES-005"]),
            (
                RULE.to_owned(),
                RULE.to_owned() + "professional = false\n",
                vec!["has professional false, was not said"],
            ),
            (RULE.to_owned(), RULE.to_owned(), vec![]),
        ] {
            assert_eq!(check(&old, &new), expected, "{old}\n{new}");
        }
    }
}
