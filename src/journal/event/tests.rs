//! Entries of older programs, read by this one.

use super::*;

#[test]
fn a_delivered_entry_from_before_there_were_delays_in_it_is_read_and_says_nothing_of_one() {
    let range = DeliveredRange {
        channel: "book".to_owned(),
        symbol: "SEAL".to_owned(),
        depth: 10,
        first: 1,
        last: 9,
    };
    let older = ("acme/bob".to_owned(), "000000000000001f".to_owned(), vec![range.clone()]);
    let payload = postcard::to_allocvec(&older).unwrap();
    let read = |schema, payload: &[u8]| Event::decode(279, schema, payload);
    let delivered = |delayed_ms| {
        let (principal, epoch, ranges) = older.clone();
        Event::from(Delivered { principal, epoch, ranges, delayed_ms })
    };
    assert_eq!(read(1, &payload).unwrap(), Some(delivered(None)));
    assert!(read(2, &payload).is_err(), "a field is missing");
    for delayed_ms in [Some(0), Some(900_000)] {
        let event = delivered(delayed_ms);
        assert_eq!(event.schema(), 2);
        assert_eq!(read(2, &event.encode().unwrap()).unwrap(), Some(event.clone()));
    }
    assert_eq!(read(3, &payload).unwrap(), None, "of a newer program");
}

#[test]
fn texts_that_are_kept_elsewhere_are_written_as_any_text_is() {
    let name = crate::types::ClientOrderId::new("a-1").unwrap();
    let symbol = crate::types::Symbol::new("SEAL").unwrap();
    let shared: std::sync::Arc<str> = "acme/bob".into();
    let texts =
        [Text::from("order.new"), Text::from(&shared), Text::from(symbol), Text::from(name), Text::default()];
    for text in texts {
        let written = postcard::to_allocvec(&text).unwrap();
        assert_eq!(written, postcard::to_allocvec(&text.to_string()).unwrap());
        assert_eq!(strict::<Text>(&written).unwrap(), text);
        assert_eq!(serde_json::to_string(&text).unwrap(), serde_json::to_string(text.as_str()).unwrap());
    }
}
