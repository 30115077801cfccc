//! Who has no certificate sees nothing; who has one follows a live book.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::bail;
use sealfeed_client::{BookUpdate, BookView, Client, ConnectError, Event, LocalBook, Market, subscription};
use sealfeed_wire::reply::SubscribedStream;
use sealfeed_wire::{BookDecimals, Channel, Depth, Level, StreamSymbol};

use super::setup::Stage;
use super::steps::Steps;

/// How many book messages of a live market are followed.
const FOLLOWED: u32 = 200;
/// Longest wait for one message.
const PATIENCE: Duration = Duration::from_secs(20);
/// Levels shown on a terminal.
const SHOWN: usize = 5;

/// Connects without a certificate.
pub(super) async fn no_certificate(stage: &Stage, steps: &mut Steps) -> anyhow::Result<()> {
    let mut config = stage.client_config("alice")?;
    config.identity = None;
    let came = match Client::connect_with(&config).await {
        Err(ConnectError::CertificateRefused { refusal, .. }) => Ok(format!("a TLS alert: {refusal}")),
        Err(error) => Err(error.to_string()),
        Ok(_) => Err("a session".to_owned()),
    };
    steps.step("connect without a certificate", "refused by TLS, before any HTTP", &came);
    Ok(())
}

/// What was seen of a stream.
#[derive(Default)]
struct Seen {
    messages: u32,
    checksums: u32,
}

/// Alice follows the book, or what there is of it.
pub(super) async fn watch(stage: &Stage, steps: &mut Steps) -> anyhow::Result<()> {
    let client = stage.connect("alice").await?;
    let symbol = StreamSymbol::One(stage.watched);
    for channel in [Channel::Book, Channel::Bbo, Channel::Trades] {
        let reply = client.subscribe(subscription(channel, [stage.watched])).await?;
        let Some(stream) = reply.symbols.get(&symbol) else { continue };
        let what = format!("alice (viewer) follows {} of {}", channel.as_str(), stage.watched);
        let result = if channel == Channel::Book {
            book(&client, stage, stream).await
        } else {
            messages(&client, stage).await
        };
        let expected = match (channel, stage.is_recorded) {
            (Channel::Book, true) => "every message to the end, every checksum right, no gap",
            (Channel::Book, false) => "200 messages, every checksum right, no gap",
            (_, true) => "every message to the end, no gap",
            (_, false) => "200 messages, no gap",
        };
        let came = match result {
            Ok(seen) => Ok(format!("{} messages, {} checksums right, no gap", seen.messages, seen.checksums)),
            Err(error) => Err(format!("{error:#}")),
        };
        steps.step(&what, expected, &came);
        client.logout().await?;
        return Ok(());
    }
    bail!("{} has none of the channels book, bbo and trades", stage.watched)
}

async fn book(client: &Client, stage: &Stage, stream: &SubscribedStream) -> anyhow::Result<Seen> {
    let decimals = BookDecimals {
        price: stream.price_decimals.unwrap_or_default(),
        quantity: stream.qty_decimals.unwrap_or_default(),
    };
    let mut book = LocalBook::new(stage.watched, Depth::Ten, decimals);
    let mut seen = Seen::default();
    let mut screen = Screen::default();
    while stage.is_recorded || seen.messages < FOLLOWED {
        let (message, update) = match next(client).await? {
            Event::Market(Market::Snapshot(message)) => (message, BookUpdate::Snapshot as fn(_) -> _),
            Event::Market(Market::Delta(message)) => (message, BookUpdate::Delta as fn(_) -> _),
            Event::Gap { .. } | Event::Skipped(_) => bail!("a gap after {} messages", seen.messages),
            // A recording that has ended says so.
            Event::Stale(_) if stage.is_recorded => break,
            _ => continue,
        };
        book.apply(update(&message))?;
        seen.messages += 1;
        seen.checksums += u32::from(message.checksum.is_some());
        screen.draw(&book.view()?, decimals);
    }
    screen.clear();
    if let Ok(view) = book.view() {
        let best =
            |levels: &[Level]| levels.first().map_or_else(|| "none".to_owned(), |one| level(one, decimals));
        anstream::println!(
            "         best {} / {} at sequence {}",
            best(view.bids),
            best(view.asks),
            view.header.seq.get()
        );
    }
    Ok(seen)
}

async fn messages(client: &Client, stage: &Stage) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    while stage.is_recorded || seen.messages < FOLLOWED {
        match next(client).await? {
            Event::Market(_) => seen.messages += 1,
            Event::Gap { .. } | Event::Skipped(_) => bail!("a gap after {} messages", seen.messages),
            Event::Stale(_) if stage.is_recorded => break,
            _ => {}
        }
    }
    Ok(seen)
}

/// The next event; an ended session or silence is an error.
pub(super) async fn next(client: &Client) -> anyhow::Result<Event> {
    match tokio::time::timeout(PATIENCE, client.next_event()).await {
        Ok(Ok(Event::Closed(closed))) => bail!("the session ended: {closed}"),
        Ok(Ok(event)) => Ok(event),
        Ok(Err(closed)) => bail!("the session ended: {closed}"),
        Err(_) => bail!("nothing came for {} seconds", PATIENCE.as_secs()),
    }
}

fn level(level: &Level, decimals: BookDecimals) -> String {
    let mut text = Vec::new();
    level.price.write(&mut text, decimals.price);
    text.extend_from_slice(b" x ");
    level.quantity.write(&mut text, decimals.quantity);
    String::from_utf8_lossy(&text).into_owned()
}

/// A book drawn in place, on a terminal only.
#[derive(Default)]
struct Screen {
    lines: usize,
    drawn: u32,
}

impl Screen {
    fn draw(&mut self, view: &BookView<'_>, decimals: BookDecimals) {
        self.drawn += 1;
        // Faster than the eye can follow is only noise.
        if !std::io::stdout().is_terminal() || self.drawn % 8 != 1 {
            return;
        }
        self.clear();
        let shown = |levels: &[Level]| -> Vec<String> {
            levels.iter().take(SHOWN).map(|one| level(one, decimals)).collect()
        };
        for ask in shown(view.asks).iter().rev() {
            anstream::println!("         {:30} {ask}", "");
        }
        for bid in shown(view.bids) {
            anstream::println!("         {bid:>28}");
        }
        self.lines = view.asks.len().min(SHOWN) + view.bids.len().min(SHOWN);
    }

    fn clear(&mut self) {
        if self.lines > 0 {
            anstream::print!("\x1b[{}A\x1b[J", self.lines);
            self.lines = 0;
        }
    }
}
