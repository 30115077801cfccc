//! What rules give, and which files are refused.

use super::*;
use crate::types::{AdminVerb, ProofDemand, SessionLimits, SessionsPolicy};
use sealfeed_wire::Depth;

/// 2026-11-26.
pub(super) const NOW: UnixNanos = UnixNanos(1_795_651_200_000_000_000);

const FILE: &str = r#"
[[rule]]
name = "everybody"
match = { firm = "*" }
channels = ["trades"]
symbols = ["SEAL"]

[[rule]]
name = "acme-traders"
match = { firm = "acme", role = "trader" }
channels = ["trades", "bbo", "book"]
symbols = ["ES*"]
depth_max = 10
[rule.orders]
symbols = ["SEAL"]
quantity_max = "1000.5"
notional_max = 5000000
open_orders_max = 100
orders_per_second = 20
[rule.limits]
sessions_max = 2

[[rule]]
name = "desk7"
match = { firm = "acme", user = "desk7" }
[rule.orders]
symbols = ["*"]

[[deny]]
name = "no-nq"
match = { firm = "acme" }
symbols = ["ESZ*"]
"#;

fn who(text: &str) -> (Principal, Option<Role>) {
    let (name, role) = text.split_once(' ').unwrap_or((text, ""));
    let (firm, user) = name.split_once('/').unwrap();
    (Principal::new(firm, user).unwrap(), Role::new(role))
}

fn check(file: &str, principal: &str) -> Result<Entitlement, PolicyError> {
    let (principal, role) = who(principal);
    Policy::parse(file.as_bytes()).unwrap().entitlement(&principal, role.as_ref(), NOW)
}

/// The code and the whole chain of messages with which a file is refused.
fn refused(file: &str) -> (Code, String) {
    let error = Policy::parse(file.as_bytes()).unwrap_err();
    (error.code(), crate::telemetry::chain(&error))
}

#[test]
fn matching_rules_add_up() {
    let entitlement = check(FILE, "acme/desk1 trader").unwrap();
    assert_eq!(
        &**entitlement.may_subscribe(Channel::Trades, "SEAL", Depth::Full, Conflation::Off).unwrap().rule,
        "everybody"
    );
    assert_eq!(
        &**entitlement.may_subscribe(Channel::Book, "ESH4", Depth::Ten, Conflation::Off).unwrap().rule,
        "acme-traders"
    );
    assert!(entitlement.may_subscribe(Channel::Book, "ESH4", Depth::Fifty, Conflation::Off).is_err());
    assert!(entitlement.may_subscribe(Channel::Book, "SEAL", Depth::Ten, Conflation::Off).is_err());
    assert_eq!(entitlement.limits.sessions_max, 2);
    assert_eq!(entitlement.limits.subscriptions_max, SessionLimits::default().subscriptions_max);
}

#[test]
fn order_rights_bring_their_private_channel_and_their_bounds() {
    let entitlement = check(FILE, "acme/desk1 trader").unwrap();
    assert!(entitlement.may_subscribe_to_everything(Channel::Orders));
    let rights = entitlement.may_trade("SEAL").unwrap();
    assert_eq!(rights.quantity_max, "1000.5".parse().unwrap());
    assert_eq!((rights.notional_max, rights.open_orders_max, rights.orders_per_second), (5_000_000, 100, 20));
    assert!(entitlement.may_trade("ESH4").is_err());
}

#[test]
fn without_order_rights_there_is_no_private_channel() {
    let entitlement = check(FILE, "other/desk1 trader").unwrap();
    assert!(entitlement.orders.is_none());
    assert!(entitlement.may_subscribe(Channel::Orders, "*", Depth::Full, Conflation::Off).is_err());
}

#[test]
fn a_rule_that_bounds_the_interval_grants_slower_streams_only() {
    let file = FILE.replacen("depth_max = 10", "depth_max = 10\nconflate_ms_min = 250", 1);
    let entitlement = check(&file, "acme/desk1 trader").unwrap();
    let ask = |conflation| entitlement.may_subscribe(Channel::Bbo, "ESH4", Depth::Ten, conflation).err();
    assert_eq!(ask(Conflation::Ms100), Some(Code::SubConflationNotEntitled));
    assert_eq!(ask(Conflation::Ms250), None);
}

#[test]
fn deny_wins_for_whom_it_matches() {
    assert!(
        check(FILE, "acme/desk1 trader")
            .unwrap()
            .may_subscribe(Channel::Trades, "ESZ4", Depth::Full, Conflation::Off)
            .is_err()
    );
    assert!(
        check(FILE, "acme/desk1 trader")
            .unwrap()
            .may_subscribe(Channel::Trades, "ESH4", Depth::Full, Conflation::Off)
            .is_ok()
    );
}

#[test]
fn a_role_that_the_certificate_lacks_is_not_assumed() {
    assert!(check(FILE, "acme/desk1").unwrap().orders.is_none());
    assert!(check(FILE, "acme/desk1 viewer").unwrap().orders.is_none());
}

#[test]
fn two_rules_with_order_rights_are_refused_with_both_named() {
    let error = check(FILE, "acme/desk7 trader").unwrap_err();
    assert_eq!(error.to_string(), "rules `acme-traders` and `desk7` both set orders for acme/desk7");
    assert_eq!(error.code(), Code::SesEntitlementMissing);
    assert!(check(FILE, "acme/desk7 viewer").unwrap().orders.is_some(), "only one of them matches a viewer");
}

#[test]
fn two_rules_with_limits_are_refused() {
    let limits =
        |name| format!("[[rule]]\nname = \"{name}\"\nmatch = {{}}\n[rule.limits]\nsessions_max = 1\n");
    let error = check(&(FILE.to_owned() + &limits("l1") + &limits("l2")), "other/x").unwrap_err();
    assert!(matches!(error, PolicyError::Ambiguous { section: "limits", .. }), "{error}");
}

#[test]
fn who_matches_no_rule_has_nothing() {
    let file = FILE.replace("firm = \"*\"", "firm = \"other\"");
    assert!(matches!(check(&file, "stranger/x"), Err(PolicyError::NothingGranted { .. })));
    assert!(matches!(check("", "acme/x"), Err(PolicyError::NothingGranted { .. })));
}

#[test]
fn every_effect_is_explained_with_its_rule() {
    let (principal, role) = who("acme/desk1 trader");
    let lines = Policy::parse(FILE.as_bytes()).unwrap().explain(&principal, role.as_ref(), NOW);
    let text: Vec<String> = lines.iter().map(|line| format!("{}: {}", line.rule, line.effect)).collect();
    assert_eq!(
        text,
        [
            "everybody: may read trades of SEAL",
            "acme-traders: may read trades, bbo, book of ES*, books to 10 levels",
            "acme-traders: may trade SEAL, 20 orders a second, quantity at most 1000.5, notional at most 5000000, at most 100 open",
            "acme-traders: at most 2 sessions, 1024 subscriptions each, 200 messages a second",
            "no-nq: may not read trades, bbo, book, mbo, ohlcv-1s, ohlcv-1m, status, definition of ESZ*",
        ]
    );
}

#[test]
fn unknown_keys_and_values_are_errors_with_their_line() {
    for (good, bad, expected) in [
        ("depth_max = 10", "depht_max = 10", "depht_max"),
        ("\"trades\", \"bbo\"", "\"trades\", \"bba\"", "unknown channel \"bba\""),
        ("\"trades\", \"bbo\"", "\"trades\", \"orders\"", "comes with `[rule.orders]`"),
        ("\"trades\", \"bbo\"", "\"trades\", \"drop_copy\"", "comes with `drop_copy = true`"),
        ("\"ES*\"", "\"ES *\"", "no symbol pattern"),
        ("depth_max = 10", "depth_max = 11", "none of 10, 50 and 0"),
        ("depth_max = 10", "conflate_ms_min = 200", "none of 0 (every message), 100, 250 and 1000"),
        ("\"1000.5\"", "\"-1\"", "no quantity"),
        ("\"1000.5\"", "1000.5", "invalid type"),
        ("orders_per_second = 20", "orders_per_second = 0", "not within 1 to 1000000"),
        ("sessions_max = 2", "sessions_max = 0", "at least 1"),
        ("user = \"desk7\"", "user = \"desk,7\"", "1 to 64 characters"),
        ("user = \"desk7\"", "usr = \"desk7\"", "usr"),
    ] {
        let file = FILE.replacen(good, bad, 1);
        assert_ne!(file, FILE, "{good} is in the file");
        let (code, text) = refused(&file);
        assert_eq!(code, Code::CfgSyntaxInvalid, "{text}");
        assert!(text.contains(expected) && text.contains("line "), "{bad}: {text}");
    }
}

#[test]
fn an_unknown_role_is_refused_unless_the_file_declares_it() {
    let file = FILE.replace("role = \"trader\"", "role = \"tradre\"");
    let (code, text) = refused(&file);
    assert_eq!(code, Code::CfgRuleInvalid);
    assert!(text.contains("unknown role `tradre`; known are trader, viewer, service, admin"), "{text}");
    assert!(Policy::parse(format!("roles = [\"tradre\"]\n{file}").as_bytes()).is_ok());
}

#[test]
fn a_name_used_twice_is_refused() {
    assert_eq!(refused(&FILE.replace("\"no-nq\"", "\"desk7\"")).0, Code::CfgRulesAmbiguous);
    assert_eq!(refused(&FILE.replace("name = \"desk7\"", "name = \"desk 7\"")).0, Code::CfgRuleInvalid);
}

#[test]
fn a_rule_that_grants_nothing_or_half_of_something_is_refused() {
    let nothing = "[[rule]]\nname = \"r\"\nmatch = {}\n";
    assert!(refused(nothing).1.contains("grants nothing"));
    assert!(refused(&format!("{nothing}channels = [\"bbo\"]\n")).1.contains("both channels and symbols"));
    assert!(refused(&format!("{nothing}symbols = [\"A\"]\n")).1.contains("both channels and symbols"));
}

#[test]
fn a_rule_must_say_whom_it_matches() {
    assert!(refused("[[rule]]\nname = \"r\"\nchannels = [\"bbo\"]\nsymbols = [\"A\"]\n").1.contains("match"));
}

#[test]
fn a_policy_that_is_not_text_is_refused() {
    assert_eq!(Policy::parse(b"\xff").unwrap_err().code(), Code::CfgSyntaxInvalid);
}

#[test]
fn an_empty_list_of_symbols_is_refused() {
    for list in ["symbols = [\"*\"]", "symbols = [\"ESZ*\"]"] {
        let file = FILE.replace(list, "symbols = []");
        assert!(refused(&file).1.contains("empty list of symbols"), "{list}");
    }
}

#[test]
fn the_documented_example_is_a_policy() {
    let source = include_str!("policy_file.rs");
    let (_, rest) = source.split_once("//! ```toml\n").unwrap();
    let (example, _) = rest.split_once("//! ```\n").unwrap();
    let file: String = example.lines().map(|line| line.trim_start_matches("//!").to_owned() + "\n").collect();
    let policy = Policy::parse(file.as_bytes()).unwrap();
    assert_eq!(policy.count(), 2);
    let (principal, role) = who("acme/desk7 trader");
    let entitlement = policy.entitlement(&principal, role.as_ref(), NOW).unwrap();
    assert!(entitlement.may_trade("SEAL").is_ok());
    assert!(entitlement.may_subscribe(Channel::Book, "ESH4", Depth::Ten, Conflation::Off).is_ok());
    assert_eq!(entitlement.orders.unwrap().price_collar_bps, 500);
    assert_eq!(entitlement.firm.unwrap().orders_per_second, 200);
}

#[test]
fn the_right_to_publish_is_granted_by_symbol_and_explained() {
    let text =
        "[[rule]]\nname = \"index\"\nmatch = { user = \"calc\" }\n[rule.publish]\nsymbols = [\"IDX*\"]\n";
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let calc = Principal::new("acme", "calc").unwrap();
    let entitlement = policy.entitlement(&calc, None, NOW).unwrap();
    assert_eq!(entitlement.may_publish("IDX.A"), Ok(()));
    assert_eq!(entitlement.may_publish("OTHER"), Err(Code::PubSymbolNotEntitled));
    assert_eq!(Entitlement::default().may_publish("IDX"), Err(Code::PubNotEntitled));
    let lines = policy.explain(&calc, None, NOW);
    assert_eq!(lines.iter().map(|line| line.effect.as_str()).collect::<Vec<_>>(), ["may publish IDX*"]);
    for wrong in ["symbols = []", "symbols = [\"I X\"]", "symbol = [\"IDX\"]", ""] {
        assert!(Policy::parse(text.replace("symbols = [\"IDX*\"]", wrong).as_bytes()).is_err(), "{wrong:?}");
    }
    let twice = text.to_owned() + &text.replace("index", "again");
    assert!(
        Policy::parse(twice.as_bytes()).unwrap().entitlement(&calc, None, NOW).is_err(),
        "a contradiction"
    );
}

#[test]
fn a_delay_is_a_whole_number_of_seconds_minutes_or_hours_up_to_a_day() {
    let policy = |delay: &str| {
        let text = format!(
            "[[rule]]\nname = \"late\"\nmatch = {{}}\nchannels = [\"trades\"]\nsymbols = [\"*\"]\ndelay = \"{delay}\"\n"
        );
        Policy::parse(text.as_bytes())
    };
    let alice = Principal::new("acme", "alice").unwrap();
    for (delay, delay_ms) in [("1s", 1_000), ("15m", 900_000), ("24h", 86_400_000), ("86400s", 86_400_000)] {
        let policy = policy(delay).unwrap();
        let entitlement = policy.entitlement(&alice, None, NOW).unwrap();
        let access = entitlement.may_subscribe(Channel::Trades, "X", Depth::Full, Conflation::Off).unwrap();
        assert_eq!(access.delay_ms, delay_ms, "{delay}");
        assert!(policy.explain(&alice, None, NOW)[0].effect.ends_with(" s late"));
    }
    for delay in ["", "s", "0s", "015m", "15", "15 m", "-1m", "1.5m", "25h", "1d", "99999999999999999999h"] {
        assert!(policy(delay).is_err(), "{delay:?}");
    }
    let nothing = "[[rule]]\nname = \"late\"\nmatch = {}\ndelay = \"1s\"\n[rule.limits]\nsessions_max = 1\n";
    assert!(matches!(Policy::parse(nothing.as_bytes()), Err(PolicyFileError::DelaysNothing { .. })));
}

#[test]
fn a_rule_says_what_signed_requests_must_carry() {
    let with = |proof: &str| FILE.replace("quantity_max", &format!("{proof}quantity_max"));
    let demand = |file: &str| check(file, "acme/desk1 trader").unwrap().proof();
    assert_eq!(demand(FILE), ProofDemand::Mac);
    for (word, expected) in
        [("mac", ProofDemand::Mac), ("sig", ProofDemand::Sig), ("both", ProofDemand::Both)]
    {
        assert_eq!(demand(&with(&format!("proof = \"{word}\"\n"))), expected);
    }
    let (code, text) = refused(&with("proof = \"none\"\n"));
    assert_eq!(code, Code::CfgSyntaxInvalid);
    assert!(text.contains("none of mac, sig and both"), "{text}");
    assert_eq!(
        check(FILE, "other/x").unwrap().proof(),
        ProofDemand::Mac,
        "who may not trade has the default"
    );
}

#[test]
fn the_verbs_of_operators_add_up_and_are_enough_for_an_entitlement() {
    let file = r#"
[[rule]]
name = "killers"
match = { firm = "ops" }
admin = ["kill"]

[[rule]]
name = "market"
match = { firm = "ops", user = "chief" }
admin = ["trading", "kill"]
"#;
    assert_eq!(check(file, "ops/night").unwrap().admin, [AdminVerb::Kill]);
    let chief = check(file, "ops/chief").unwrap();
    assert_eq!(chief.admin, [AdminVerb::Kill, AdminVerb::Trading]);
    assert!(chief.may_administer(AdminVerb::Trading));
    assert!(!check(FILE, "acme/desk1 trader").unwrap().may_administer(AdminVerb::Kill));
    assert!(check(file, "acme/desk1").is_err(), "nobody else has anything");
    let (code, _) = refused(&file.replace("\"kill\"]", "\"shout\"]"));
    assert_eq!(code, Code::CfgSyntaxInvalid);
}

/// A policy that takes symbols from products in every place where they may stand.
const PRODUCTS: &str = r#"
[[product]]
name = "index"
symbols = ["ES*", "NQZ6"]

[[product]]
name = "metals"
symbols = ["GC*"]

[[rule]]
name = "desks"
match = { firm = "acme" }
channels = ["trades", "book"]
symbols = ["SEAL"]
products = ["index", "metals"]
[rule.orders]
products = ["index"]
[rule.publish]
products = ["metals"]

[[deny]]
name = "no-metal-books"
match = { firm = "acme" }
channels = ["book"]
products = ["metals"]
"#;

#[test]
fn a_product_stands_for_its_symbols_wherever_symbols_may_stand() {
    let entitlement = check(PRODUCTS, "acme/desk1").unwrap();
    let may_read =
        |channel, symbol| entitlement.may_subscribe(channel, symbol, Depth::Full, Conflation::Off).is_ok();
    for symbol in ["SEAL", "ESH7", "NQZ6", "GCZ6"] {
        assert!(may_read(Channel::Trades, symbol), "{symbol}");
        assert_eq!(may_read(Channel::Book, symbol), symbol != "GCZ6", "{symbol}");
    }
    assert!(!may_read(Channel::Trades, "NQH7"));
    assert!(entitlement.may_trade("ESH7").is_ok() && entitlement.may_trade("SEAL").is_err());
    assert!(entitlement.may_publish("GCZ6").is_ok() && entitlement.may_publish("ESH7").is_err());
}

#[test]
fn a_product_that_is_missing_twofold_or_empty_is_refused_with_its_name() {
    for (good, bad, code, expected) in [
        (
            "products = [\"index\"]",
            "products = [\"indx\"]",
            Code::CfgProductUnknown,
            "`desks` names the product `indx`",
        ),
        ("name = \"metals\"", "name = \"index\"", Code::CfgRulesAmbiguous, "named `index`"),
        ("name = \"metals\"", "name = \"me tals\"", Code::CfgRuleInvalid, "[[product]] table 2"),
        ("[\"GC*\"]", "[]", Code::CfgRuleInvalid, "`metals` has an empty list"),
        (
            "channels = [\"book\"]\nproducts = [\"metals\"]",
            "channels = [\"book\"]",
            Code::CfgRuleInvalid,
            "no products",
        ),
    ] {
        let file = PRODUCTS.replace(good, bad);
        assert_ne!(file, PRODUCTS, "{good} is in the file");
        let (found, text) = refused(&file);
        assert_eq!(found, code, "{text}");
        assert!(text.contains(expected), "{bad}: {text}");
    }
}

#[test]
fn a_list_with_more_symbols_than_anybody_could_be_shown_is_refused() {
    let many: Vec<String> = (0..4_096).map(|number| format!("\"S{number}\"")).collect();
    let file = |own: &str| {
        format!(
            "[[product]]\nname = \"all\"\nsymbols = [{}]\n[[rule]]\nname = \"r\"\nmatch = {{}}\nchannels = [\"bbo\"]\nproducts = [\"all\"]\nsymbols = [{own}]\n",
            many.join(",")
        )
    };
    let entitlement = check(&file(""), "acme/x").unwrap();
    assert!(entitlement.may_subscribe(Channel::Bbo, "S4095", Depth::Full, Conflation::Off).is_ok());
    let (code, text) = refused(&file("\"ONE\""));
    assert_eq!(code, Code::CfgRuleInvalid);
    assert!(text.contains("there are 4097 symbols") && text.contains("at most 4096"), "{text}");
}

#[test]
fn flags_about_the_user_add_up_where_they_agree_and_are_a_contradiction_where_they_do_not() {
    let flags = |name: &str, line: &str| {
        format!("[[rule]]\nname = \"{name}\"\nmatch = {{ firm = \"acme\" }}\n{line}\n")
    };
    let file = |second: &str| FILE.to_owned() + &flags("f1", "professional = true") + &flags("f2", second);
    let entitlement = check(&file("professional = true\ndisplay = false"), "acme/desk1 trader").unwrap();
    assert_eq!((entitlement.professional, entitlement.display), (Some(true), Some(false)));
    let error = check(&file("professional = false"), "acme/desk1 trader").unwrap_err();
    assert_eq!(error.to_string(), "rules `f1` and `f2` both set professional for acme/desk1");
    assert_eq!(check(FILE, "acme/desk1 trader").unwrap().professional, None);
    let only_flags = flags("f1", "display = true");
    assert!(
        matches!(check(&only_flags, "acme/x"), Err(PolicyError::NothingGranted { .. })),
        "flags are no right"
    );
    let (principal, role) = who("acme/desk1 viewer");
    let policy = Policy::parse(file("display = false").as_bytes()).unwrap();
    let lines = policy.explain(&principal, role.as_ref(), NOW);
    let effects: Vec<&str> = lines.iter().map(|line| line.effect.as_str()).collect();
    assert!(
        effects.contains(&"counts as professional use") && effects.contains(&"counts as non-display use")
    );
}

#[test]
fn a_rule_says_what_becomes_of_one_session_too_many() {
    let with = |line: &str| FILE.replace("sessions_max = 2", &format!("sessions_max = 2\n{line}"));
    let policy = |file: &str| check(file, "acme/desk1 trader").unwrap().limits.sessions_policy;
    assert_eq!(policy(FILE), SessionsPolicy::Refuse);
    for expected in SessionsPolicy::ALL {
        assert_eq!(policy(&with(&format!("sessions_policy = \"{}\"", expected.as_str()))), expected);
    }
    let (code, text) = refused(&with("sessions_policy = \"evcit\""));
    assert_eq!(code, Code::CfgSyntaxInvalid);
    assert!(text.contains("none of refuse, evict and count"), "{text}");
}
