//! What the proven entries of a bundle say together, and whether they say it without a gap.
//!
//! Every entry must have a part: the genesis (or the PRUNE that stands for it), the order's life, the sessions it was signed in, the
//! certificates presented there, the clock before and after. The order in which they must stand is that of the log. Signatures of the
//! client are checked once it is known which certificate opened which session.

use std::collections::BTreeMap;

use super::events::{self, CERTIFICATE, CONNECT, EXECUTION, ORDER, ORDER_REFUSED, Signed};
use super::signature::{self, Signature};
use super::{Life, LifeStep, certificate_name};
use crate::chain::{Hash, genesis_link, hash_from_hex, hex, log_id, sha256};
use crate::entry::{EntryRef, Header};
use crate::fields::FieldsReader;
use crate::kind::{CLOCK, GENESIS, PRUNE};
use crate::layout::{Genesis, Prune};

/// An order's life, and what was proven around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// The order, by the venue's number.
    pub order: u64,
    /// Whose it is.
    pub principal: String,
    /// The log's identity; `None` where its genesis was pruned.
    pub log_id: Option<Hash>,
    /// The key that the genesis states, as text.
    pub key: Option<String>,
    /// First entry the log keeps; 0 unless its beginning was pruned.
    pub pruned_before: u64,
    /// The life, in order.
    pub life: Vec<Step>,
    /// The sessions in which its messages came.
    pub sessions: Vec<SessionStory>,
    /// Sessions of which the bundle holds no `connect`, because the beginning of the log was pruned; hex.
    pub sessions_pruned: Vec<String>,
    /// The last word on the clock before the life, and the first after it.
    pub clock: [Option<ClockWord>; 2],
}

/// One entry of the life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Sequence number of the entry.
    pub seq: u64,
    /// UTC by the server's clock, nanoseconds since 1970.
    pub utc_ns: u64,
    /// Name of the event.
    pub event: &'static str,
    /// What was asked, or what happened; from the client where it is a body, so escape it.
    pub what: String,
    /// Of a message, what its signature came to; `None` for what no client sent.
    pub signature: Option<Signature>,
}

/// A session in which messages of the order came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStory {
    /// Its name, hex.
    pub id: String,
    /// Sequence number of its `connect` entry.
    pub connect: u64,
    /// Address of the peer.
    pub address: String,
    /// SHA-256 of the client's certificate, hex.
    pub certificate: String,
    /// The chain; `None` where the bundle has none.
    pub chain: Option<Certificates>,
}

/// A chain of certificates as presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// Sequence number of the entry.
    pub seq: u64,
    /// How many are in it, the client's own first; 0 where even that is too long for an entry.
    pub count: usize,
    /// How many the entry had no room for.
    pub left_out: u64,
}

/// What the server's system said of its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockWord {
    /// Sequence number of the entry.
    pub seq: u64,
    /// `synchronised`, `unsynchronised` or `unknown`.
    pub state: String,
}

/// The entries of a bundle, by sequence number; each is proven to be in the log.
pub(super) type Proven<'a> = BTreeMap<u64, EntryRef<'a>>;

/// Puts the story together; the error says what is missing, out of place or too much.
pub(super) fn tell(
    entries: &Proven<'_>,
    origin: &str,
    ders: &BTreeMap<&str, &[u8]>,
) -> Result<Story, String> {
    let mut story = Story::default();
    let life: Vec<_> = entries.values().filter(|entry| entry.header.order.is_some()).collect();
    let (Some(first), Some(last)) = (life.first(), life.last()) else {
        return Err("there is no entry of an order".to_owned());
    };
    let (first, last) = (first.header, last.header);
    follow(&mut story, &life)?;
    let mut chains = BTreeMap::new();
    let mut expected_ders = BTreeMap::new();
    for (seq, entry) in entries.iter().filter(|(_, entry)| entry.header.order.is_none()) {
        match entry.header.kind {
            GENESIS => genesis(&mut story, entry, origin)?,
            PRUNE => prune(&mut story, entry, entries)?,
            CLOCK => clock(&mut story, entry, &first, &last)?,
            CONNECT => {}
            CERTIFICATE => {
                let (sha256, found) = certificates(entry, &mut expected_ders)?;
                if chains.insert((sha256, entry.header.run), found).is_some() {
                    return Err(format!("entry {seq} repeats the certificates of another"));
                }
            }
            kind => return Err(format!("entry {seq} of kind {kind} has no part in the story")),
        }
    }
    if story.log_id.is_none() && story.pruned_before == 0 {
        return Err("the genesis is missing, and no PRUNE says that it left".to_owned());
    }
    let same = |(name, der): (&String, &&[u8])| ders.get(name.as_str()) == Some(der);
    if ders.len() != expected_ders.len() || !expected_ders.iter().all(same) {
        return Err("the certificates are not those in the entries".to_owned());
    }
    let leaves = sessions(&mut story, entries, &life, chains)?;
    signatures(&mut story, &life, &leaves)?;
    Ok(story)
}

/// The life: complete from its first event on, of one order and one principal.
fn follow(story: &mut Story, entries: &[&EntryRef<'_>]) -> Result<(), String> {
    let mut life = Life::default();
    for (place, entry) in entries.iter().enumerate() {
        let header = &entry.header;
        let Some(link) = header.order else { continue };
        let seq = header.seq;
        let wrong = |what: &str| format!("entry {seq}: {what}");
        life.take(LifeStep { seq, event: link.event, previous: link.previous });
        if let Some(gap) = life.gap() {
            return Err(format!("the life of the order has a gap: {gap}"));
        }
        let Event { principal, name, what, makes, .. } =
            event(entry).ok_or_else(|| wrong("it cannot be read"))?;
        if header.session.is_none() && header.kind != EXECUTION {
            return Err(wrong("the message came in no session"));
        }
        if place == 0 {
            if makes != Some(link.id) {
                return Err(wrong("the life does not begin with the message that makes the order"));
            }
            (story.order, story.principal) = (link.id, principal.to_owned());
        }
        if link.id != story.order || principal != story.principal {
            return Err(wrong("it is of another order, or of another principal"));
        }
        story.life.push(Step { seq, utc_ns: header.stamp.utc_ns, event: name, what, signature: None });
    }
    Ok(())
}

/// An event of an order.
struct Event<'a> {
    principal: &'a str,
    name: &'static str,
    what: String,
    /// The order that it makes, if it makes one.
    makes: Option<u64>,
    /// What the client sent, if it is a message.
    signed: Option<Signed<'a>>,
}

fn event<'a>(entry: &EntryRef<'a>) -> Option<Event<'a>> {
    let schema = entry.header.schema;
    if !matches!(schema, events::SCHEMA | events::SCHEMA_OF_ORDERS) {
        return None;
    }
    match entry.header.kind {
        ORDER => events::order(entry.payload, schema).map(|order| Event {
            principal: order.principal,
            name: "order",
            what: format!("{} {}", order.signed.op, order.signed.body),
            makes: (order.signed.op == "order.new").then_some(order.order_id),
            signed: Some(order.signed),
        }),
        ORDER_REFUSED => events::order_refused(entry.payload, schema).map(|refused| Event {
            principal: refused.principal,
            name: "order_refused",
            what: format!("{} {}", refused.signed.op, refused.code),
            makes: None,
            signed: Some(refused.signed),
        }),
        EXECUTION => events::execution(entry.payload).map(|(principal, exec)| Event {
            principal,
            name: "execution",
            what: exec.to_owned(),
            makes: None,
            signed: None,
        }),
        _ => None,
    }
}

/// The signature of each message of the life, by the certificate that opened its session.
fn signatures(story: &mut Story, life: &[&EntryRef<'_>], leaves: &Leaves<'_>) -> Result<(), String> {
    for (step, entry) in story.life.iter_mut().zip(life) {
        let (Some(signed), Some(session)) =
            (event(entry).and_then(|event| event.signed), entry.header.session)
        else {
            continue;
        };
        let leaf = leaves.get(&session.id).copied();
        let said = signature::check(&signed, &session.id, leaf).ok_or_else(|| {
            let seq = step.seq;
            format!(
                "entry {seq}: the signature is not by the key of the certificate over what the entry says"
            )
        })?;
        step.signature = Some(said);
    }
    Ok(())
}

fn genesis(story: &mut Story, entry: &EntryRef<'_>, origin: &str) -> Result<(), String> {
    let told = Genesis::from_payload(entry.payload).filter(|told| {
        let id = log_id(&told.origin, &told.random);
        let first = entry.header.seq == 0 && entry.header.previous == genesis_link(&id);
        first && told.origin == origin && told.log_id == id
    });
    let told = told.ok_or("the genesis is not that of this log")?;
    (story.log_id, story.key) = (Some(told.log_id), Some(told.key));
    Ok(())
}

/// Where the genesis left with the beginning of the log, the PRUNE says so. It may allow more than was needed.
fn prune(story: &mut Story, entry: &EntryRef<'_>, entries: &Proven<'_>) -> Result<(), String> {
    let seq = entry.header.seq;
    let told = Prune::from_payload(entry.payload).ok_or_else(|| format!("entry {seq} is no PRUNE"))?;
    if entries.contains_key(&0) || story.pruned_before > 0 {
        return Err(format!("entry {seq}: a PRUNE has no part in the story"));
    }
    if told.first_seq() == 0 || told.first_seq() > seq {
        return Err(format!("entry {seq}: a PRUNE that does not come before itself"));
    }
    story.pruned_before = told.first_seq();
    Ok(())
}

/// A word on the clock: of the same run, once before the life and once after it.
fn clock(story: &mut Story, entry: &EntryRef<'_>, first: &Header, last: &Header) -> Result<(), String> {
    let Header { seq, run, .. } = entry.header;
    let (place, next_to) = if seq < first.seq { (0, first) } else { (1, last) };
    let [before, after] = &mut story.clock;
    let word = if place == 0 { before } else { after };
    if word.is_some() || run != next_to.run || place == 1 && seq < last.seq {
        return Err(format!("entry {seq}: a CLOCK that is neither before nor after the order's life"));
    }
    let text = std::str::from_utf8(entry.payload).unwrap_or_default();
    let state = FieldsReader::new(text, "sealfeed/v1 clock").and_then(|mut fields| fields.text("state"));
    let state = state.ok_or_else(|| format!("entry {seq} is no CLOCK"))?.to_owned();
    *word = Some(ClockWord { seq, state });
    Ok(())
}

/// The chain of a `certificate` entry by the digits of its first, with that one, and the files that it must have in the bundle.
fn certificates<'a>(
    entry: &EntryRef<'a>,
    ders: &mut BTreeMap<String, &'a [u8]>,
) -> Result<(&'a str, Chain<'a>), String> {
    let seq = entry.header.seq;
    let told = events::certificate(entry.payload).filter(|_| entry.header.schema == events::SCHEMA);
    let told = told.ok_or_else(|| format!("entry {seq} holds no certificates"))?;
    let own = hash_from_hex(told.sha256).ok_or_else(|| format!("entry {seq} names no certificate"))?;
    if told.chain.first().is_some_and(|leaf| sha256(leaf) != own) {
        return Err(format!("entry {seq} holds another certificate than it names"));
    }
    for (place, der) in told.chain.iter().enumerate() {
        ders.insert(certificate_name(seq, place), *der);
    }
    let said = Certificates { seq, count: told.chain.len(), left_out: told.left_out };
    Ok((told.sha256, Chain { said, leaf: told.chain.first().copied() }))
}

/// A chain with the client's own certificate, if that is in it.
#[derive(Clone, Copy)]
struct Chain<'a> {
    said: Certificates,
    leaf: Option<&'a [u8]>,
}

/// The certificates that opened sessions, by session.
type Leaves<'a> = BTreeMap<[u8; 32], &'a [u8]>;

/// Each session in which a message of the order came, with its beginning and its certificate; and no others.
fn sessions<'a>(
    story: &mut Story,
    entries: &Proven<'_>,
    life: &[&EntryRef<'_>],
    mut chains: BTreeMap<(&str, u64), Chain<'a>>,
) -> Result<Leaves<'a>, String> {
    let mut used: BTreeMap<[u8; 32], u64> = BTreeMap::new();
    for entry in life.iter().rev() {
        if let Some(session) = entry.header.session {
            used.insert(session.id, entry.header.seq);
        }
    }
    let (mut named, mut leaves) = (Vec::new(), Leaves::new());
    for (seq, entry) in entries.iter().filter(|(_, entry)| entry.header.kind == CONNECT) {
        let told = events::connect(entry.payload, entry.header.schema);
        let told = told.ok_or_else(|| format!("entry {seq} is no connect"))?;
        let id = entry.header.session.ok_or_else(|| format!("entry {seq} names no session"))?.id;
        let first_use = used.remove(&id).filter(|first| first > seq);
        if first_use.is_none() || told.principal != story.principal {
            return Err(format!("entry {seq} begins a session that is not the order's"));
        }
        let chain = chains.get(&(told.certificate, entry.header.run)).copied();
        if chain.is_some_and(|chain| chain.said.seq > *seq) {
            return Err(format!("entry {seq}: its certificates come after it"));
        }
        named.push((told.certificate, entry.header.run));
        leaves.extend(chain.and_then(|chain| chain.leaf).map(|leaf| (id, leaf)));
        story.sessions.push(SessionStory {
            id: hex(&id),
            connect: *seq,
            address: told.address.to_owned(),
            certificate: told.certificate.to_owned(),
            chain: chain.map(|chain| chain.said),
        });
    }
    chains.retain(|of, _| !named.contains(of));
    if let Some(chain) = chains.values().next() {
        return Err(format!("entry {}: nobody in the story presented these certificates", chain.said.seq));
    }
    match used.first_key_value() {
        Some((id, _)) if story.pruned_before == 0 => {
            Err(format!("the connect entry of session {} is missing", hex(id)))
        }
        _ => {
            story.sessions_pruned = used.keys().map(|id| hex(id)).collect();
            Ok(leaves)
        }
    }
}
