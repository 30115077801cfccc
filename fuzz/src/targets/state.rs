//! What the server reads of its own log: events, and the snapshot that a start goes on from.

use sealfeed::execute::Engine;
use sealfeed::journal::decode;
use sealfeed::journal::event::newest_schema;

/// Kind and schema in front, then the payload.
pub(crate) fn journal_event(bytes: &[u8]) {
    let Some((head, payload)) = bytes.split_first_chunk::<3>() else { return };
    let (kind, schema) = (u16::from_le_bytes([head[0], head[1]]), u16::from(head[2]));
    let Ok(Some(event)) = decode(kind, schema, payload) else { return };
    assert!(schema >= 1 && schema <= newest_schema(kind));
    assert_eq!(event.kind(), kind);
    let again = event.encode().unwrap_or_else(|error| panic!("it cannot be written: {error}"));
    let reread = decode(kind, event.schema(), &again);
    assert_eq!(reread.as_ref().ok().and_then(Option::as_ref), Some(&event), "it reads otherwise again");
    let json = serde_json::to_string(&event).unwrap_or_else(|error| panic!("it cannot be shown: {error}"));
    assert!(json.chars().all(|one| one >= ' '), "{json}");
}

pub(crate) fn snapshot(bytes: &[u8]) {
    let Ok(engine) = Engine::from_snapshot(bytes, [7; 32]) else { return };
    let first = engine.snapshot();
    let again = Engine::from_snapshot(&first, [7; 32])
        .unwrap_or_else(|error| panic!("what it wrote itself cannot be read: {error}"));
    assert_eq!(again.snapshot(), first, "the state is another one after a restart");
    assert_eq!(again.state().digest, engine.state().digest);
}
