//! Follows one book and prints its best levels while it is provably the server's.
//!
//! `cargo run -p sealfeed-client --example watch_book -- context.toml ESH4`

use std::error::Error;
use std::io::Write;

use sealfeed_client::wire::{BookDecimals, Channel, Depth, StreamSymbol, Symbol};
use sealfeed_client::{Client, Context, Event, LocalBook, subscription};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let context = Context::load(arguments.next().ok_or("which context file?")?)?;
    let symbol = Symbol::new(&arguments.next().ok_or("which symbol?")?)?;

    let client = Client::connect(&context).await?;
    let granted = client.subscribe(subscription(Channel::Book, [symbol])).await?;
    let stream = granted.symbols.get(&StreamSymbol::One(symbol)).ok_or("the symbol was refused")?;
    let decimals = stream.price_decimals.zip(stream.qty_decimals).ok_or("the server named no decimals")?;
    let decimals = BookDecimals { price: decimals.0, quantity: decimals.1 };
    let mut book = LocalBook::new(symbol, granted.depth.unwrap_or(Depth::Ten), decimals);
    let mut out = std::io::stdout().lock();
    while let Ok(event) = client.next_event().await {
        let Event::Market(market) = event else {
            writeln!(out, "{event:?}")?;
            continue;
        };
        let Some(update) = market.book_update() else { continue };
        match book.apply(update).and_then(|()| book.view()) {
            Ok(view) => {
                let [bid, ask] =
                    [view.bids, view.asks].map(|side| side.first().map(|best| best.price.to_string()));
                writeln!(out, "{} {bid:?} {ask:?}", view.header.seq)?;
            }
            Err(error) => writeln!(out, "no live book: {error}")?,
        }
    }
    Ok(())
}
