//! The values that an evaluation works on.
//!
//! A value that comes from the input or from the script is borrowed; one that the evaluation
//! builds is reference counted. Copying either costs next to nothing.

use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::{Map, Value};

pub(crate) use crate::object::{Name, Object};

/// A value during evaluation.
#[derive(Clone, Debug)]
pub(crate) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer that only an unsigned number holds; it can come from the input alone.
    Huge(u64),
    /// Always finite.
    Double(f64),
    /// Borrowed text.
    Str(&'a str),
    /// Text of our own.
    Text(Rc<String>),
    BorrowedArray(&'a [Value]),
    Array(Rc<Array<'a>>),
    BorrowedObject(&'a Map<String, Value>),
    Object(Rc<Object<'a>>),
}

/// An array of our own.
#[derive(Debug)]
pub(crate) struct Array<'a> {
    pub(crate) elements: Vec<Val<'a>>,
    /// How deep values of our own nest in it, itself included.
    pub(crate) nesting: u32,
}

impl<'a> From<&'a Value> for Val<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => number.into(),
            Value::String(text) => Self::Str(text),
            Value::Array(elements) => Self::BorrowedArray(elements),
            Value::Object(members) => Self::BorrowedObject(members),
        }
    }
}

impl From<&serde_json::Number> for Val<'_> {
    fn from(number: &serde_json::Number) -> Self {
        if let Some(value) = number.as_i64() {
            Self::Int(value)
        } else if let Some(value) = number.as_u64() {
            Self::Huge(value)
        } else {
            number.as_f64().filter(|value| value.is_finite()).map_or(Self::Null, Self::Double)
        }
    }
}

impl From<bool> for Val<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<String> for Val<'_> {
    fn from(text: String) -> Self {
        Self::Text(Rc::new(text))
    }
}

impl<'a> Val<'a> {
    /// An integer from a length.
    pub(crate) fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Huge(_) | Self::Double(_))
    }

    pub(crate) fn is_integral(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Huge(_))
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Self::BorrowedArray(_) | Self::Array(_))
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::BorrowedObject(_) | Self::Object(_))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a string, for use as a name.
    pub(crate) fn to_name(&self) -> Option<Name<'a>> {
        match self {
            Self::Str(text) => Some(Name::Str(text)),
            Self::Text(text) => Some(Name::Text(Rc::clone(text))),
            _ => None,
        }
    }

    /// The number as a double; 0 for anything else.
    pub(crate) fn double(&self) -> f64 {
        match self {
            Self::Int(value) => *value as f64,
            Self::Huge(value) => *value as f64,
            Self::Double(value) => *value,
            _ => 0.0,
        }
    }

    /// The number as a 64-bit integer, as Java converts it: integers lose their high bits, doubles
    /// their fraction. 0 for anything else.
    pub(crate) fn long(&self) -> i64 {
        match self {
            Self::Int(value) => *value,
            Self::Huge(value) => value.cast_signed(),
            Self::Double(value) => *value as i64,
            _ => 0,
        }
    }

    /// The truth of a value: `false`, `null`, zero and everything empty are false.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Huge(value) => *value != 0,
            Self::Double(value) => *value != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::Text(text) => !text.is_empty(),
            Self::BorrowedArray(_) | Self::Array(_) | Self::BorrowedObject(_) | Self::Object(_) => {
                self.len() != 0
            }
        }
    }

    /// Whether the value is more than `null`, `{}` and `[]`.
    pub(crate) fn is_substantial(&self) -> bool {
        match self {
            Self::Null => false,
            Self::BorrowedArray(_) | Self::Array(_) | Self::BorrowedObject(_) | Self::Object(_) => {
                self.len() != 0
            }
            _ => true,
        }
    }

    /// The number of elements or members; 0 for anything else.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::BorrowedArray(elements) => elements.len(),
            Self::Array(array) => array.elements.len(),
            Self::BorrowedObject(members) => members.len(),
            Self::Object(object) => object.len(),
            _ => 0,
        }
    }

    /// How deep values of our own nest in this one.
    pub(crate) fn nesting(&self) -> u32 {
        match self {
            Self::Array(array) => array.nesting,
            Self::Object(object) => object.nesting,
            _ => 0,
        }
    }

    /// An element of an array.
    pub(crate) fn element(&self, index: usize) -> Option<Self> {
        match self {
            Self::BorrowedArray(elements) => elements.get(index).map(Self::from),
            Self::Array(array) => array.elements.get(index).cloned(),
            _ => None,
        }
    }

    /// The elements of an array; nothing for anything else.
    pub(crate) fn elements(&self) -> impl Iterator<Item = Self> + '_ {
        (0..if self.is_array() { self.len() } else { 0 }).filter_map(|index| self.element(index))
    }

    /// A member of an object.
    pub(crate) fn member(&self, key: &str) -> Option<Self> {
        match self {
            Self::BorrowedObject(members) => members.get(key).map(Self::from),
            Self::Object(object) => object.get(key).cloned(),
            _ => None,
        }
    }

    /// The members of an object, in order; nothing for anything else.
    pub(crate) fn members(&self) -> Vec<(Name<'a>, Self)> {
        match self {
            Self::BorrowedObject(members) => {
                members.iter().map(|(name, value)| (Name::Str(name), Self::from(value))).collect()
            }
            Self::Object(object) => object.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

/// Orders strings as Java does, by UTF-16 unit.
///
/// That differs from the order of UTF-8 bytes only where a character beyond the first 65,536 meets
/// one that is close below them.
pub(crate) fn compare_text(left: &str, right: &str) -> Ordering {
    let beyond = |text: &str| text.bytes().any(|byte| byte >= 0xEE);
    if beyond(left) && beyond(right) {
        left.encode_utf16().cmp(right.encode_utf16())
    } else {
        left.cmp(right)
    }
}

/// The length of a string as Java counts it, in UTF-16 units.
pub(crate) fn text_length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}
