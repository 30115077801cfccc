//! `watch --channel drop_copy`: every execution report of the firm, as it comes.

use sealfeed_client::{Client, Event, subscription};
use sealfeed_wire::{BookDecimals, Channel, StreamSymbol, Symbols};

use super::show::{Screen, notice};
use super::{Problem, WatchArgs, plain, refusal};

/// Prints reports until the connection or the right to read them ends, or as many as were asked for came.
pub(super) async fn follow(client: &Client, arguments: &WatchArgs) -> Result<(), Problem> {
    let mut wanted = subscription(Channel::DropCopy, []);
    wanted.symbols = Symbols::All;
    client.subscribe(wanted).await.map_err(|error| Problem::of_request(&error))?;
    // Reports say their decimals themselves.
    let mut screen = Screen::new(arguments.output, false, BookDecimals::default());
    let mut shown = 0;
    while arguments.count.is_none_or(|count| shown < count) {
        let event = client.next_event().await.map_err(|closed| Problem::of_close(&closed))?;
        screen.json(&event)?;
        if let Some(text) = notice(&event) {
            anstream::eprintln!("sealfeed: {}", plain(&text));
        }
        match &event {
            Event::DropCopy(report) => {
                shown += 1;
                screen.copy(report)?;
            }
            Event::Entitlement(changed) => {
                if let Some(refused) = changed.ended(Channel::DropCopy, StreamSymbol::All) {
                    return Err(refusal("the drop copy was withdrawn", refused));
                }
            }
            Event::Closed(closed) => return Err(Problem::of_close(closed)),
            _ => {}
        }
    }
    Ok(())
}
