//! Objects that an evaluation builds, and the names of members.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use crate::value::Val;

/// A member's name.
#[derive(Clone, Debug)]
pub(crate) enum Name<'a> {
    Str(&'a str),
    Text(Rc<String>),
}

impl Name<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Str(text) => text,
            Self::Text(text) => text,
        }
    }
}

impl<'a> From<Name<'a>> for Val<'a> {
    fn from(name: Name<'a>) -> Self {
        match name {
            Name::Str(text) => Self::Str(text),
            Name::Text(text) => Self::Text(text),
        }
    }
}

// Names are looked up by their text, so they must hash and compare as it does.
impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name<'_> {}

/// An object of our own: members in the order of their insertion.
#[derive(Debug, Default)]
pub(crate) struct Object<'a> {
    entries: Vec<(Name<'a>, Val<'a>)>,
    /// Positions by name, once there are enough members for it to pay.
    index: Option<HashMap<Name<'a>, usize>>,
    /// How deep values of our own nest in it, itself included.
    pub(crate) nesting: u32,
}

/// Up to here, comparing names one by one is faster than hashing.
const INDEX_FROM: usize = 16;

impl<'a> Object<'a> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity), index: None, nesting: 1 }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn find(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.entries.iter().position(|(other, _)| other.as_str() == name),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Val<'a>> {
        self.find(name).map(|at| &self.entries[at].1)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Name<'a>, Val<'a>)> {
        self.entries.iter()
    }

    /// Adds a member, or replaces its value where it stands.
    pub(crate) fn insert(&mut self, name: Name<'a>, value: Val<'a>) {
        match self.find(name.as_str()) {
            Some(at) => self.entries[at].1 = value,
            None => self.push(name, value),
        }
    }

    /// Adds a member whose name is known to be new.
    pub(crate) fn push(&mut self, name: Name<'a>, value: Val<'a>) {
        let at = self.entries.len();
        if let Some(index) = &mut self.index {
            index.insert(name.clone(), at);
        } else if at == INDEX_FROM {
            let mut index: HashMap<_, _> =
                self.entries.iter().zip(0..).map(|((name, _), at)| (name.clone(), at)).collect();
            index.insert(name.clone(), at);
            self.index = Some(index);
        }
        self.entries.push((name, value));
    }

    /// The names and values, by value.
    pub(crate) fn into_entries(self) -> Vec<(Name<'a>, Val<'a>)> {
        self.entries
    }
}
