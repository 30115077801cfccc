//! `sealfeed audit at TIME --principal P DIR`: what somebody could see, had subscribed to, and had open at a moment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::book;
use super::plain;
use super::rows::{ENDS_HERE, Row, open, parse_time};
use super::sessions::{Sessions, Stream};
use crate::clock::format_utc;
use crate::config::tape_directory;
use crate::types::UnixNanos;

/// Arguments of `audit at`.
#[derive(Debug, Args)]
pub(super) struct AtArgs {
    /// The moment: RFC 3339, or nanoseconds since 1970.
    #[arg(value_parser = parse_time)]
    time: u64,
    /// Whose: firm/user.
    #[arg(long)]
    principal: String,
    /// The log's directory.
    directory: PathBuf,
    /// The tape's directory, for the books as they stood; by default beside the log, `<DIRECTORY>.tape`.
    #[arg(long, value_name = "DIRECTORY")]
    tape: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// What is known of the moment.
#[derive(Debug, Default)]
struct Moment {
    sessions: Sessions,
    /// Files in force, by what they decide: hash, summary, since when, entry.
    policy: BTreeMap<String, Value>,
    /// Orders of the principal that are open, by number.
    orders: BTreeMap<u64, Value>,
    /// The last refusal of anything to the principal.
    refused: Option<Value>,
    running: bool,
    last: Option<(u64, String)>,
}

impl Moment {
    fn learn(&mut self, row: &Row, principal: &str) {
        self.sessions.learn(row);
        self.last = Some((row.entry.header.seq, row.time()));
        match row.kind.as_str() {
            "start" => self.running = true,
            // Orders do not outlive the server that took them.
            "stop" | "log.start" | "log.recovery" => {
                self.running = false;
                self.orders.clear();
            }
            "config" => {
                let what = row.text("what").unwrap_or_default().to_owned();
                let (sha256, summary) = (row.text("sha256"), row.text("summary"));
                let seq = row.entry.header.seq;
                let value = json!({"sha256": sha256, "summary": summary, "since": row.time(), "seq": seq});
                self.policy.insert(what, value);
            }
            "execution" if row.text("principal") == Some(principal) => self.execution(row),
            "reject" | "order_refused" | "limit" if row.text("principal") == Some(principal) => {
                let seq = row.entry.header.seq;
                let value =
                    json!({"time": row.time(), "code": row.text("code"), "op": row.text("op"), "seq": seq});
                self.refused = Some(value);
            }
            _ => {}
        }
    }

    fn execution(&mut self, row: &Row) {
        let Some(id) = row.number("order_id") else { return };
        if matches!(row.text("exec"), Some("canceled" | "expired")) || row.number("leaves") == Some(0) {
            self.orders.remove(&id);
            return;
        }
        let text = |field: &str| row.text(field);
        let value = json!({
            "order_id": id.to_string(),
            "cl_ord_id": text("cl_ord_id"),
            "symbol": text("symbol"),
            "side": text("side"),
            "leaves_nanos": row.number("leaves"),
        });
        self.orders.insert(id, value);
    }

    /// Symbols that a principal has market data of, by its delay in milliseconds, each with the most levels that it is shown; 0 are all
    /// of them.
    fn subscribed(&self, principal: &str) -> BTreeMap<u64, BTreeMap<String, usize>> {
        let mut by_delay: BTreeMap<u64, BTreeMap<String, usize>> = BTreeMap::new();
        for session in self.sessions.open.values().filter(|session| session.principal == principal) {
            for (product, held) in session.products.iter().filter(|(product, _)| product.1 != "*") {
                let depth = usize::try_from(held.depth).unwrap_or_default();
                let symbols = by_delay.entry(held.delayed_ms).or_default();
                let most = symbols.entry(product.1.clone()).or_insert(depth);
                *most = if *most == 0 || depth == 0 { 0 } else { depth.max(*most) };
            }
        }
        by_delay
    }

    fn to_json(&self, arguments: &AtArgs) -> Value {
        let mut sessions = Vec::new();
        for (name, session) in &self.sessions.open {
            if session.principal != arguments.principal {
                continue;
            }
            let subscriptions: Vec<Value> = session
                .products
                .iter()
                .map(|((channel, symbol), held)| {
                    let delayed_ms = late(held.delayed_ms);
                    json!({"channel": channel, "symbol": symbol, "depth": held.depth, "since": held.since, "delayed_ms": delayed_ms})
                })
                .collect();
            sessions.push(json!({
                "session": name,
                "address": session.address,
                "certificate": session.certificate,
                "since": session.since,
                "subscriptions": subscriptions,
                "delivered": delivered(&session.delivered),
            }));
        }
        json!({
            "time": format_utc(UnixNanos(arguments.time)),
            "principal": arguments.principal,
            "as_of_entry": self.last.as_ref().map(|(seq, _)| seq),
            "server_running": self.running,
            "in_force": self.policy,
            "sessions": sessions,
            "open_orders": self.orders.values().collect::<Vec<_>>(),
            "last_refusal": self.refused,
        })
    }
}

pub(super) fn run(arguments: &AtArgs) -> anyhow::Result<ExitCode> {
    let mut moment = Moment::default();
    for entry in open(&arguments.directory)? {
        let row = Row::new(entry.context(ENDS_HERE)?);
        // Entries stand in the order in which they happened. A clock that stepped back must not bring later ones in.
        if row.entry.header.stamp.utc_ns > arguments.time {
            break;
        }
        moment.learn(&row, &arguments.principal);
    }
    let mut found = moment.to_json(arguments);
    let symbols = moment.subscribed(&arguments.principal);
    let tape = arguments.tape.clone().unwrap_or_else(|| tape_directory(&arguments.directory));
    // Where no tape was kept, that is said, unless it was asked for.
    if arguments.tape.is_some() || tape.exists() {
        let now = symbols.get(&0).cloned().unwrap_or_default();
        found["books"] = book::at(&tape, UnixNanos(arguments.time), &now)?;
        // What is delivered late is seen as it stood so much earlier.
        for (delay_ms, symbols) in symbols.iter().filter(|(delay_ms, _)| **delay_ms != 0) {
            let then = arguments.time.saturating_sub(delay_ms.saturating_mul(1_000_000));
            found["delayed_books"][delay_ms.to_string()] = book::at(&tape, UnixNanos(then), symbols)?;
        }
    }
    if arguments.json {
        anstream::println!("{}", plain(&found.to_string()));
        return Ok(ExitCode::SUCCESS);
    }
    print(&found);
    Ok(ExitCode::SUCCESS)
}

/// What had left for a session by the last entry that says so; what left after it is not known yet at that moment.
fn delivered(streams: &BTreeMap<Stream, Vec<(u64, u64)>>) -> Vec<Value> {
    let of = |((channel, symbol, depth, epoch, delayed_ms), ranges): (&Stream, &Vec<(u64, u64)>)| {
        let delayed_ms = late(*delayed_ms);
        json!({"channel": channel, "symbol": symbol, "depth": depth, "epoch": epoch, "ranges": ranges, "delayed_ms": delayed_ms})
    };
    streams.iter().map(of).collect()
}

/// A delay in milliseconds as it is printed: nothing for what comes in real time.
fn late(delayed_ms: u64) -> Option<u64> {
    (delayed_ms != 0).then_some(delayed_ms)
}

/// Text of a value, harmless on a terminal.
fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| plain(&value.to_string()).into_owned(), |text| text.escape_debug().to_string())
}

fn shown_delay(of: &Value) -> String {
    of["delayed_ms"].as_u64().map_or_else(String::new, |delayed_ms| format!(", {delayed_ms} ms late"))
}

fn print(found: &Value) {
    let list = |field: &str| found[field].as_array().cloned().unwrap_or_default();
    anstream::println!("{} at {}", shown(&found["principal"]), shown(&found["time"]));
    if found["as_of_entry"].is_null() {
        anstream::println!("  the log begins later");
        return;
    }
    let running = if found["server_running"] == true { "running" } else { "not running" };
    anstream::println!("  as of entry {}; the server was {running}", found["as_of_entry"]);
    anstream::println!("in force");
    for (what, file) in found["in_force"].as_object().into_iter().flatten() {
        anstream::println!(
            "  {what}: {} (sha256 {}, since {})",
            shown(&file["summary"]),
            shown(&file["sha256"]),
            shown(&file["since"])
        );
    }
    anstream::println!("sessions: {}", list("sessions").len());
    for session in list("sessions") {
        let name: String = shown(&session["session"]).chars().take(16).collect();
        anstream::println!("  {name} from {} since {}", shown(&session["address"]), shown(&session["since"]));
        for subscription in session["subscriptions"].as_array().into_iter().flatten() {
            let (channel, symbol) = (shown(&subscription["channel"]), shown(&subscription["symbol"]));
            let depth = match subscription["depth"].as_u64() {
                Some(0) | None => "full".to_owned(),
                Some(levels) => format!("{levels} levels"),
            };
            let delay = shown_delay(subscription);
            anstream::println!(
                "    {channel} {symbol}, {depth}{delay}, since {}",
                shown(&subscription["since"])
            );
        }
        for stream in session["delivered"].as_array().into_iter().flatten() {
            let (channel, symbol) = (shown(&stream["channel"]), shown(&stream["symbol"]));
            let delay = shown_delay(stream);
            anstream::println!(
                "    delivered of {channel} {symbol}{delay}: messages {}",
                shown(&stream["ranges"])
            );
        }
    }
    book::print(&found["books"]);
    for (delay_ms, books) in found["delayed_books"].as_object().into_iter().flatten() {
        anstream::println!("{delay_ms} ms late:");
        book::print(books);
    }
    anstream::println!("open orders: {}", list("open_orders").len());
    for order in list("open_orders") {
        let (id, name) = (shown(&order["order_id"]), shown(&order["cl_ord_id"]));
        anstream::println!(
            "  {id} {name}: {} {}, open {} (1e-9)",
            shown(&order["side"]),
            shown(&order["symbol"]),
            order["leaves_nanos"]
        );
    }
    if !found["last_refusal"].is_null() {
        let refusal = &found["last_refusal"];
        anstream::println!(
            "last refusal: {} for {} at {}",
            shown(&refusal["code"]),
            shown(&refusal["op"]),
            shown(&refusal["time"])
        );
    }
}
