//! The JSON Schema of the policy file and its parser know the same keys and words. Patterns and formats of the schema are for editors;
//! they are not checked here.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::types::{AdminVerb, CancelOnDisconnect, ProofDemand, SessionsPolicy};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../docs/schema/entitlements.schema.json")).unwrap()
}

/// Keys that the parser takes in a table, by what it says to one that it does not know.
fn keys(file: &str) -> BTreeSet<String> {
    let error = Policy::parse(file.as_bytes()).unwrap_err();
    let text = crate::telemetry::chain(&error);
    let (_, known) = text.split_once("unknown field `nokey`, expected").unwrap_or_else(|| panic!("{text}"));
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_key_of_the_parser_stands_in_the_schema_and_no_other() {
    let schema = schema();
    let rule = "[[rule]]\nname = \"r\"\nmatch = {}\n";
    for (file, table) in [
        ("nokey = 1\n".to_owned(), &schema),
        ("[[product]]\nnokey = 1\n".to_owned(), &schema["$defs"]["product"]),
        ("[[rule]]\nnokey = 1\n".to_owned(), &schema["$defs"]["rule"]),
        ("[[rule]]\nname = \"r\"\nmatch = { nokey = 1 }\n".to_owned(), &schema["$defs"]["match"]),
        (format!("{rule}[rule.orders]\nnokey = 1\n"), &schema["$defs"]["orders"]),
        (format!("{rule}[rule.publish]\nnokey = 1\n"), &schema["$defs"]["publish"]),
        (format!("{rule}[rule.limits]\nnokey = 1\n"), &schema["$defs"]["limits"]),
        ("[[deny]]\nnokey = 1\n".to_owned(), &schema["$defs"]["deny"]),
        ("[[firm]]\nnokey = 1\n".to_owned(), &schema["$defs"]["firm"]),
    ] {
        let described: BTreeSet<String> = table["properties"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(described, keys(&file), "{file}");
        assert_eq!(table["additionalProperties"], false, "{file}");
    }
}

#[test]
fn the_words_of_the_schema_are_those_of_the_parser() {
    let definitions = &schema()["$defs"];
    let words = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let channels: Vec<&str> =
        Channel::ALL.iter().filter(|one| !one.is_private()).map(|one| one.as_str()).collect();
    for table in ["rule", "deny"] {
        assert_eq!(words(&definitions[table]["properties"]["channels"]["items"]["enum"]), channels);
    }
    let verbs: Vec<&str> = AdminVerb::ALL.iter().map(|verb| verb.as_str()).collect();
    assert_eq!(words(&definitions["rule"]["properties"]["admin"]["items"]["enum"]), verbs);
    let orders = &definitions["orders"]["properties"];
    assert!(
        words(&orders["cancel_on_disconnect"]["enum"])
            .iter()
            .all(|word| CancelOnDisconnect::parse(word).is_some())
    );
    assert!(words(&orders["proof"]["enum"]).iter().all(|word| ProofDemand::parse(word).is_ok()));
    let policies: Vec<&str> = SessionsPolicy::ALL.iter().map(|policy| policy.as_str()).collect();
    assert_eq!(words(&definitions["limits"]["properties"]["sessions_policy"]["enum"]), policies);
}

/// A value of TOML as an editor shows it to the schema: dates are texts.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(instant) => instant.to_string().into(),
        toml::Value::Array(list) => list.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, json(value))).collect(),
    }
}

/// Why a value is not what a schema describes; only the words of JSON Schema that ours uses.
fn validate(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{value} {what} {schema}"));
    for (word, of) in schema.as_object().unwrap() {
        let list = || of.as_array().unwrap();
        match word.as_str() {
            "$ref" => validate(document, document.pointer(&of.as_str().unwrap()[1..]).unwrap(), value)?,
            "type" => {
                let is = match of.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64(),
                    "boolean" => value.is_boolean(),
                    other => panic!("the type {other} is not checked"),
                };
                if !is {
                    return wrong("has another type than");
                }
            }
            "enum" if !list().contains(value) => return wrong("is no word of"),
            "minimum" if value.as_i64() < of.as_i64() => return wrong("is below"),
            "maximum" if value.as_i64() > of.as_i64() => return wrong("is above"),
            "required" if list().iter().any(|key| value.get(key.as_str().unwrap()).is_none()) => {
                return wrong("lacks a key of");
            }
            "anyOf" if list().iter().all(|choice| validate(document, choice, value).is_err()) => {
                return wrong("is none of");
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    validate(document, of, item)?;
                }
            }
            "properties" => {
                for (key, field) in value.as_object().into_iter().flatten() {
                    match of.get(key) {
                        Some(schema) => validate(document, schema, field)?,
                        None => return wrong(&format!("has {key}, which is not in")),
                    }
                }
            }
            "dependentRequired" => {
                for (key, others) in of.as_object().unwrap() {
                    let lacks = |other: &Value| value.get(other.as_str().unwrap()).is_none();
                    if value.get(key).is_some() && others.as_array().unwrap().iter().any(lacks) {
                        return wrong("lacks what goes with a key of");
                    }
                }
            }
            "enum"
            | "minimum"
            | "maximum"
            | "required"
            | "anyOf"
            | "additionalProperties"
            | "pattern"
            | "format"
            | "default"
            | "description"
            | "title"
            | "$schema"
            | "$defs" => {}
            other => panic!("{other} is not checked"),
        }
    }
    Ok(())
}

fn is_described(file: &str) -> Result<(), String> {
    let value: toml::Table = toml::from_str(file).unwrap();
    validate(&schema(), &schema(), &json(toml::Value::Table(value)))
}

#[test]
fn the_example_policies_are_as_the_schema_says() {
    let example = include_str!("../../docs/examples/entitlements.toml");
    is_described(example).unwrap();
    // What is commented out is described, too.
    let orders = "duplicates_ms = 1000                        # in this time\n";
    assert!(example.contains(orders));
    let source = include_str!("policy_file.rs");
    let (_, rest) = source.split_once("//! ```toml\n").unwrap();
    let (text, _) = rest.split_once("//! ```\n").unwrap();
    let file: String = text.lines().map(|line| line.trim_start_matches("//!").to_owned() + "\n").collect();
    is_described(&file).unwrap();
    Policy::parse(file.as_bytes()).unwrap();
}

#[test]
fn what_the_parser_refuses_by_its_keys_and_values_the_schema_refuses_too() {
    let good = "[[rule]]\nname = \"r\"\nmatch = { firm = \"acme\" }\nchannels = [\"book\"]\nsymbols = [\"*\"]\ndepth_max = 10\nadmin = [\"kill\"]\n[rule.orders]\nsymbols = [\"*\"]\nduplicates_max = 3\nduplicates_ms = 10\norders_per_second = 5\n[rule.limits]\nsessions_max = 1\nsessions_policy = \"evict\"\n[[deny]]\nname = \"d\"\nmatch = {}\nsymbols = [\"X\"]\n[[firm]]\nname = \"acme\"\nloss_max = 5\n";
    is_described(good).unwrap();
    assert!(Policy::parse(good.as_bytes()).is_ok());
    for (right, wrong) in [
        ("depth_max = 10", "depth_max = 11"),
        ("depth_max", "depht_max"),
        ("[\"book\"]", "[\"boook\"]"),
        ("[\"kill\"]", "[\"shout\"]"),
        ("duplicates_ms = 10\n", ""),
        ("orders_per_second = 5", "orders_per_second = 0"),
        ("sessions_max = 1", "sessions_max = 0"),
        ("\"evict\"", "\"evcit\""),
        ("match = {}\nsymbols = [\"X\"]\n", "match = {}\n"),
        ("match = {}\n", ""),
        ("loss_max = 5", "loss_max = -5"),
        ("loss_max = 5", "loss_max = \"5\""),
        ("name = \"acme\"\n", ""),
    ] {
        let file = good.replacen(right, wrong, 1);
        assert_ne!(file, good, "{right}");
        assert!(Policy::parse(file.as_bytes()).is_err(), "the parser takes {wrong:?}");
        assert!(is_described(&file).is_err(), "the schema takes {wrong:?} for {right:?}");
    }
}
