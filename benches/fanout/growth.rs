//! The cost of a delivery in a burst as work grows: with subscribers of one symbol, and with symbols for 50 subscribers.
//!
//! The server has one processor or both; with both it has two shards, and shares one of them with the load. A table and a plot
//! of each sweep.

use std::path::Path;

use super::floor::{FloorOptions, Layer};
use super::load::{Outcome, Until, measure};
use super::plot::{Line, Plot};
use super::setup::recorded_symbol;
use super::support::Table;
use super::{Bench, delivery_ns, subscribe};

const STEPS: [u32; 11] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000];
const STEPS_SMOKE: [u32; 2] = [1, 5];

/// Subscribers of the sweep over symbols.
const READERS: u64 = 50;
/// Deliveries of one step in all, but for the bounds of its trades.
const DELIVERIES: u64 = 1_000_000;
const TRADES_MIN: u64 = 2_000;
/// Of 258 bytes: all of them stay below `limits.out_queue_bytes_max`, whatever the machine does to a reader meanwhile.
const TRADES_MAX: u64 = 12_000;
/// Symbols asked for at once: request and reply stay far below the longest message.
const SYMBOLS_PER_REQUEST: usize = 200;

/// Who serves.
#[derive(Clone, Copy)]
enum Who {
    OneProcessor,
    TwoProcessors,
    Bare,
}

impl Who {
    const fn name(self) -> &'static str {
        match self {
            Self::OneProcessor => "server, 1 processor",
            Self::TwoProcessors => "server, 2 processors",
            Self::Bare => "bare, 1 processor",
        }
    }
}

/// All steps and their plots, or `only` one step, to look at it with a profiler.
pub(crate) fn run(bench: &mut Bench, is_smoke: bool, rounds: u32, only: Option<u32>) {
    let all = if is_smoke { &STEPS_SMOKE[..] } else { &STEPS[..] };
    let steps = only.as_ref().map_or(all, std::slice::from_ref);
    let whole = [Who::OneProcessor, Who::TwoProcessors, Who::Bare];
    let sweeps = [("subscribers", &whole[..]), ("symbols", &whole[..2])];
    for (what, servers) in sweeps {
        println!("growth: CPU ns a delivery in a burst by number of {what}; least of {rounds} rounds");
        let mut lines: Vec<Line> =
            servers.iter().map(|who| Line { name: who.name(), points: Vec::new() }).collect();
        let mut table =
            Table::new(&[&[what], &servers.iter().map(|who| who.name()).collect::<Vec<_>>()[..]].concat());
        for step in steps {
            let mut least = vec![f64::INFINITY; servers.len()];
            for _ in 0..rounds {
                for (who, least) in servers.iter().zip(&mut least) {
                    let outcome = match what {
                        "symbols" => one(bench, *who, READERS, *step, is_smoke),
                        _ => one(bench, *who, u64::from(*step), 1, is_smoke),
                    };
                    *least = least.min(delivery_ns(&outcome));
                }
            }
            let cells: Vec<_> =
                [step.to_string()].into_iter().chain(least.iter().map(|ns| format!("{ns:.0}"))).collect();
            eprintln!("{}", cells.join("  "));
            table.row(&cells);
            lines.iter_mut().zip(&least).for_each(|(line, ns)| line.points.push((f64::from(*step), *ns)));
        }
        table.print();
        draw(what, lines, is_smoke || only.is_some());
    }
}

fn draw(what: &str, lines: Vec<Line>, is_partial: bool) {
    let plot = Plot {
        title: format!("CPU time of a delivery in a burst, by {what}"),
        x: format!("{what} (number)"),
        y: "CPU time of the server (ns a delivery)".to_owned(),
        lines,
    };
    let svg = plot.svg();
    assert!(svg.ends_with("</svg>\n"), "a whole plot");
    if is_partial {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/plots");
    std::fs::create_dir_all(&folder).expect("the folder of the plots");
    let path = folder.join(format!("growth_{what}.svg"));
    std::fs::write(&path, svg).expect("the plot");
    println!("written: benches/plots/growth_{what}.svg");
}

/// One burst.
fn one(bench: &mut Bench, who: Who, subscribers: u64, symbols: u32, is_smoke: bool) -> Outcome {
    let deliveries = if is_smoke { 5_000 } else { DELIVERIES };
    let trades = (deliveries / subscribers).clamp(TRADES_MIN, TRADES_MAX);
    let requests = requests(symbols);
    let server = match who {
        Who::OneProcessor | Who::TwoProcessors => {
            let trades = u32::try_from(trades).expect("a few");
            let source = bench.recording(trades, 0, symbols, subscribers * u64::from(symbols));
            bench.product(&source, matches!(who, Who::TwoProcessors), "")
        }
        Who::Bare => bench.floor_server(&FloorOptions {
            pki: bench.ground.pki(),
            subscribers,
            messages: trades,
            messages_per_second: 0,
            message_bytes: 258,
            layer: Layer::Bare,
        }),
    };
    let until = Until::Messages(trades);
    bench.runtime.block_on(measure(&server, &bench.client, subscribers, &requests, until))
}

/// All symbols; the last request is for one alone, because it starts the recording and the clock.
fn requests(symbols: u32) -> Vec<String> {
    let mut names: Vec<_> = (0..symbols).map(recorded_symbol).collect();
    let last = names.split_off(names.len() - 1);
    let chunks = names.chunks(SYMBOLS_PER_REQUEST).chain([&last[..]]);
    chunks.map(|symbols| subscribe("trades", symbols)).collect()
}
