//! Strict reading of one JSON object with a known list of keys: what requests and signed bodies share.
//!
//! The object must begin with the first byte and end with the last. Keys outside the list and keys that occur
//! twice are faults, and reading goes on, so that an id can still be recovered. Texts are borrowed; nothing is
//! allocated unless a text has escapes. Nested values are kept as raw text where a key says so and are otherwise
//! skipped, without recursion, so depth costs nothing.

mod plain;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
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

/// The keys that an object may have.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    /// The place of a key in the list.
    pub(crate) place: fn(&str) -> Option<usize>,
    /// Places whose values are kept as raw text, one bit each.
    pub(crate) raw: u32,
    /// Places whose values are likely to be long strings, one bit each. Only a hint.
    pub(crate) long: u32,
}

/// The values of an object, by place in the list of its keys.
#[derive(Debug)]
pub(crate) struct Fields<'a, const N: usize> {
    values: [Option<Value<'a>>; N],
    duplicates: u32,
    /// The most serious fault: one of form, else a key twice, else the first unknown key.
    pub(crate) fault: Option<Fault>,
}

impl<'a, const N: usize> Fields<'a, N> {
    /// Reads `text`. Whatever is wrong stands in `fault`; what was read before it can be used.
    #[inline]
    pub(crate) fn read(text: &'a str, keys: Keys) -> Self {
        // Most of an object is its room: one variable, which is returned whatever happens, is filled in place and not copied.
        let mut fields = Self::EMPTY;
        if plain::fill(text, keys, &mut fields).is_none() {
            fields = Self::read_strictly(text, keys);
        }
        fields
    }

    const EMPTY: Self = Self { values: [const { None }; N], duplicates: 0, fault: None };

    fn read_strictly(text: &'a str, keys: Keys) -> Self {
        const { assert!(N <= 32) };
        let mut fields = Self::EMPTY;
        if !text.starts_with('{') {
            fields.fault = Some(Fault::NotAnObject);
            return fields;
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = deserializer.deserialize_map(ObjectVisitor { fields: &mut fields, keys });
        if read.is_err() {
            fields.fault = Some(Fault::Malformed);
        } else if deserializer.end().is_err() || !text.ends_with('}') {
            fields.fault = Some(Fault::TrailingBytes);
        }
        fields
    }

    /// The value at a place of the list, unless it is missing or occurs twice.
    pub(crate) fn get(&self, index: usize) -> Option<&Value<'a>> {
        if self.duplicates & (1 << index) != 0 { None } else { self.values[index].as_ref() }
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
        let outranks =
            matches!((&self.fault, &fault), (None, _) | (Some(Fault::UnknownKey(_)), Fault::DuplicateKey(_)));
        if outranks {
            self.fault = Some(fault);
        }
    }
}

struct ObjectVisitor<'f, 'a, const N: usize> {
    fields: &'f mut Fields<'a, N>,
    keys: Keys,
}

impl<'a, const N: usize> Visitor<'a> for ObjectVisitor<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed(self.keys.place))? {
            let index = match key {
                Ok(index) => index,
                Err(name) => {
                    map.next_value::<IgnoredAny>()?;
                    self.fields.note(Fault::UnknownKey(name));
                    continue;
                }
            };
            let value = if self.keys.raw & (1 << index) != 0 {
                Value::Raw(map.next_value::<&RawValue>()?.get())
            } else {
                map.next_value()?
            };
            if self.fields.values[index].is_some() {
                self.fields.duplicates |= 1 << index;
                self.fields.note(Fault::DuplicateKey(index));
            } else {
                self.fields.values[index] = Some(value);
            }
        }
        Ok(())
    }
}

/// Reads a key: its place in the list, or the name of one that is not in it.
struct KeySeed(fn(&str) -> Option<usize>);

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
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

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// A string; borrowed if and only if it was written without escapes.
    Text(Cow<'a, str>),
    /// A number without fraction, exponent or negative zero, of at most 64 bits with sign.
    Integer(i64),
    /// Any other number.
    OtherNumber,
    /// `true` or `false`.
    Truth(bool),
    /// `null`.
    Null,
    /// An array or object where none is expected.
    Composite,
    /// The raw text of a value of any type, without white space around it.
    Raw(&'a str),
}

impl<'a> Value<'a> {
    /// The content of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The content of a string that was written without escapes.
    pub(crate) fn plain_text(&self) -> Option<&'a str> {
        if let Self::Text(Cow::Borrowed(text)) = self { Some(text) } else { None }
    }

    /// An integer.
    pub(crate) fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    /// The raw text of an object.
    pub(crate) fn object(&self) -> Option<&'a str> {
        if let Self::Raw(text) = self { text.starts_with('{').then_some(text) } else { None }
    }

    /// The values of an array that was kept raw.
    pub(crate) fn list(&self) -> Option<Vec<Value<'a>>> {
        if let Self::Raw(text) = self { serde_json::from_str(text).ok() } else { None }
    }

    /// The keys and raw values of an object that was kept raw, in order, keys as often as they occur.
    pub(crate) fn entries(&self) -> Option<Vec<(String, Value<'a>)>> {
        serde_json::Deserializer::from_str(self.object()?).deserialize_map(EntriesVisitor).ok()
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(number).map_or(Value::OtherNumber, Value::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::OtherNumber)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value<'de>, E> {
        Ok(Value::Truth(truth))
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Composite)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Composite)
    }
}

struct EntriesVisitor;

impl<'a> Visitor<'a> for EntriesVisitor {
    type Value = Vec<(String, Value<'a>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, &'a RawValue>()? {
            entries.push((key, Value::Raw(value.get())));
        }
        Ok(entries)
    }
}
