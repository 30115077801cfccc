//! A changed entitlement reaches a session that is open: what it no longer covers ends, what it covers with another delay goes on so (`moves`), the
//! rest goes on as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sealfeed_wire::StreamSymbol;
use sealfeed_wire::reply::{Ended, EntitlementChanged, Refused};

use super::SessionHandle;
use super::batch::Batch;
use super::core::Core;
use super::moves::{Key, Move};
use crate::journal::{JournalError, event};
use crate::types::{Channel, Code, Entitlement, UnixNanos};

impl Core {
    /// Lets a session go on under another entitlement. Subscriptions are judged as if they were asked for now; the client
    /// learns which of them ended, or are others now, behind the last message of each.
    pub(super) fn entitle(
        &mut self,
        session: &Arc<SessionHandle>,
        entitlement: Arc<Entitlement>,
        mut notice: EntitlementChanged,
        now: UnixNanos,
        batch: &mut Batch,
    ) -> Result<(), JournalError> {
        self.moves.renew(session.number, &notice);
        let mut ended: BTreeMap<Channel, BTreeMap<StreamSymbol, Code>> = BTreeMap::new();
        // With another delay: moved once what ends is known.
        let (mut moves, mut moved) = (Vec::new(), Vec::new());
        for (key, one, stands) in self.subscribed(session) {
            let (channel, instrument) = key;
            let Some(symbol) = self.instruments.by_id(instrument).map(|one| one.symbol) else { continue };
            let Move { request, delay_ms, .. } = one;
            let judged =
                entitlement.may_subscribe(channel, symbol.as_str(), request.depth, request.conflation);
            let code = match judged {
                Ok(access) if access.delay_ms == delay_ms => continue,
                Ok(access) => {
                    // Neither may live data go on for who has it late, nor need who has it live wait.
                    moves.push((key, Move { delay_ms: access.delay_ms, ..one }));
                    moved.extend(stands.then_some((channel, symbol)));
                    continue;
                }
                Err(code) => code,
            };
            self.moves.remove(session.number, key);
            if let Some(one) = self.subscriptions.remove(session.number, key) {
                self.end(session, &one, now, batch)?;
            }
            ended.entry(channel).or_default().insert(symbol.into(), code);
        }
        for channel in [Channel::Orders, Channel::DropCopy] {
            if !entitlement.may_read_reports(channel) && self.reports.unsubscribe(session, channel, now) {
                let code = Code::SubChannelNotEntitled;
                ended.entry(channel).or_default().insert(StreamSymbol::All, code);
            }
        }
        let flat = ended.iter().flat_map(|(channel, symbols)| {
            let row = move |(symbol, code): (&StreamSymbol, &Code)| {
                (channel.as_str().to_owned(), symbol.to_string(), code.as_str().to_owned())
            };
            symbols.iter().map(row)
        });
        let left = moved.into_iter().map(|(channel, symbol)| {
            let code = Code::SubDelayChanged.as_str().to_owned();
            (channel.as_str().to_owned(), symbol.to_string(), code)
        });
        let event = event::Entitlement {
            principal: session.principal.to_string(),
            rules: rules(&entitlement),
            ended: flat.chain(left).collect(),
            professional: entitlement.professional,
            display: entitlement.display,
        };
        session.set_entitlement(entitlement);
        batch.depends_on(self.journal.record_in(&session.trail, event)?);
        let moved = self.move_streams(session, moves, &notice, now, batch)?;
        let refused = |symbols: BTreeMap<_, Code>| {
            symbols.into_iter().map(|(symbol, code)| (symbol, Refused::from(code))).collect()
        };
        notice.ended = ended
            .into_iter()
            .map(|(channel, symbols)| Ended { channel, symbols: refused(symbols) })
            .collect();
        self.tell_moved(session, moved, notice, batch)
    }

    /// What a session has subscribed to, with the delay that it was granted with, and whether it stands: else it waits for a delayed feed.
    fn subscribed(&self, session: &SessionHandle) -> Vec<(Key, Move, bool)> {
        let standing =
            self.subscriptions.streams(session.number).into_iter().map(|(key, stream, on_slow)| {
                let delay_ms = self.delayed_ms(stream).unwrap_or_default();
                (key, Move { request: stream.request(), on_slow, delay_ms }, true)
            });
        let waiting = self.moves.of(session.number).into_iter().map(|(key, one)| (key, one, false));
        standing.chain(waiting).collect()
    }
}

/// The rules that grant something, each once.
fn rules(entitlement: &Entitlement) -> Vec<String> {
    let Entitlement { grants, orders, publish, operator_rules, .. } = entitlement;
    let data = grants.iter().map(|grant| &grant.rule);
    let rights = orders.iter().map(|rights| &rights.rule).chain(publish.iter().map(|rights| &rights.rule));
    let names: BTreeSet<_> = data.chain(rights).chain(operator_rules).map(ToString::to_string).collect();
    names.into_iter().collect()
}
