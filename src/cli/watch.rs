//! `sealfeed watch`: follows one symbol, or the execution reports of a firm, as a live ladder or rows on a terminal, as JSON lines in a pipe.
//!
//! JSON lines are the messages of the protocol as they came. A book is followed with every check that the client
//! has: when it cannot be trusted it is not shown, the reason is told in plain words, and a new snapshot is asked
//! for, three times in a row at most.

mod channel;
mod copies;
mod ladder;
mod rows;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use sealfeed_client::{
    BookError, Client, Event, GapOrigin, LocalBook, Market, Protocol, clock, subscription,
};
use sealfeed_wire::reply::{Refused, Subscribed};
use sealfeed_wire::{BookDecimals, Conflation, Decimals, Depth, StreamSymbol, Symbol};

pub(super) use self::channel::WatchChannel;
use self::channel::Watched;
use self::ladder::Picture;
use self::show::{Screen, notice};
pub(super) use self::show::{price, quantity};
use super::context::{ConnectArgs, EXIT_USAGE, Problem, refusal_exit};
use super::plain::{plain, plain_lines};

/// Time between two drawings of the ladder.
const REDRAW: Duration = Duration::from_millis(100);

/// Snapshots that are asked for without one delta of success in between.
const RESYNCS_MAX: u32 = 3;

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// What to follow; left out for the drop copy, which has all symbols.
    symbol: Option<Symbol>,
    /// What of it.
    #[arg(long, value_enum, default_value = "book")]
    channel: Watched,
    /// Levels a side of the book: 10, 50, or 0 for all.
    #[arg(long, value_parser = parse_depth)]
    depth: Option<Depth>,
    /// End after so many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How to print; a table on a terminal, JSON lines in a pipe.
    #[arg(long, value_enum, default_value = "auto")]
    output: Output,
    /// How market data comes: JSON texts or DBN records.
    #[arg(long, value_enum, default_value = "json")]
    protocol: WatchProtocol,
    /// Shortest time between two messages of bbo and book, in milliseconds: 0, 100, 250 or 1000.
    #[arg(long, value_name = "MS", value_parser = parse_conflation)]
    conflate_ms: Option<Conflation>,
    #[command(flatten)]
    connection: ConnectArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Auto,
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WatchProtocol {
    Json,
    Dbn,
}

impl From<WatchProtocol> for Protocol {
    fn from(protocol: WatchProtocol) -> Self {
        match protocol {
            WatchProtocol::Json => Self::Json,
            WatchProtocol::Dbn => Self::Dbn,
        }
    }
}

pub(super) fn parse_depth(text: &str) -> Result<Depth, String> {
    let depth = text.parse().ok().and_then(|number: u16| Depth::try_from(number).ok());
    depth.ok_or_else(|| "not one of 10, 50 and 0 (all)".to_owned())
}

pub(super) fn parse_conflation(text: &str) -> Result<Conflation, String> {
    let interval = text.parse().ok().and_then(|number: u16| Conflation::try_from(number).ok());
    interval.ok_or_else(|| "not one of 0 (every message), 100, 250 and 1000".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "every command takes its arguments the same way")]
pub(super) fn run(arguments: WatchArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    Ok(match runtime.block_on(watch(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => problem.tell(),
    })
}

async fn watch(arguments: &WatchArgs) -> Result<(), Problem> {
    let usage = |what: &str, fix: &str| Problem::new(what).at("the arguments").fix(fix).exit(EXIT_USAGE);
    let channel = arguments.channel;
    if arguments.depth.is_some() && channel != Watched::Market(WatchChannel::Book) {
        return Err(usage("only a book has a depth", "Leave --depth out, or watch --channel book."));
    }
    if arguments.conflate_ms.is_some()
        && !matches!(channel, Watched::Market(WatchChannel::Book | WatchChannel::Bbo))
    {
        let fix = "Leave --conflate-ms out, or watch --channel book or bbo.";
        return Err(usage("only bbo and book can be conflated", fix));
    }
    let subject = match (channel, arguments.symbol) {
        (Watched::Market(channel), Some(symbol)) => Some(Subject { channel, symbol }),
        (Watched::DropCopy, None) => None,
        (Watched::Market(_), None) => return Err(usage("no symbol is named", "Name one, such as ESH4.")),
        (Watched::DropCopy, Some(_)) => {
            return Err(usage("the drop copy is that of all symbols", "Leave the symbol out."));
        }
    };
    let target = arguments.connection.target()?;
    let client = target.connect_by(arguments.protocol.into()).await?;
    let outcome = match subject {
        Some(subject) => follow(&client, arguments, subject).await,
        None => copies::follow(&client, arguments).await,
    };
    client.close().await;
    outcome.map_err(|problem| problem.at(target.place()))
}

/// One channel of one symbol.
#[derive(Clone, Copy)]
struct Subject {
    channel: WatchChannel,
    symbol: Symbol,
}

async fn follow(client: &Client, arguments: &WatchArgs, subject: Subject) -> Result<(), Problem> {
    let granted = subscribe(client, arguments, subject).await?;
    let Subject { channel, symbol } = subject;
    let decimals = decimals(&granted, symbol);
    let depth = granted.depth.unwrap_or(Depth::Ten);
    let mut watch = Watch {
        client,
        arguments,
        subject,
        screen: Screen::new(arguments.output, channel == WatchChannel::Book, decimals),
        book: LocalBook::new(symbol, depth, decimals),
        notice: None,
        resyncs: 0,
        shown: 0,
    };
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            event = client.next_event() => {
                let event = event.map_err(|closed| Problem::of_close(&closed))?;
                if watch.take(event).await? {
                    // Off a terminal every message was drawn already.
                    return if watch.screen.is_redrawn() { watch.draw() } else { Ok(()) };
                }
            }
            _ = redraw.tick(), if watch.screen.is_redrawn() => watch.draw()?,
        }
    }
}

async fn subscribe(
    client: &Client,
    arguments: &WatchArgs,
    Subject { channel, symbol }: Subject,
) -> Result<Subscribed, Problem> {
    let mut wanted = subscription(channel.into(), [symbol]);
    wanted.depth = arguments.depth;
    wanted.conflate_ms = arguments.conflate_ms;
    let granted = client.subscribe(wanted).await.map_err(|error| Problem::of_request(&error))?;
    match granted.refused.get(&StreamSymbol::One(symbol)) {
        None => Ok(granted),
        Some(refused) => Err(refusal(&format!("{symbol} is refused"), refused)),
    }
}

/// What the server said of a stream that we do not get, or not any more.
fn refusal(what: &str, refused: &Refused) -> Problem {
    Problem::new(format!("{what}: {}", refused.message))
        .fix(refused.hint.clone())
        .code(refused.code.clone())
        .exit(refusal_exit(&refused.code, 1))
}

/// The instrument's decimals; nine where the server does not say, so that no digit is lost.
fn decimals(granted: &Subscribed, symbol: Symbol) -> BookDecimals {
    let stream = granted.symbols.get(&StreamSymbol::One(symbol));
    BookDecimals {
        price: stream.and_then(|stream| stream.price_decimals).unwrap_or(Decimals::MAX),
        quantity: stream.and_then(|stream| stream.qty_decimals).unwrap_or(Decimals::MAX),
    }
}

/// One symbol on its way from the connection to the screen.
struct Watch<'c> {
    client: &'c Client,
    arguments: &'c WatchArgs,
    subject: Subject,
    screen: Screen,
    book: LocalBook,
    /// The last thing that was wrong, until data comes again.
    notice: Option<String>,
    /// Snapshots asked for since the last delta that fitted.
    resyncs: u32,
    shown: u64,
}

impl Watch<'_> {
    /// Takes one event; true when enough was shown.
    async fn take(&mut self, event: Event) -> Result<bool, Problem> {
        if let Event::Closed(closed) = &event {
            return Err(Problem::of_close(closed));
        }
        self.screen.json(&event)?;
        if let Some(text) = notice(&event) {
            self.tell(text)?;
        }
        match &event {
            Event::Market(market) => return self.market(market).await,
            Event::Skipped(skipped) => self.book.interrupt(BookError::Skipped { to: skipped.to }),
            Event::Gap { gap, origin: GapOrigin::Announced }
                if self.subject.channel == WatchChannel::Book =>
            {
                self.book.interrupt(BookError::Gap { from: gap.from, to: gap.to });
                self.resync().await?;
            }
            Event::Heartbeat(heartbeat) if self.subject.channel == WatchChannel::Book => {
                let followed = self.book.heartbeat(heartbeat.stream.epoch, heartbeat.seq);
                self.judge(followed).await?;
            }
            Event::Entitlement(changed) => {
                let Subject { channel, symbol } = self.subject;
                if let Some(refused) = changed.ended(channel.into(), symbol) {
                    return Err(refusal(&format!("{symbol} was withdrawn"), refused));
                }
            }
            _ => {}
        }
        Ok(false)
    }

    async fn market(&mut self, market: &Market) -> Result<bool, Problem> {
        if let Some(update) = market.book_update() {
            let followed = self.book.apply(update);
            if followed.is_err() {
                self.judge(followed).await?;
                return Ok(false);
            }
            if matches!(market, Market::Delta(_)) {
                self.resyncs = 0;
            }
        }
        self.notice = None;
        self.shown += 1;
        self.screen.row(market)?;
        if !self.screen.is_redrawn() && self.subject.channel == WatchChannel::Book {
            self.draw()?;
        }
        Ok(self.arguments.count.is_some_and(|count| self.shown >= count))
    }

    /// Tells why a book is gone, and asks for a new one.
    async fn judge(&mut self, followed: Result<(), BookError>) -> Result<(), Problem> {
        match followed {
            Ok(()) | Err(BookError::NoSnapshot | BookError::OtherStream | BookError::Skipped { .. }) => {
                Ok(())
            }
            // A heartbeat that finds no book repeats why; a new one is on its way already.
            Err(error)
                if self.resyncs > 0 && self.book.view().err() == Some(error) && self.is_told(error) =>
            {
                Ok(())
            }
            Err(error) => {
                self.tell(told(error))?;
                self.resync().await
            }
        }
    }

    fn is_told(&self, error: BookError) -> bool {
        self.notice.as_deref() == Some(&told(error))
    }

    async fn resync(&mut self) -> Result<(), Problem> {
        self.resyncs += 1;
        if self.resyncs > RESYNCS_MAX {
            return Err(Problem::new(format!("the book of {} cannot be kept", self.subject.symbol))
                .fix("Tell the operator: the stream does not fit its own snapshots."));
        }
        subscribe(self.client, self.arguments, self.subject).await.map(|_| ())
    }

    fn tell(&mut self, text: String) -> Result<(), Problem> {
        // The ladder shows it in its own place; elsewhere it must not mix with the data.
        if !self.screen.is_redrawn() {
            anstream::eprintln!("sealfeed: {}", plain(&text));
        }
        self.notice = Some(text);
        if self.screen.is_redrawn() { self.draw() } else { Ok(()) }
    }

    fn draw(&mut self) -> Result<(), Problem> {
        let depth = self.arguments.depth.unwrap_or(Depth::Ten);
        let picture =
            Picture { book: &self.book, depth, notice: self.notice.as_deref(), now: clock::system_time() };
        self.screen.ladder(&picture)
    }
}

fn told(error: BookError) -> String {
    format!("NO LIVE BOOK: {error}; asking for a snapshot")
}

/// A failure to write; a reader who left ends the command in peace.
pub(super) fn write_problem(error: &std::io::Error) -> Problem {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Problem::new("nobody reads on").fix("Nothing; the reader has left.").exit(0);
    }
    Problem::of_error(error).fix("Check where standard output goes.")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        watch: WatchArgs,
    }

    fn check(line: &str) -> Result<WatchArgs, clap::Error> {
        let words = std::iter::once("watch").chain(line.split(' '));
        Line::try_parse_from(words).map(|line| line.watch)
    }

    #[test]
    fn a_book_of_ten_levels_is_the_default() {
        let arguments = check("ESH4").unwrap();
        assert_eq!((arguments.channel, arguments.depth), (Watched::Market(WatchChannel::Book), None));
    }

    #[test]
    fn depths_that_are_not_published_are_refused() {
        assert_eq!(check("ESH4 --depth 0").unwrap().depth, Some(Depth::Full));
        assert!(check("ESH4 --depth 20").is_err());
        assert!(check("ESH4 --count 0").is_err());
    }

    #[test]
    fn a_context_and_single_files_exclude_each_other() {
        assert!(check("ESH4 --context a --url wss://b --cert c --key d --cacert e").is_err());
        assert!(check("ESH4 --url wss://b").is_err());
        assert!(check("ESH4 --url wss://b --cert c --key d --cacert e").is_ok());
    }
}
