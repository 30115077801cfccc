//! `sealfeed book`: one instrument as a ladder on a terminal, with its last trades.
//!
//! Drawn in place ten times a second. In a pipe, or with `--once`, it draws a single picture of a live book and ends. Whether the
//! book may be believed stands first in every picture; a book in doubt is not drawn at all.

mod picture;

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use sealfeed_client::{BookFollower, Client, Event, FollowError, Followed, Market, clock, subscription};
use sealfeed_wire::market::{Status, Trade};
use sealfeed_wire::{Channel, Depth, StreamSymbol, Symbol};

use self::picture::Picture;
use super::context::{ConnectArgs, Problem, refusal_exit};
use super::watch::write_problem;

/// Time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Levels a side that depth 10 has.
const LEVELS_OF_TEN: u16 = 10;

/// Arguments of `book`.
#[derive(Debug, Args)]
pub(super) struct BookArgs {
    /// Which instrument.
    symbol: Symbol,
    /// Levels a side.
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u16).range(1..=50))]
    levels: u16,
    /// Last trades that are shown; none with 0, and none where trades are not granted.
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u16).range(0..=50))]
    trades: u16,
    /// Draw one picture of the live book and end.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    connection: ConnectArgs,
}

pub(super) fn run(arguments: &BookArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    Ok(match runtime.block_on(connected(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => problem.tell(),
    })
}

async fn connected(arguments: &BookArgs) -> Result<(), Problem> {
    let target = arguments.connection.target()?;
    let client = target.connect().await?;
    let outcome = show(&client, arguments).await;
    client.close().await;
    outcome.map_err(|problem| problem.at(target.place()))
}

async fn show(client: &Client, arguments: &BookArgs) -> Result<(), Problem> {
    let depth = if arguments.levels > LEVELS_OF_TEN { Depth::Fifty } else { Depth::Ten };
    let mut ladder = Ladder {
        trades_refused: trades_refused(client, arguments).await?,
        // In front of the book, so that the first picture has it.
        status_refused: refused(client, Channel::Status, arguments.symbol).await?,
        book: BookFollower::subscribe(client, arguments.symbol, Some(depth))
            .await
            .map_err(|error| of_follow(&error))?,
        trades: VecDeque::new(),
        status: None,
        notice: None,
        lines: 0,
        is_terminal: std::io::stdout().is_terminal(),
        arguments,
    };
    let is_once = arguments.once || !ladder.is_terminal;
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            event = client.next_event() => {
                ladder.take(event.map_err(|closed| Problem::of_close(&closed))?).await?;
                if is_once && ladder.book.book().view().is_ok() {
                    return ladder.draw();
                }
            }
            _ = redraw.tick(), if !is_once => ladder.draw()?,
        }
    }
}

/// Asks for trades, which a book can do without: why they are refused, if they are.
async fn trades_refused(client: &Client, arguments: &BookArgs) -> Result<Option<String>, Problem> {
    if arguments.trades == 0 {
        return Ok(Some("not asked for".to_owned()));
    }
    refused(client, Channel::Trades, arguments.symbol).await
}

/// Subscribes to what a book can do without: why it is refused, if it is.
async fn refused(client: &Client, channel: Channel, symbol: Symbol) -> Result<Option<String>, Problem> {
    let wanted = subscription(channel, [symbol]);
    let granted = client.subscribe(wanted).await.map_err(|error| Problem::of_request(&error))?;
    let refused = granted.refused.get(&StreamSymbol::One(symbol));
    Ok(refused.map(|refused| format!("{} {}", refused.code, refused.message)))
}

/// What is drawn, and where.
struct Ladder<'a> {
    arguments: &'a BookArgs,
    book: BookFollower<'a>,
    /// The newest first.
    trades: VecDeque<Trade>,
    trades_refused: Option<String>,
    /// What was said of the instrument last.
    status: Option<Status>,
    status_refused: Option<String>,
    /// The last thing that was wrong, until the book changes again.
    notice: Option<String>,
    /// Lines that stand on the terminal, to be drawn over.
    lines: usize,
    is_terminal: bool,
}

impl Ladder<'_> {
    async fn take(&mut self, event: Event) -> Result<(), Problem> {
        match self.book.take(&event).await.map_err(|error| of_follow(&error))? {
            Followed::Changed => self.notice = None,
            Followed::Lost(why) => self.notice = Some(format!("the book was lost: {why}")),
            Followed::Elsewhere | Followed::Unchanged | Followed::Stale => {}
        }
        match event {
            Event::Market(Market::Trade(trade)) => {
                self.trades.push_front(trade);
                self.trades.truncate(usize::from(self.arguments.trades));
            }
            Event::Market(Market::Status(status)) => self.status = Some(status),
            Event::Gap { gap, .. } if gap.stream.channel == Channel::Trades => {
                self.notice = Some(format!("trades {} to {} are missing", gap.from, gap.to));
            }
            Event::Entitlement(changed) => {
                if let Some(refused) = changed.ended(Channel::Status, self.arguments.symbol) {
                    self.status = None;
                    self.status_refused = Some(format!("{} {}", refused.code, refused.message));
                }
            }
            Event::Slow(slow) => {
                self.notice = Some(format!(
                    "we read too slowly: {} of {} bytes wait at the server",
                    slow.queue_bytes, slow.queue_bytes_max
                ));
            }
            Event::ServerShutdown(notice) => {
                self.notice =
                    Some(format!("the server shuts down; connect again in {} ms", notice.retry_after_ms));
            }
            Event::Closed(closed) => return Err(Problem::of_close(&closed)),
            _ => {}
        }
        Ok(())
    }

    fn draw(&mut self) -> Result<(), Problem> {
        let picture = Picture {
            book: self.book.book(),
            is_stale: self.book.is_stale(),
            levels: usize::from(self.arguments.levels),
            trades: &self.trades,
            trades_shown: usize::from(self.arguments.trades),
            trades_refused: self.trades_refused.as_deref(),
            status: self.status.as_ref(),
            status_refused: self.status_refused.as_deref(),
            notice: self.notice.as_deref(),
            now: clock::system_time(),
        };
        let text = picture.render();
        if self.is_terminal {
            // Cursor movement is no colour: it stays when colours are switched off, so it goes around the filter.
            let up = if self.lines > 0 { format!("\u{1b}[{}A", self.lines) } else { String::new() };
            let moved = std::io::stdout().write_all(format!("{up}\r\u{1b}[0J").as_bytes());
            moved.map_err(|error| write_problem(&error))?;
        }
        self.lines = text.lines().count();
        let mut out = anstream::stdout();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| write_problem(&error))
    }
}

fn of_follow(error: &FollowError) -> Problem {
    match error {
        FollowError::Request { source, .. } => Problem::of_request(source),
        FollowError::Refused { refused, .. } | FollowError::Withdrawn { refused, .. } => {
            Problem::new(error.to_string())
                .fix(refused.hint.clone())
                .code(refused.code.clone())
                .exit(refusal_exit(&refused.code, 1))
        }
        _ => Problem::of_error(error).fix("Tell the operator: the stream does not fit its own snapshots."),
    }
}
