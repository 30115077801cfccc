//! `sealfeed policy`: what it prints and ends with, over files of a folder and the log of a running server.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{POLICY, Pki};
use crate::process::{ServerProcess, configure, connect, run};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples")
}

/// A folder with files of these names and texts.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// Runs `sealfeed policy` with arguments of which those that end with `.toml` are files of the folder.
fn policy(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let full: Vec<String> = arguments
        .iter()
        .map(|argument| {
            if argument.ends_with(".toml") {
                folder.join(argument).to_str().unwrap().to_owned()
            } else {
                (*argument).to_owned()
            }
        })
        .collect();
    let mut line = vec!["policy"];
    line.extend(full.iter().map(String::as_str));
    let Output { status, stdout, stderr } = run(&line);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn check_reads_a_policy_as_the_server_would_and_names_what_is_wrong() {
    let (code, text, errors) = policy(&examples(), &["check", "entitlements.toml"]);
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("valid, 3 rules and denies"), "{text}");
    let twice = format!(
        "{POLICY}\n[[rule]]\nname = \"bob\"\nmatch = {{ user = \"bob\" }}\n[rule.orders]\nsymbols = [\"*\"]\n"
    );
    let wrong = POLICY.replace("depth_max = 10", "depth_max = 11");
    let folder = folder(&[("twice.toml", &twice), ("wrong.toml", &wrong)]);
    let (code, text, _) = policy(folder.path(), &["check", "--json", "twice.toml"]);
    assert_eq!(code, 0, "a contradiction for somebody is no invalid file");
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        found["warnings"],
        json!([
            "rules `traders` and `bob` both set orders for acme/bob:trader: they would be refused",
            "rules `beta` and `bob` both set orders for beta/bob:trader: they would be refused"
        ])
    );
    let (code, text, errors) = policy(folder.path(), &["check", "wrong.toml"]);
    assert_eq!((code, text.as_str()), (78, ""));
    assert!(errors.contains("depth 11 is none of 10, 50 and 0") && errors.contains("SF-CFG-004"), "{errors}");
    let (code, _, errors) = policy(folder.path(), &["check", "missing.toml"]);
    assert!(code == 78 && errors.contains("SF-CFG-002"), "{errors}");
}

#[test]
fn cases_pass_or_fail_as_a_policy_decides_them() {
    let (code, text, errors) =
        policy(&examples(), &["test", "entitlements-test.toml", "--policy", "entitlements.toml"]);
    assert_eq!(code, 0, "{text}{errors}");
    assert!(text.ends_with("6 passed, 0 failed\n"), "{text}");

    let cases = "[[case]]\nname = \"one\"\nas = \"acme/bob:viewer\"\norder = \"SEAL\"\nexpect = \"allow\"\n\
        [[case]]\nname = \"two\"\nas = \"acme/bob:viewer\"\norder = \"SEAL\"\nexpect = \"deny\"\ncode = \"SF-ORD-034\"\n\
        [[case]]\nname = \"three\"\nas = \"beta/dave:trader\"\nsubscribe = { channel = \"book\", symbol = \"SEAL\", depth = 50 }\nexpect = \"deny\"\n";
    let folder = folder(&[
        ("policy.toml", POLICY),
        ("cases.toml", cases),
        ("none.toml", ""),
        ("both.toml", &cases.replacen("order = \"SEAL\"", "order = \"SEAL\"\npublish = \"SEAL\"", 1)),
        ("key.toml", &cases.replacen("expect", "expcet", 1)),
    ]);
    let (code, text, _) = policy(folder.path(), &["test", "cases.toml", "--policy", "policy.toml", "--json"]);
    assert_eq!(code, 1);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let passed: Vec<_> = lines.iter().map(|line| (&line["passed"], &line["fault"])).collect();
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(passed, [(&no, &json!("allow")), (&no, &json!("code SF-ORD-034")), (&yes, &Value::Null)]);
    assert_eq!(lines[0]["code"], "SF-ORD-032", "{text}");
    for (file, expected) in
        [("none.toml", "nothing was tested"), ("both.toml", "more than one"), ("key.toml", "expcet")]
    {
        let (code, _, errors) = policy(folder.path(), &["test", file, "--policy", "policy.toml"]);
        assert!(code == 2 && errors.contains(expected), "{file}: {errors}");
    }
}

#[test]
fn explain_says_of_every_rule_why_it_counts_and_what_comes_of_it() {
    let dated = format!(
        "{POLICY}\n[[rule]]\nname = \"late\"\nmatch = {{ firm = \"acme\" }}\nchannels = [\"mbo\"]\nsymbols = [\"*\"]\ndelay = \"15m\"\nvalid_to = 2026-11-30\n"
    );
    let folder = folder(&[("policy.toml", &dated)]);
    let explain = |at: &str, more: &[&str]| {
        let mut line = vec!["explain", "--policy", "policy.toml", "--as", "acme/bob:trader", "--at", at];
        line.extend(more);
        policy(folder.path(), &line)
    };
    let mbo = ["--channel", "mbo", "--symbol", "SEAL"];
    let (code, text, errors) = explain("2026-11-26T00:00:00Z", &mbo);
    assert_eq!(code, 0, "{errors}");
    for line in [
        "acme/bob:trader at 2026-11-26T00:00:00Z: subscribe mbo SEAL\n",
        "  rule viewers does not count: it is for role viewer, not trader\n",
        "  rule traders counts: it matches\n    may read trades, bbo, book of *\n",
        "  rule late counts: it matches, until 2026-12-01T00:00:00.000000000Z\n",
        "this may change at 2026-12-01T00:00:00Z\nallow, by rule late, 900 s late\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let (code, text, _) = explain("2026-12-01T00:00:00Z", &[&mbo[..], &["--json"]].concat());
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &found["decision"], &found["code"]), (4, &json!("deny"), &json!("SF-SUB-004")));
    assert_eq!(found["changes_at"], Value::Null);
    for (arguments, expected) in [
        (&["--order", "SEAL"][..], 0),
        (&["--publish", "SEAL"], 4),
        (&["--admin", "kill"], 4),
        (&["--channel", "orders", "--symbol", "*"], 0),
        (&["--channel", "drop_copy", "--symbol", "*"], 4),
        (&["--channel", "book", "--symbol", "*"], 0),
        (&[], 0),
        (&["--admin", "shout"], 2),
        (&["--channel", "book"], 2),
        (&["--channel", "book", "--symbol", "X", "--depth", "11"], 2),
    ] {
        assert_eq!(explain("2026-11-26T00:00:00Z", arguments).0, expected, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn diff_says_what_changes_for_whom_and_who_of_them_is_connected() {
    let scene = TempDir::new().unwrap();
    let more = "[[source]]\ntype = \"synthetic\"\nsymbols = [\"SEAL\"]\nmessages_per_second = 10\n";
    let server = ServerProcess::start(&configure(scene.path(), &Pki::get().folder, more)).unwrap();
    let mut bob = connect(server.address, &Pki::get().client("acme/bob")).await;
    for channel in ["book", "trades"] {
        let reply = bob.request(json!({"op": "subscribe", "channel": channel, "symbols": ["SEAL"]})).await;
        assert_eq!(reply["refused"], json!({}), "{reply}");
    }
    // Only the rule of acme's traders loses its books.
    let (viewers, others) = POLICY.split_at(POLICY.find("name = \"traders\"").unwrap());
    let new = format!("{viewers}{}", others.replacen(", \"book\"", "", 1));
    std::fs::write(scene.path().join("new.toml"), new).unwrap();
    let log = scene.path().join("log");
    let diff = |more: &[&str]| {
        let mut line = vec!["diff", "entitlements.toml", "new.toml", "--live", log.to_str().unwrap()];
        line.extend(["--principal", "acme/zoe:trader", "--principal", "acme/yan:viewer"]);
        line.extend(more);
        policy(scene.path(), &line)
    };
    let (code, text, errors) = diff(&["--json"]);
    assert_eq!(code, 0, "{errors}");
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["users"], 3, "{found}");
    assert_eq!(
        found["changes"],
        json!([{"change": "loses book (L2)", "users": 2, "live": 1, "who": ["acme/*:trader", "acme/bob:trader", "acme/zoe:trader"]}])
    );
    assert_eq!(
        found["ends"],
        json!([{"who": "acme/bob:trader", "channel": "book", "symbol": "SEAL", "code": "SF-SUB-004"}])
    );
    let (_, text, _) = diff(&[]);
    assert!(text.starts_with("loses book (L2): 2 users, 1 of them live: acme/*:trader, acme/bob"), "{text}");
    let (code, text, _) = policy(scene.path(), &["diff", "new.toml", "new.toml"]);
    assert!(code == 0 && text.starts_with("nothing changes"), "{text}");
    let (code, ..) = policy(scene.path(), &["diff", "new.toml", "new.toml", "--live", "/nowhere"]);
    assert_eq!(code, 2);
    drop(bob);
}

#[test]
fn the_schema_is_printed_as_it_is_committed() {
    let (code, text, _) = policy(Path::new("/"), &["schema"]);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/entitlements.schema.json");
    assert_eq!((code, text), (0, std::fs::read_to_string(committed).unwrap()));
}
