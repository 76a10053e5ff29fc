//! What the Java readers of these messages accept beyond plain JSON types, so that no producer is turned away by us.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use ::bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{MESSAGE_VERSION, MessageError, TaskStatus};
use crate::clock::Timestamp;

/// Reads the first JSON value of `body`; what follows it is ignored.
pub(super) fn first_value<T: DeserializeOwned>(body: &[u8]) -> Result<T, MessageError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = Object::<T>::deserialize(&mut reader).or_else(|error| {
        // A typed read refuses repeated members; in a tree the last one wins.
        Value::deserialize(&mut serde_json::Deserializer::from_slice(body))
            .and_then(Object::<T>::deserialize)
            .map_err(|_| MessageError(error.to_string()))
    });
    read.map(|Object(value)| value)
}

/// A JSON object or null. A derived reader alone would take an array as well, its items in the order of the members.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<Object<T>>::deserialize(deserializer).map(|read| read.map(|Object(value)| value))
}

struct Object<T>(T);

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

pub(super) const fn version() -> i32 {
    MESSAGE_VERSION
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText<'a> {
    Integer(i64),
    Float(f64),
    Text(std::borrow::Cow<'a, str>),
}

/// A number, a number written as text, or null for 0.
pub(super) fn integer<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64> + FromStr + Default,
    T::Err: Display,
{
    let range = || D::Error::custom("the number is out of range");
    match Option::<NumberOrText<'_>>::deserialize(deserializer)? {
        None => Ok(T::default()),
        Some(NumberOrText::Integer(number)) => T::try_from(number).map_err(|_| range()),
        Some(NumberOrText::Float(number)) if number.abs() < 9e15 => {
            T::try_from(number as i64).map_err(|_| range())
        }
        Some(NumberOrText::Float(_)) => Err(range()),
        Some(NumberOrText::Text(text)) => {
            text.trim().parse().map_err(|error| D::Error::custom(format!("expected a number: {error}")))
        }
    }
}

/// Epoch milliseconds, as number or text, or an ISO 8601 instant; null and "" are absent.
pub(super) fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let millis = match Option::<NumberOrText<'_>>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(NumberOrText::Integer(millis)) => millis,
        Some(NumberOrText::Float(millis)) if millis.abs() < 9e15 => millis as i64,
        Some(NumberOrText::Float(_)) => return Err(D::Error::custom("the time is out of range")),
        Some(NumberOrText::Text(text)) if text.is_empty() => return Ok(None),
        Some(NumberOrText::Text(text)) => match text.parse::<i64>() {
            Ok(millis) => millis,
            Err(_) => text
                .parse::<jiff::Timestamp>()
                .map_err(|_| D::Error::custom("expected epoch milliseconds or an ISO 8601 instant"))?
                .as_millisecond(),
        },
    };
    Ok(Some(Timestamp::from_millis(millis)))
}

/// A status by name or by ordinal.
pub(super) fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TaskStatus>, D::Error> {
    let known = |status: Option<&TaskStatus>| {
        status.copied().map(Some).ok_or_else(|| {
            D::Error::custom(
                "unknown taskStatus: expected NEW_TASK, INVALID_TASK, RESULT_SUCCESS, RESULT_FAILURE or RESULT_EXCEPTION",
            )
        })
    };
    match Option::<NumberOrText<'_>>::deserialize(deserializer)? {
        None => Ok(None),
        Some(NumberOrText::Integer(ordinal)) => {
            known(usize::try_from(ordinal).ok().and_then(|ordinal| TaskStatus::ALL.get(ordinal)))
        }
        Some(NumberOrText::Text(name)) => {
            known(TaskStatus::ALL.iter().find(|status| status.as_str() == name))
        }
        Some(NumberOrText::Float(_)) => known(None),
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Encoded<'a> {
    Text(std::borrow::Cow<'a, str>),
    Octets(Vec<i16>),
}

impl Encoded<'_> {
    fn decode(self) -> Result<Bytes, String> {
        use base64::Engine as _;
        match self {
            Self::Text(text) => base64::engine::general_purpose::STANDARD
                .decode(text.as_bytes())
                .map(Bytes::from)
                .map_err(|error| format!("expected padded Base64: {error}")),
            // A Java byte is signed.
            Self::Octets(octets) => octets
                .into_iter()
                .map(|octet| {
                    u8::try_from(octet)
                        .or_else(|_| i8::try_from(octet).map(i8::cast_unsigned))
                        .map_err(|_| "expected bytes from -128 to 255".to_owned())
                })
                .collect::<Result<Vec<u8>, _>>()
                .map(Bytes::from),
        }
    }
}

fn encode(bytes: &Bytes) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(super) mod octets {
    use super::{Bytes, Encoded, encode};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(in super::super) fn serialize<S: Serializer>(
        bytes: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(encode).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bytes>, D::Error> {
        let encoded = Option::<Encoded<'_>>::deserialize(deserializer)?;
        encoded.map(Encoded::decode).transpose().map_err(D::Error::custom)
    }
}

pub(super) mod context {
    use std::collections::BTreeMap;

    use super::{Bytes, Encoded, encode};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Context = Option<BTreeMap<String, Bytes>>;

    pub(in super::super) fn serialize<S: Serializer>(
        context: &Context,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match context {
            Some(context) => serializer.collect_map(context.iter().map(|(key, bytes)| (key, encode(bytes)))),
            None => Option::<()>::None.serialize(serializer),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Context, D::Error> {
        let Some(encoded) = Option::<BTreeMap<String, Option<Encoded<'_>>>>::deserialize(deserializer)?
        else {
            return Ok(None);
        };
        let decode = |(key, value): (String, Option<Encoded<'_>>)| {
            let bytes = value.map_or(Ok(Bytes::new()), Encoded::decode).map_err(D::Error::custom)?;
            Ok((key, bytes))
        };
        encoded.into_iter().map(decode).collect::<Result<_, _>>().map(Some)
    }
}
