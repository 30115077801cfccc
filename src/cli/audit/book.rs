//! The books as they stood at a moment, made again from the tape: the last keyframe before it, and what was published since.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use sealfeed_wire::{Level, Scaled};
use serde_json::{Value, json};

use crate::clock::format_utc;
use crate::feed::Feed;
use crate::feed::tape::{Item, Position, Reader};
use crate::types::{BookDecimals, Depth, Instrument, MarketDepth, Side, UnixNanos};

/// Levels a side that are printed as text; the JSON has all that were subscribed to.
const SHOWN_LEVELS_MAX: usize = 10;

/// The books of `symbols`, each to its number of levels (0 are all), as the tape in `directory` had published them at `time`.
pub(super) fn at(
    directory: &Path,
    time: UnixNanos,
    symbols: &BTreeMap<String, usize>,
) -> anyhow::Result<Value> {
    let unreadable = || format!("cannot read the tape in {directory:?}");
    let mut reader = Reader::open(directory, Position::Time(time)).with_context(unreadable)?;
    let mut feed: Option<Feed> = None;
    let mut as_of = None;
    while let Some(item) = reader.next().with_context(unreadable)? {
        match item {
            Item::Keyframe(keyframe) if keyframe.ts_out <= time => {
                feed = Some(keyframe.feed(u64::MAX)?);
                as_of = Some((keyframe.epoch, keyframe.next, keyframe.ts_out));
            }
            Item::Event(taped) if taped.ts_out <= time => {
                if let Some(feed) = &mut feed {
                    feed.apply(&taped.event, taped.ts_out, &mut Vec::new());
                }
                as_of = Some((taped.epoch, taped.number + 1, taped.ts_out));
            }
            Item::Keyframe(_) | Item::Event(_) => break,
            Item::End => {}
        }
    }
    let (Some(feed), Some((epoch, events, published)), Some(instruments)) =
        (feed, as_of, reader.instruments())
    else {
        return Ok(json!({"as_of": null, "symbols": {}}));
    };
    let known = symbols.iter().filter_map(|(symbol, levels)| Some((instruments.by_symbol(symbol)?, *levels)));
    let books: BTreeMap<String, Value> = known
        .map(|(instrument, levels)| (instrument.symbol.to_string(), book(&feed, instrument, levels)))
        .collect();
    Ok(json!({
        "as_of": {"epoch": epoch.to_string(), "events": events, "published": format_utc(published)},
        "symbols": books,
    }))
}

fn book(feed: &Feed, instrument: &Instrument, levels: usize) -> Value {
    let levels_max = if levels == 0 { Depth::Full.levels_max() } else { levels };
    let side = |side| -> Vec<Value> {
        let whole = match instrument.depth {
            MarketDepth::Orders | MarketDepth::Levels => {
                feed.book(instrument.id).map(|book| book.whole_levels(side, levels_max)).unwrap_or_default()
            }
            MarketDepth::Top | MarketDepth::Trades => feed.best(instrument.id, side).into_iter().collect(),
        };
        whole.iter().map(|level| shown(level, instrument.decimals)).collect()
    };
    json!({"bids": side(Side::Buy), "asks": side(Side::Sell)})
}

/// A level as it stands on the wire.
fn shown(level: &Level, decimals: BookDecimals) -> Value {
    json!([
        Scaled::new(level.price, decimals.price).to_string(),
        Scaled::new(level.quantity, decimals.quantity).to_string(),
        level.orders,
    ])
}

/// Prints what [`at`] found; nothing where no tape was looked at.
pub(super) fn print(books: &Value) {
    if books.is_null() {
        return anstream::println!("books: there is no tape beside the log; --tape names one elsewhere");
    }
    if books["as_of"].is_null() {
        return anstream::println!("books: the tape begins later");
    }
    let as_of = &books["as_of"];
    let text = |value: &Value| value.as_str().unwrap_or_default().escape_debug().to_string();
    anstream::println!(
        "books as published at {} (epoch {}, {} events)",
        text(&as_of["published"]),
        text(&as_of["epoch"]),
        as_of["events"]
    );
    for (symbol, book) in books["symbols"].as_object().into_iter().flatten() {
        anstream::println!("  {symbol}");
        for (name, side) in [("bid", &book["bids"]), ("ask", &book["asks"])] {
            let levels = side.as_array().map(Vec::as_slice).unwrap_or_default();
            for level in levels.iter().take(SHOWN_LEVELS_MAX) {
                let (price, quantity) = (text(&level[0]), text(&level[1]));
                anstream::println!("    {name} {price:>16} {quantity:>16} ({} orders)", level[2]);
            }
        }
    }
}
