//! The arguments of `sealfeed order`, and the messages that they stand for.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use sealfeed_client::{clock, random_nonce};
use sealfeed_wire::{
    ClientOrderId, OrderDeadMan, OrderNew, OrderReplace, OrderType, Price, Quantity, Scaled, Side, Stp,
    Symbol, TimeInForce, UnixNanos, hex,
};

use super::super::context::{ConnectArgs, EXIT_USAGE, Problem};
use super::super::duration::parse_duration;
use super::super::signing::{Output, SigningArgs};

/// Arguments of `order`.
#[derive(Debug, Args)]
pub(in crate::cli) struct OrderArgs {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Place an order.
    New(NewArgs),
    /// Cancel an order.
    Cancel(CancelArgs),
    /// Change price or total quantity of an order.
    Replace(ReplaceArgs),
    /// Cancel all your orders, or those of a symbol or a side.
    MassCancel(MassCancelArgs),
    /// Arm or disarm the timer that cancels all your orders unless it is armed again in time.
    DeadMan(DeadManArgs),
    /// Say what became of an order, or of a cancel.
    Status(StatusArgs),
}

/// Arguments of `order new`.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// What to trade.
    pub(super) symbol: Symbol,
    /// buy or sell.
    pub(super) side: Side,
    /// How much, exactly: digits and at most one point.
    #[arg(value_parser = parse_quantity)]
    qty: Scaled<Quantity>,
    /// At what price or better; none for a market order.
    #[arg(value_parser = parse_price, allow_negative_numbers = true)]
    price: Option<Scaled<Price>>,
    /// limit or market.
    #[arg(long = "type", default_value = "limit", value_name = "TYPE")]
    order_type: OrderType,
    /// day, gtc, ioc or fok [default: day for a limit order, ioc for a market order].
    #[arg(long)]
    tif: Option<TimeInForce>,
    /// Refuse it rather than take liquidity.
    #[arg(long)]
    post_only: bool,
    /// Refuse it rather than do more than reduce your position in the symbol; with --tif ioc or fok.
    #[arg(long)]
    reduce_only: bool,
    /// What is cancelled rather than trade with your own order: `cancel_taker`, `cancel_maker` or `cancel_both` [default: nothing,
    /// they trade].
    #[arg(long, value_name = "STP")]
    stp: Option<Stp>,
    /// Refuse it if the venue's turn comes later than so long from now, such as 250ms.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    deadline: Option<Duration>,
    #[command(flatten)]
    pub(super) wait: WaitArgs,
    #[command(flatten)]
    pub(super) common: SignedArgs,
}

/// Arguments of `order replace`.
#[derive(Debug, Args)]
pub(super) struct ReplaceArgs {
    /// Your id of the order to change.
    pub(super) orig_id: ClientOrderId,
    /// New total quantity, what has traded included.
    #[arg(long, value_parser = parse_quantity, required_unless_present = "price")]
    qty: Option<Scaled<Quantity>>,
    /// New limit price.
    #[arg(long, value_parser = parse_price, allow_negative_numbers = true)]
    price: Option<Scaled<Price>>,
    #[command(flatten)]
    pub(super) wait: WaitArgs,
    #[command(flatten)]
    pub(super) common: SignedArgs,
}

/// Arguments of `order mass-cancel`.
#[derive(Debug, Args)]
pub(super) struct MassCancelArgs {
    /// Only orders in this symbol.
    #[arg(long)]
    pub(super) symbol: Option<Symbol>,
    /// Only orders of this side, buy or sell.
    #[arg(long)]
    pub(super) side: Option<Side>,
    #[command(flatten)]
    pub(super) common: SignedArgs,
}

/// Arguments of `order dead-man`.
#[derive(Debug, Args)]
pub(super) struct DeadManArgs {
    /// After which time all your orders are cancelled, 1s to 1h, or off.
    #[arg(value_name = "TIME|off", value_parser = parse_dead_man)]
    pub(super) timeout: OrderDeadMan,
    #[command(flatten)]
    pub(super) signing: SigningArgs,
}

/// How long the command stays with an order.
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// Return with the answer (ack), or follow the order until it is finished (fill: exit code 0 if it was filled whole, 1 if
    /// it ended otherwise).
    #[arg(long, value_enum, default_value = "ack", value_name = "ack|fill")]
    pub(super) wait: Wait,
    /// How long --wait fill follows the order; exit code 6 if it was not finished then.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s")]
    pub(super) timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Wait {
    Ack,
    Fill,
}

/// Arguments of `order cancel`.
#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    /// Your id of the order to cancel.
    pub(super) orig_id: ClientOrderId,
    #[command(flatten)]
    pub(super) common: SignedArgs,
}

/// Arguments of `order status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Your id of the order or cancel.
    pub(super) id: ClientOrderId,
    /// How to print; a table on a terminal, one JSON line in a pipe.
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) connection: ConnectArgs,
}

/// What the signed commands share.
#[derive(Debug, Args)]
pub(super) struct SignedArgs {
    /// Your own id of this request: 1 to 36 of A-Z a-z 0-9 . _ : -, never used today [default: a random one].
    #[arg(long, value_name = "CL_ORD_ID")]
    pub(super) id: Option<ClientOrderId>,
    #[command(flatten)]
    pub(super) signing: SigningArgs,
}

fn parse_quantity(text: &str) -> Result<Scaled<Quantity>, String> {
    let quantity = Scaled::<Quantity>::parse(text).map_err(|error| error.to_string())?;
    if quantity.value.is_zero() { Err("the quantity is zero".to_owned()) } else { Ok(quantity) }
}

fn parse_dead_man(text: &str) -> Result<OrderDeadMan, String> {
    if text == "off" {
        return Ok(OrderDeadMan { timeout_ms: 0 });
    }
    let milliseconds = parse_duration(text)?.as_millis();
    let body = format!(r#"{{"timeout_ms":{milliseconds}}}"#);
    OrderDeadMan::decode(&body).map_err(|_| "not off, and not from 1s to 1h".to_owned())
}

fn parse_price(text: &str) -> Result<Scaled<Price>, String> {
    Scaled::<Price>::parse(text).map_err(|error| error.to_string())
}

impl NewArgs {
    pub(super) fn order(&self) -> Result<OrderNew, Problem> {
        let wrong = match (self.order_type, self.price) {
            (OrderType::Limit, None) => {
                Some(("a limit order needs a price", "Give a price, or --type market."))
            }
            (OrderType::Market, Some(_)) => {
                Some(("a market order has no price", "Leave the price out, or --type limit."))
            }
            (OrderType::Limit, Some(_)) | (OrderType::Market, None) => None,
        };
        if let Some((what, fix)) = wrong {
            return Err(Problem::new(what).at("the arguments").fix(fix).exit(EXIT_USAGE));
        }
        let default_tif = match self.order_type {
            OrderType::Limit => TimeInForce::Day,
            OrderType::Market => TimeInForce::Ioc,
        };
        Ok(OrderNew {
            cl_ord_id: own_id(self.common.id)?,
            symbol: self.symbol,
            side: self.side,
            order_type: self.order_type,
            quantity: self.qty,
            price: self.price,
            time_in_force: self.tif.unwrap_or(default_tif),
            post_only: self.post_only,
            reduce_only: self.reduce_only,
            stp: self.stp,
            deadline: self.deadline.map(|after| {
                let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
                UnixNanos(clock::system_time().0.saturating_add(after_ns))
            }),
        })
    }
}

impl ReplaceArgs {
    pub(super) fn replace(&self) -> Result<OrderReplace, Problem> {
        Ok(OrderReplace {
            cl_ord_id: own_id(self.common.id)?,
            orig_cl_ord_id: self.orig_id,
            quantity: self.qty,
            price: self.price,
        })
    }
}

impl WaitArgs {
    /// The order to follow and for how long; `None`: the answer is enough.
    pub(super) fn of(&self, order: ClientOrderId) -> Option<(ClientOrderId, Duration)> {
        (self.wait == Wait::Fill).then_some((order, self.timeout))
    }
}

/// The id that was given, or a random one.
pub(super) fn own_id(given: Option<ClientOrderId>) -> Result<ClientOrderId, Problem> {
    if let Some(id) = given {
        return Ok(id);
    }
    let nonce = random_nonce().map_err(|error| Problem::of_request(&error))?;
    let text = format!("cli-{}", hex::encode(&nonce.0[..8]));
    ClientOrderId::new(&text).map_err(|error| Problem::of_error(&error))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        order: OrderArgs,
    }

    fn check(line: &str) -> Result<OrderNew, String> {
        let words = std::iter::once("order").chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::New(arguments) = line.order.command else { panic!("not new") };
        arguments.order().map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn a_limit_order_keeps_its_numbers_as_typed() {
        let order = check("new ESH4 buy 3.10 -0.25 --id c-1").unwrap();
        assert_eq!(
            order.encode(),
            r#"{"cl_ord_id":"c-1","symbol":"ESH4","side":"buy","type":"limit","qty":"3.10","price":"-0.25","tif":"day"}"#
        );
    }

    #[test]
    fn the_options_of_an_order_are_signed() {
        let before = clock::system_time();
        let order = check("new ESH4 buy 3 1 --tif fok --post-only --stp cancel_both --deadline 5s").unwrap();
        assert_eq!((order.time_in_force, order.post_only), (TimeInForce::Fok, true));
        assert_eq!(order.stp, Some(Stp::CancelBoth));
        let deadline = order.deadline.unwrap().0;
        assert!((before.0 + 5_000_000_000..=clock::system_time().0 + 5_000_000_000).contains(&deadline));
    }

    fn command(line: &str) -> Result<Command, String> {
        let words = std::iter::once("order").chain(line.split(' '));
        Line::try_parse_from(words).map(|line| line.order.command).map_err(|error| error.to_string())
    }

    #[test]
    fn a_replace_changes_something() {
        let Ok(Command::Replace(arguments)) = command("replace c-1 --qty 5 --price -0.50 --id c-2") else {
            panic!()
        };
        assert_eq!(
            arguments.replace().unwrap().encode(),
            r#"{"cl_ord_id":"c-2","orig_cl_ord_id":"c-1","qty":"5","price":"-0.50"}"#
        );
        assert!(command("replace c-1").is_err(), "nothing to change");
        assert!(command("replace c-1 --qty 0").is_err());
    }

    #[test]
    fn a_dead_man_timer_is_off_or_from_a_second_to_an_hour() {
        for (text, expected) in [("off", 0), ("1s", 1_000), ("1500ms", 1_500), ("1h", 3_600_000)] {
            let Ok(Command::DeadMan(arguments)) = command(&format!("dead-man {text}")) else {
                panic!("{text}")
            };
            assert_eq!(arguments.timeout.timeout_ms, expected);
        }
        for text in ["999ms", "61m", "0s", "on"] {
            assert!(command(&format!("dead-man {text}")).is_err(), "{text}");
        }
    }

    #[test]
    fn an_order_without_an_id_gets_a_random_one() {
        let [one, two] = ["new ESH4 sell 1 --type market"; 2].map(|line| check(line).unwrap());
        assert_ne!(one.cl_ord_id, two.cl_ord_id);
        assert_eq!(one.time_in_force, TimeInForce::Ioc);
    }

    #[test]
    fn what_is_no_order_is_refused_before_anything_is_sent() {
        for line in [
            "new ESH4 buy 1",
            "new ESH4 buy 1 2 --type market",
            "new ESH4 buy 0 1",
            "new ESH4 buy -1 1",
            "new ESH4 buy 1e3 1",
            "new ESH4 hold 1 1",
            "new ES*4 buy 1 1",
            "new ESH4 buy 1 1 --id a/b",
            "new ESH4 buy 1 1 --tif never",
            "new ESH4 buy 1 1 --stp none",
            "new ESH4 buy 1 1 --deadline 0s",
            "new ESH4 buy 1 1 --wait forever",
        ] {
            assert!(check(line).is_err(), "{line}");
        }
    }
}
