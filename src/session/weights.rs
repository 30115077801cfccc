//! What each request costs of the message rate, in messages. The table stands in `docs/PROTOCOL.md`.

use sealfeed_wire::{Op, Symbols};

/// Symbols that one message's worth pays for, in a request that names several.
const SYMBOLS_A_MESSAGE: usize = 10;

/// What a request costs: at least 1. What takes orders out of the market never costs more than that.
pub(super) fn of(op: &Op<'_>) -> u32 {
    match op {
        // Points to resume from are looked up, and what was missed is read.
        Op::Subscribe(request) => for_each(count(&request.symbols) + request.resume.len()),
        Op::Unsubscribe(request) => for_each(count(&request.symbols)),
        // The longest answer there is.
        Op::Whoami => 2,
        // A signature is verified.
        Op::TokenRenew { .. } => 5,
        Op::Ping { .. } | Op::OrderStatus { .. } | Op::Logout { .. } | Op::Signed(_) => 1,
    }
}

const fn count(symbols: &Symbols) -> usize {
    match symbols {
        Symbols::All => 1,
        Symbols::List(list) => list.len(),
    }
}

fn for_each(symbols: usize) -> u32 {
    u32::try_from(symbols.div_ceil(SYMBOLS_A_MESSAGE)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(text: &str) -> u32 {
        of(&sealfeed_wire::request::parse(text).unwrap().op)
    }

    #[test]
    fn requests_cost_what_the_protocol_says() {
        assert_eq!(weight(r#"{"op":"ping"}"#), 1);
        assert_eq!(weight(r#"{"op":"whoami"}"#), 2);
        assert_eq!(weight(r#"{"op":"token.renew","token":"x"}"#), 5);
        assert_eq!(weight(r#"{"op":"logout"}"#), 1);
        for (symbols, expected) in [(1, 1), (10, 1), (11, 2), (100, 10)] {
            let list: Vec<String> = (0..symbols).map(|number| format!(r#""S{number}""#)).collect();
            let list = list.join(",");
            assert_eq!(
                weight(&format!(r#"{{"op":"subscribe","channel":"trades","symbols":[{list}]}}"#)),
                expected
            );
            assert_eq!(
                weight(&format!(r#"{{"op":"unsubscribe","channel":"trades","symbols":[{list}]}}"#)),
                expected
            );
        }
    }
}
