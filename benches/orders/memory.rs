//! What the server keeps in memory of an order that rests, and of a principal: over the wire, by its resident memory.
//!
//! Whatever the server holds of them counts: venue, book, answer, nonce (as long as it could be replayed), order rate, names.
//! Tables that double when they are full make steps in it; a figure may be off by what the last doubling holds ready.

use std::time::Duration;

use super::Bench;
use super::load::connect;
use super::process::Server;
use super::support::Table;
use super::trader::Mix;

/// Orders that rest before the first look, and that come between the two looks.
const ORDERS: [u64; 2] = [10_000, 100_000];
const ORDERS_SMOKE: [u64; 2] = [500, 2_000];
/// Orders that the one principal has in flight.
const IN_FLIGHT: usize = 64;
/// The same of principals. Each connects, lets one order rest, and leaves.
const PRINCIPALS: [u64; 2] = [1_000, 10_000];
const PRINCIPALS_SMOKE: [u64; 2] = [50, 300];
/// How many principals are there at once.
const BATCH: u64 = 32;
/// What was needed on the way is given back in this time.
const SETTLING: Duration = Duration::from_secs(1);

pub(crate) fn run(bench: &mut Bench, is_smoke: bool) {
    let orders = orders(bench, if is_smoke { ORDERS_SMOKE } else { ORDERS });
    let principals = principals(bench, if is_smoke { PRINCIPALS_SMOKE } else { PRINCIPALS });
    let mut table = Table::new(&["what", "before", "more", "MB before", "MB after", "bytes each"]);
    table.row(&orders.cells("resting order of one principal"));
    table.row(&principals.cells("principal with one resting order, gone"));
    table.print();
    println!(
        "memory: resident bytes of the server; a principal without its order: {}",
        principals.each().saturating_sub(orders.each())
    );
}

/// Memory before and after so many more.
struct Grown {
    counts: [u64; 2],
    resident: [u64; 2],
}

impl Grown {
    fn each(&self) -> u64 {
        self.resident[1].saturating_sub(self.resident[0]) / self.counts[1]
    }

    #[expect(clippy::cast_precision_loss, reason = "measurements, not amounts")]
    fn cells(&self, what: &str) -> Vec<String> {
        let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        assert!(self.each() > 0, "what is kept takes room");
        vec![
            what.to_owned(),
            self.counts[0].to_string(),
            self.counts[1].to_string(),
            megabytes(self.resident[0]),
            megabytes(self.resident[1]),
            self.each().to_string(),
        ]
    }
}

fn orders(bench: &mut Bench, counts: [u64; 2]) -> Grown {
    let (server, _) = bench.product();
    let trader = bench.ground.trader(1);
    let resident = bench.runtime.block_on(async {
        let mut connections = connect(server.address, vec![trader], Mix::AllRest).await;
        let mut trader = connections.pop().expect("a trader");
        trader = trader.trade(IN_FLIGHT, |sent| sent < counts[0]).await;
        let before = settled(&server).await;
        trader = trader.trade(IN_FLIGHT, |sent| sent < counts[0] + counts[1]).await;
        let after = settled(&server).await;
        assert_eq!(trader.answered.len() as u64, counts[0] + counts[1], "every order was answered");
        [before, after]
    });
    Grown { counts, resident }
}

fn principals(bench: &mut Bench, counts: [u64; 2]) -> Grown {
    let (server, _) = bench.product();
    let mut number = 0;
    let resident = counts.map(|count| {
        let end = number + count;
        while number < end {
            let batch = BATCH.min(end - number);
            let traders = (1..=batch).map(|place| bench.ground.trader(number + place)).collect();
            bench.runtime.block_on(async {
                for connection in connect(server.address, traders, Mix::AllRest).await {
                    let answered = connection.trade(1, |sent| sent < 1).await.answered;
                    assert_eq!(answered.len(), 1, "its order was answered");
                }
            });
            number += batch;
        }
        bench.runtime.block_on(settled(&server))
    });
    Grown { counts, resident }
}

async fn settled(server: &Server) -> u64 {
    tokio::time::sleep(SETTLING).await;
    server.resident_bytes()
}
