//! What rules and firms bound of orders, what operators may do, and which of it is refused.

use super::tests::NOW;
use super::*;
use crate::types::{AdminVerb, CancelOnDisconnect, DuplicateLimit, RiskBounds};

const FILE: &str = r#"
[[rule]]
name = "traders"
match = { firm = "acme", role = "trader" }
drop_copy = false
[rule.orders]
symbols = ["*"]
restricted_symbols = ["XX*", "YY"]
price_collar_bps = 250
position_max = "5000.5"
exposure_max = 20000000
loss_max = 250000
duplicates_max = 3
duplicates_ms = 1000
cancel_on_disconnect = "principal"

[[rule]]
name = "risk-desk"
match = { firm = "acme", user = "risk" }
drop_copy = true
admin = ["trading", "kill"]

[[rule]]
name = "operators"
match = { role = "admin" }
admin = ["kill"]

[[firm]]
name = "acme"
restricted_symbols = ["ZZ"]
open_orders_max = 1000
position_max = "20000"
exposure_max = 100000000
loss_max = 1000000
orders_per_second = 200
"#;

fn parse(file: &str) -> Policy {
    Policy::parse(file.as_bytes()).unwrap()
}

fn check(file: &str, firm: &str, user: &str, role: &str) -> Result<Entitlement, PolicyError> {
    parse(file).entitlement(&Principal::new(firm, user).unwrap(), Role::new(role).as_ref(), NOW)
}

/// The code and the whole chain of messages with which a file is refused.
fn refused(file: &str) -> (Code, String) {
    let error = Policy::parse(file.as_bytes()).unwrap_err();
    (error.code(), crate::telemetry::chain(&error))
}

#[test]
fn every_bound_of_a_rule_and_of_a_firm_reaches_the_entitlement() {
    let entitlement = check(FILE, "acme", "bob", "trader").unwrap();
    let rights = entitlement.orders.unwrap();
    assert_eq!(rights.price_collar_bps, 250);
    assert_eq!(rights.duplicates, Some(DuplicateLimit { count_max: 3, within_ms: 1_000 }));
    assert_eq!(rights.cancel_on_disconnect, CancelOnDisconnect::Principal);
    let bounds = RiskBounds {
        restricted_symbols: SymbolPatterns::new(["XX*", "YY"]),
        position_max: "5000.5".parse().unwrap(),
        exposure_max: 20_000_000,
        loss_max: 250_000,
    };
    assert_eq!(rights.bounds, bounds);
    let firm = FirmLimits {
        name: "acme".into(),
        bounds: RiskBounds {
            restricted_symbols: SymbolPatterns::new(["ZZ"]),
            position_max: "20000".parse().unwrap(),
            exposure_max: 100_000_000,
            loss_max: 1_000_000,
        },
        open_orders_max: 1_000,
        orders_per_second: 200,
    };
    assert_eq!(entitlement.firm.as_deref(), Some(&firm));
}

#[test]
fn a_rule_without_bounds_bounds_nothing_but_the_rate() {
    let file = "[[rule]]\nname = \"r\"\nmatch = {}\n[rule.orders]\nsymbols = [\"*\"]\n";
    let entitlement = check(file, "acme", "bob", "trader").unwrap();
    let expected = OrderRights::unbounded("r", SymbolPatterns::new(["*"]), 50);
    assert_eq!(entitlement.orders, Some(expected));
    assert_eq!((entitlement.firm, entitlement.admin, entitlement.drop_copy), (None, vec![], false));
}

#[test]
fn the_bounds_of_a_firm_are_the_same_object_for_all_its_principals_and_nobody_elses() {
    let file = FILE.replace("role = \"trader\"", "role = \"trader\", user = \"*\"");
    let policy = parse(&file.replacen("firm = \"acme\", ", "", 1));
    let firm = |name: &str, user: &str| {
        let principal = Principal::new(name, user).unwrap();
        policy.entitlement(&principal, Role::new("trader").as_ref(), NOW).unwrap().firm
    };
    assert!(Arc::ptr_eq(&firm("acme", "bob").unwrap(), &firm("acme", "erin").unwrap()));
    assert_eq!(firm("beta", "dave"), None);
    let risk = policy.entitlement(&Principal::new("acme", "risk").unwrap(), None, NOW).unwrap();
    assert_eq!(risk.firm, None, "who may not trade has nothing to bound");
}

#[test]
fn verbs_of_operators_and_the_drop_copy_add_up_over_the_rules_that_match() {
    let both = check(FILE, "acme", "risk", "admin").unwrap();
    assert_eq!((both.admin.as_slice(), both.drop_copy), (&[AdminVerb::Kill, AdminVerb::Trading][..], true));
    assert_eq!(both.operator_rules, [Arc::from("risk-desk"), Arc::from("operators")]);
    let one = check(FILE, "beta", "ops", "admin").unwrap();
    assert_eq!((one.admin.as_slice(), one.drop_copy), (&[AdminVerb::Kill][..], false));
    assert!(one.may_administer(AdminVerb::Kill) && !one.may_administer(AdminVerb::Trading));
    assert!(one.orders.is_none(), "who may stop others' trading may not trade for that");
    let trader = check(FILE, "acme", "bob", "trader").unwrap();
    assert!(!trader.may_administer(AdminVerb::Kill));
}

#[test]
fn every_bound_is_explained() {
    let explain = |user: &str, role: &str| {
        let principal = Principal::new("acme", user).unwrap();
        let lines = parse(FILE).explain(&principal, Role::new(role).as_ref(), NOW);
        lines.iter().map(|line| format!("{}: {}", line.rule, line.effect)).collect::<Vec<_>>()
    };
    let firm = "firm acme: may trade with the whole firm, 200 orders a second, at most 1000 open, position at most 20000, exposure at most 100000000, loss of a day at most 1000000, never ZZ";
    assert_eq!(
        explain("bob", "trader"),
        [
            "traders: may trade *, 50 orders a second, position at most 5000.5, exposure at most 20000000, loss of a day at most 250000, never XX*, YY, within 250 basis points of the market, the same order at most 3 times in 1000 ms, all orders are cancelled when the last session is lost",
            firm,
        ]
    );
    assert_eq!(
        explain("risk", ""),
        [
            "risk-desk: may use the operator's verbs kill, trading",
            "risk-desk: may read the execution reports of the whole firm",
        ]
    );
}

#[test]
fn values_that_mean_nothing_are_errors_with_their_line() {
    for (good, bad, expected) in [
        ("price_collar_bps = 250", "price_collar_bps = -1", "invalid value"),
        ("price_collar_bps = 250", "price_collar_pct = 2", "price_collar_pct"),
        ("\"5000.5\"", "\"-5000\"", "no quantity"),
        ("exposure_max = 20000000", "exposure_max = \"20000000\"", "invalid type"),
        ("duplicates_max = 3", "duplicates_max = 0", "not within 1 to 1000"),
        ("duplicates_ms = 1000", "duplicates_ms = 0", "not within 1 to 3600000"),
        ("duplicates_ms = 1000", "duplicates_ms = 3600001", "not within 1 to 3600000"),
        ("\"principal\"", "\"always\"", "none of off, connection and principal"),
        ("admin = [\"kill\"]", "admin = [\"shutdown\"]", "no verb of an operator"),
        ("restricted_symbols = [\"ZZ\"]", "restricted_symbols = [\"Z Z\"]", "no symbol pattern"),
        ("orders_per_second = 200", "orders_per_second = 0", "not within 1 to 1000000"),
        ("orders_per_second = 200", "notional_max = 200", "notional_max"),
    ] {
        let file = FILE.replacen(good, bad, 1);
        assert_ne!(file, FILE, "{good} is in the file");
        let (code, text) = refused(&file);
        assert_eq!(code, Code::CfgSyntaxInvalid, "{text}");
        assert!(text.contains(expected) && text.contains("line "), "{bad}: {text}");
    }
}

#[test]
fn half_a_bound_on_duplicates_is_refused() {
    for half in ["duplicates_max = 3\n", "duplicates_ms = 1000\n"] {
        let (code, text) = refused(&FILE.replacen(half, "", 1));
        assert_eq!(code, Code::CfgRuleInvalid);
        assert!(text.contains("both duplicates_max and duplicates_ms"), "{text}");
    }
}

#[test]
fn a_firm_named_twice_or_with_a_name_that_nobody_can_have_or_without_a_bound_is_refused() {
    let second = "[[firm]]\nname = \"acme\"\nloss_max = 1\n";
    assert_eq!(refused(&(FILE.to_owned() + second)).0, Code::CfgRulesAmbiguous);
    let (code, text) = refused(&(FILE.to_owned() + &second.replace("acme", "a/b")));
    assert_eq!(code, Code::CfgRuleInvalid);
    assert!(text.contains("[[firm]] table 2"), "{text}");
    let (code, text) = refused(&(FILE.to_owned() + "[[firm]]\nname = \"beta\"\nloss_max = 0\n"));
    assert_eq!(code, Code::CfgRuleInvalid);
    assert!(text.contains("`beta` bounds nothing"), "{text}");
}

#[test]
fn the_example_file_is_a_policy_with_bounds() {
    let entitlement =
        check(include_str!("../../docs/examples/entitlements.toml"), "acme", "bob", "trader").unwrap();
    assert_eq!(entitlement.orders.unwrap().bounds.loss_max, 250_000);
    assert_eq!(entitlement.firm.unwrap().bounds.loss_max, 1_000_000);
}
