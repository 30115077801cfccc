//! What the entitlement policy costs, in CPU time: per connect, per request and per delivery, with 10, 1,000 and 10,000 rules.
//!
//! `users` has a rule for each of so many users of a hundred firms and asks for one of them, as a policy of that size is written; `one`
//! has them all about the one principal who asks, which is the worst that a file can do. `connect` is `Policy::entitlement`; `request` is
//! `Entitlement::may_subscribe` of a symbol that the last rule grants; `delivery` is what each execution report is asked: the entitlement in
//! force of its session, and whether it may read the channel. The floor is the look-up of the same text in a hash map of as many: of the
//! principal for `connect`, of the symbol for the others. Market data is not asked again for each delivery: a subscription that is no longer covered has ended.
//!
//! `cargo bench --bench policy`, or `-- --smoke` for about a second.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench prints its numbers and may stop")]

mod support;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sealfeed::identity::Policy;
use sealfeed::types::{Channel, Depth, Entitlement, Principal, UnixNanos};
use sealfeed_wire::Conflation;

const NOW: UnixNanos = UnixNanos(1_795_651_200_000_000_000);
const FIRMS: usize = 100;

/// How the rules of a file are spread.
#[derive(Clone, Copy)]
enum Spread {
    Users,
    One,
}

fn main() {
    let is_smoke = support::smoke();
    let rounds = if is_smoke { 3 } else { 31 };
    println!("entitlement policy: CPU ns, and how many times its floor");
    println!(
        "{:>6} {:>7} {:>10} {:>7} {:>8} {:>7} {:>8} {:>7} {:>9}",
        "spread", "rules", "connect", "ratio", "request", "ratio", "delivery", "ratio", "parse ms"
    );
    for spread in [Spread::Users, Spread::One] {
        for count in [10, 1_000, 10_000] {
            let mut results: Vec<[f64; 6]> = (0..rounds).map(|_| measure(spread, count, is_smoke)).collect();
            let mut least = |column: usize| {
                results.sort_by(|a, b| a[column].total_cmp(&b[column]));
                results[0][column]
            };
            let [connect, request, delivery, of_principal, of_symbol, parse] =
                [0, 1, 2, 3, 4, 5].map(&mut least);
            let name = match spread {
                Spread::Users => "users",
                Spread::One => "one",
            };
            println!(
                "{name:>6} {count:>7} {connect:>10.1} {:>7.1} {request:>8.1} {:>7.1} {delivery:>8.1} {:>7.1} {:>9.2}",
                connect / of_principal,
                request / of_symbol,
                delivery / of_symbol,
                parse / 1e6
            );
        }
    }
}

fn file(spread: Spread, count: usize) -> String {
    let rule = |number: usize| {
        let user = match spread {
            Spread::Users => number,
            Spread::One => count - 1,
        };
        format!(
            "[[rule]]\nname = \"r{number}\"\nmatch = {{ firm = \"firm{}\", user = \"user{user}\" }}\nchannels = [\"trades\", \"bbo\", \"book\"]\nsymbols = [\"{}\", \"ES*\"]\ndepth_max = 10\n",
            user % FIRMS,
            symbol(number)
        )
    };
    let orders = format!(
        "[[rule]]\nname = \"orders\"\nmatch = {{ user = \"user{}\" }}\n[rule.orders]\nsymbols = [\"*\"]\n",
        count - 1
    );
    // The one with the right to trade among them; the last one grants the symbol that is asked for.
    (1..count).map(rule).collect::<String>() + &orders
}

fn symbol(number: usize) -> String {
    format!("SYM{number}")
}

/// CPU nanoseconds to connect, to request, to deliver, of both floors, and to parse the file.
fn measure(spread: Spread, count: usize, is_smoke: bool) -> [f64; 6] {
    let times = if is_smoke { 100 } else { 2_000 };
    let text = file(spread, count);
    let mut policy = None;
    let parse = timed(1, || policy = Some(Policy::parse(text.as_bytes()).expect("a policy")));
    let policy = policy.expect("it was parsed");
    let user = format!("user{}", count - 1);
    let principal = Principal::new(&format!("firm{}", (count - 1) % FIRMS), &user).expect("a name");
    let few = (times / count).max(20);
    let connect = timed(few, || {
        let entitlement = policy.entitlement(black_box(&principal), None, NOW);
        assert!(black_box(entitlement).is_ok());
    });
    let entitlement: Entitlement = policy.entitlement(&principal, None, NOW).expect("it grants something");
    let wanted = symbol(count - 1);
    let request = timed(times, || {
        let access =
            entitlement.may_subscribe(Channel::Book, black_box(&wanted), Depth::Ten, Conflation::Off);
        assert!(black_box(access).is_ok());
    });
    let in_force = ArcSwap::from(Arc::new(entitlement));
    let delivery = timed(times, || {
        assert!(black_box(&in_force).load().may_read_reports(black_box(Channel::Orders)));
    });
    let principals: HashMap<String, usize> =
        (0..count).map(|number| (format!("firm{}/user{number}", number % FIRMS), number)).collect();
    let key = principal.to_string();
    let of_principal = timed(times, || assert!(black_box(principals.get(black_box(&key))).is_some()));
    let symbols: HashMap<String, usize> = (0..count).map(|number| (symbol(number), number)).collect();
    let of_symbol = timed(times, || assert!(black_box(symbols.get(black_box(&wanted))).is_some()));
    [connect, request, delivery, of_principal, of_symbol, parse]
}

/// CPU time of one step, of so many.
fn timed(count: usize, mut step: impl FnMut()) -> f64 {
    let start = support::thread_cpu_ns();
    for _ in 0..count {
        step();
    }
    support::ratio(support::thread_cpu_ns() - start, u64::try_from(count).unwrap_or(1))
}
