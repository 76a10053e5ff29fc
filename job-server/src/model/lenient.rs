//! What the Java reader of the contract accepts beyond plain JSON types, so that no client is turned away by us.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A text. Numbers and booleans are taken as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        match raw.as_bytes().first() {
            Some(b'"') => {
                serde_json::from_str(raw).map(Self).map_err(|error| D::Error::custom(reason(&error)))
            }
            Some(b'[') => Err(D::Error::custom("an array is given, expected a string")),
            Some(b'{') => Err(D::Error::custom("an object is given, expected a string")),
            Some(b'n') => Err(D::Error::custom("null is given, expected a string")),
            _ => Ok(Self(raw.to_owned())),
        }
    }
}

/// The error without the position within the piece of text it was found in, which would mislead.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

/// A 32-bit integer. Fractions are cut off; an integer may be written as a text; null and "" are absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Integer(pub(super) Option<i32>);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerVisitor)
    }
}

struct IntegerVisitor;

fn in_range<E: Error>(number: Option<i32>, given: impl fmt::Display) -> Result<Integer, E> {
    match number {
        Some(number) => Ok(Integer(Some(number))),
        None => Err(E::custom(format!("{given} is given, expected -2147483648 to 2147483647"))),
    }
}

impl Visitor<'_> for IntegerVisitor {
    type Value = Integer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Integer, E> {
        in_range(number.try_into().ok(), number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Integer, E> {
        in_range(number.try_into().ok(), number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Integer, E> {
        let whole = number.trunc();
        let fits = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&whole);
        in_range(fits.then_some(whole as i32), number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Integer, E> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Integer(None));
        }
        text.parse().map(|number| Integer(Some(number))).map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            E::custom(format!("{shown:?} is given, expected a whole number"))
        })
    }

    fn visit_unit<E: Error>(self) -> Result<Integer, E> {
        Ok(Integer(None))
    }
}

/// A JSON object, read as `T`. A derived reader alone would take an array as well.
#[derive(Debug, Clone)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}
