//! Strict reading of one JSON object with a known list of keys: what requests and signed bodies share.
//!
//! The object must begin with the first byte and end with the last. Keys outside the list and keys that occur
//! twice are faults; the first fault is kept and reading goes on, so that an id can still be recovered. Values
//! are borrowed as raw text and judged by the caller; nothing is allocated unless a text has escapes.
//! Nesting is skipped without recursion, so depth costs nothing.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Most bytes of a name from the peer that a detail repeats.
const ECHO_BYTES_MAX: usize = 40;

/// What is wrong with an object's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Does not begin with `{`.
    NotAnObject,
    /// Not JSON, or cut short.
    Malformed,
    /// Something follows the object.
    TrailingBytes,
    /// The key at this place of the list occurs twice, or one outside of the list (`None`).
    DuplicateKey(usize),
    /// A key that is not in the list, made printable.
    UnknownKey(String),
}

/// The raw values of an object, by place in the list of its keys.
#[derive(Debug)]
pub(crate) struct Fields<'a, const N: usize> {
    values: [Option<&'a RawValue>; N],
    duplicates: u32,
    /// The most serious fault: one of form before one of keys, else the first.
    pub(crate) fault: Option<Fault>,
}

/// Finds the place of a key in the list.
pub(crate) type Place = fn(&str) -> Option<usize>;

impl<'a, const N: usize> Fields<'a, N> {
    /// Reads `text`. Whatever is wrong stands in `fault`; what was read before it can be used.
    pub(crate) fn read(text: &'a str, place: Place) -> Self {
        const { assert!(N <= 32) };
        let mut fields = Self { values: [None; N], duplicates: 0, fault: None };
        if !text.starts_with('{') {
            fields.fault = Some(Fault::NotAnObject);
            return fields;
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = deserializer.deserialize_map(ObjectVisitor { fields: &mut fields, place });
        if read.is_err() {
            fields.fault = Some(Fault::Malformed);
        } else if deserializer.end().is_err() || !text.ends_with('}') {
            fields.fault = Some(Fault::TrailingBytes);
        }
        fields
    }

    /// The value at a place of the list, unless it is missing or occurs twice.
    pub(crate) fn get(&self, index: usize) -> Option<Value<'a>> {
        if self.duplicates & (1 << index) != 0 {
            return None;
        }
        self.values[index].map(|raw| Value(raw.get()))
    }

    /// Places of the keys that are there, one bit each.
    pub(crate) fn present(&self) -> u32 {
        let mut bits = 0;
        for (index, value) in self.values.iter().enumerate() {
            bits |= u32::from(value.is_some()) << index;
        }
        bits
    }

    fn note(&mut self, fault: Fault) {
        if self.fault.is_none() {
            self.fault = Some(fault);
        }
    }
}

struct ObjectVisitor<'f, 'a, const N: usize> {
    fields: &'f mut Fields<'a, N>,
    place: Place,
}

impl<'a, const N: usize> Visitor<'a> for ObjectVisitor<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed(self.place))? {
            let value: &RawValue = map.next_value()?;
            match key {
                Ok(index) if self.fields.values[index].is_some() => {
                    self.fields.duplicates |= 1 << index;
                    self.fields.note(Fault::DuplicateKey(index));
                }
                Ok(index) => self.fields.values[index] = Some(value),
                Err(name) => self.fields.note(Fault::UnknownKey(name)),
            }
        }
        Ok(())
    }
}

/// Reads a key: its place in the list, or the name of one that is not in it.
struct KeySeed(Place);

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Result<usize, String>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok((self.0)(key).ok_or_else(|| printable(key)))
    }
}

/// A short, printable form of a text from the peer, for details: ASCII, no control characters.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(ECHO_BYTES_MAX).flat_map(char::escape_default).collect();
    shown.truncate(ECHO_BYTES_MAX);
    shown
}

/// One JSON value as raw text, known to be well-formed up to the pairing of surrogates in its texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// The raw text of an object.
    pub(crate) fn object(self) -> Option<&'a str> {
        self.0.starts_with('{').then_some(self.0)
    }

    /// Whether it is a JSON string, of whatever content.
    pub(crate) fn is_text(self) -> bool {
        self.0.starts_with('"')
    }

    /// The content of a string that was written without escapes.
    pub(crate) fn plain_text(self) -> Option<&'a str> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        (!inner.as_bytes().contains(&b'\\')).then_some(inner)
    }

    /// The content of a string; `None` for another type and for a lone surrogate.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        if let Some(plain) = self.plain_text() {
            return Some(Cow::Borrowed(plain));
        }
        if self.is_text() { serde_json::from_str(self.0).ok().map(Cow::Owned) } else { None }
    }

    /// Whether it is a JSON number, of whatever form.
    pub(crate) fn is_number(self) -> bool {
        self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    /// An integer without fraction, exponent or negative zero.
    pub(crate) fn integer(self) -> Option<i64> {
        if self.0 == "-0" { None } else { self.0.parse().ok() }
    }

    /// `true` or `false`.
    pub(crate) fn truth(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The raw values of an array.
    pub(crate) fn list(self) -> Option<Vec<Value<'a>>> {
        if !self.0.starts_with('[') {
            return None;
        }
        let values: Vec<&RawValue> = serde_json::from_str(self.0).ok()?;
        Some(values.into_iter().map(|raw| Value(raw.get())).collect())
    }

    /// The keys and raw values of an object, in order, keys as often as they occur.
    pub(crate) fn entries(self) -> Option<Vec<(String, Value<'a>)>> {
        struct EntriesVisitor;

        impl<'a> Visitor<'a> for EntriesVisitor {
            type Value = Vec<(String, Value<'a>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'a RawValue>()? {
                    entries.push((key, Value(value.get())));
                }
                Ok(entries)
            }
        }

        self.object()?;
        serde_json::Deserializer::from_str(self.0).deserialize_map(EntriesVisitor).ok()
    }
}
