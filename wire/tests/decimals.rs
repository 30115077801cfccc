//! Decimal numbers: one spelling each, exact both ways, against a naive model on wide integers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use sealfeed_wire::{DecimalError, Decimals, Price, Quantity, Scaled};

fn decimals(places: u8) -> Decimals {
    Decimals::new(places).unwrap()
}

fn written(price: Price, places: u8) -> String {
    let mut out = Vec::new();
    price.write(&mut out, decimals(places));
    String::from_utf8(out).unwrap()
}

/// The same number by text manipulation alone: no shared code with the crate.
fn naive(nanos: i128, places: usize) -> String {
    let digits = format!("{:010}", nanos.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - 9);
    let sign = if nanos < 0 { "-" } else { "" };
    let (kept, rest) = fraction.split_at(places);
    assert!(rest.bytes().all(|digit| digit == b'0'));
    if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{kept}") }
}

#[test]
fn each_spelling_error_has_its_name() {
    let cases = [
        ("", DecimalError::Empty),
        ("-", DecimalError::Empty),
        (".", DecimalError::BarePoint),
        (".5", DecimalError::BarePoint),
        ("5.", DecimalError::BarePoint),
        ("-.5", DecimalError::BarePoint),
        ("05", DecimalError::LeadingZero),
        ("00", DecimalError::LeadingZero),
        ("-05", DecimalError::LeadingZero),
        ("00.5", DecimalError::LeadingZero),
        ("+5", DecimalError::Sign),
        ("-0", DecimalError::Sign),
        ("-0.000", DecimalError::Sign),
        ("--5", DecimalError::Sign),
        ("5-", DecimalError::Sign),
        ("1e5", DecimalError::Character),
        ("1E5", DecimalError::Character),
        ("1 ", DecimalError::Character),
        ("1.2.3", DecimalError::Character),
        ("1,5", DecimalError::Character),
        ("１", DecimalError::Character),
        ("1\0", DecimalError::Character),
        ("0.0000000001", DecimalError::TooManyDecimals { got: 10, max: 9 }),
        ("9223372036.854775808", DecimalError::OutOfRange),
        ("-9223372036.854775809", DecimalError::OutOfRange),
        ("99999999999999999999999999999", DecimalError::OutOfRange),
    ];
    for (text, error) in cases {
        assert_eq!(Price::parse(text), Err(error), "{text:?}");
    }
    assert_eq!(Quantity::parse("-5"), Err(DecimalError::Sign));
    assert_eq!(Quantity::parse("18446744073.709551616"), Err(DecimalError::OutOfRange));
    let long = "0.".to_owned() + &"1".repeat(8000);
    assert_eq!(Price::parse(&long), Err(DecimalError::TooManyDecimals { got: 8000, max: 9 }));
}

#[test]
fn the_ends_of_the_range_are_read_and_printed() {
    for (text, nanos) in [
        ("9223372036.854775807", i64::MAX),
        ("-9223372036.854775808", i64::MIN),
        ("0", 0),
        ("-0.000000001", -1),
        ("-37.63", -37_630_000_000),
    ] {
        assert_eq!(Price::parse(text), Ok(Price::from_nanos(nanos)));
        assert_eq!(Price::from_nanos(nanos).to_string(), text);
    }
    let most = Quantity::from_nanos(u64::MAX);
    assert_eq!(most.to_string(), "18446744073.709551615");
    assert_eq!(Quantity::parse("18446744073.709551615"), Ok(most));
}

#[test]
fn a_number_prints_with_the_instruments_places() {
    let price = Price::from_nanos(4_783_250_000_000);
    assert_eq!(written(price, 2), "4783.25");
    assert_eq!(written(price, 9), "4783.250000000");
    assert_eq!(written(Price::from_nanos(-250_000_000), 2), "-0.25");
    assert_eq!(written(Price::from_nanos(3_000_000_000), 0), "3");
}

#[test]
fn the_instrument_says_how_many_decimals_there_may_be() {
    assert_eq!(Price::parse_within("4783.2", decimals(2)), Ok(Price::from_nanos(4_783_200_000_000)));
    let too_many = DecimalError::TooManyDecimals { got: 3, max: 2 };
    assert_eq!(Price::parse_within("4783.250", decimals(2)), Err(too_many));
    assert_eq!(
        Quantity::parse_within("3.0", decimals(0)),
        Err(DecimalError::TooManyDecimals { got: 1, max: 0 })
    );
}

#[test]
fn an_average_price_is_rounded_to_the_nano_unit_away_from_zero() {
    let three = Quantity::from_nanos(3);
    assert_eq!(Price::average(10, three), Some(Price::from_nanos(3)));
    assert_eq!(Price::average(11, three), Some(Price::from_nanos(4)));
    assert_eq!(Price::average(-11, three), Some(Price::from_nanos(-4)));
    assert_eq!(Price::average(5, Quantity::from_nanos(2)), Some(Price::from_nanos(3)));
    assert_eq!(Price::average(-5, Quantity::from_nanos(2)), Some(Price::from_nanos(-3)));
    assert_eq!(Price::average(5, Quantity::ZERO), None);
    assert_eq!(Price::average(i128::MAX, Quantity::from_nanos(1)), None);
}

proptest! {
    #[test]
    fn every_price_survives_its_text(nanos: i64, places in 0u8..=9) {
        let power = 10i64.pow(9 - u32::from(places));
        let price = Price::from_nanos(nanos / power * power);
        let text = written(price, places);
        prop_assert_eq!(&text, &naive(i128::from(price.nanos()), usize::from(places)));
        prop_assert_eq!(Price::parse_within(&text, decimals(places)), Ok(price));
        prop_assert_eq!(Price::parse(&price.to_string()), Ok(price));
        prop_assert_eq!(Scaled::<Price>::parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn every_quantity_survives_its_text(nanos: u64, places in 0u8..=9) {
        let power = 10u64.pow(9 - u32::from(places));
        let quantity = Quantity::from_nanos(nanos / power * power);
        let mut text = Vec::new();
        quantity.write(&mut text, decimals(places));
        let text = String::from_utf8(text).unwrap();
        prop_assert_eq!(&text, &naive(i128::from(quantity.nanos()), usize::from(places)));
        prop_assert_eq!(Quantity::parse_within(&text, decimals(places)), Ok(quantity));
    }

    #[test]
    fn a_text_is_read_only_if_it_prints_the_same(text in "-?[0-9]{0,11}\\.?[0-9]{0,10}") {
        if let Ok(scaled) = Scaled::<Price>::parse(&text) {
            prop_assert_eq!(scaled.to_string(), text);
        }
    }
}
