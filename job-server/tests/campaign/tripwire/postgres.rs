//! PostgreSQL's protocol, as far as it says which statement is carried out in which transaction.

use std::collections::{HashMap, VecDeque};

use super::{Conversation, Fate, Moment, Way};

#[derive(Debug, Default)]
pub(super) struct Postgres {
    is_started: bool,
    /// Prepared statements by name.
    prepared: HashMap<Vec<u8>, String>,
    /// The statement that is to be carried out before the next synchronisation.
    bound: Option<String>,
    /// What the server still waits for: one per synchronisation.
    asked: VecDeque<Option<String>>,
    /// The statements of the open transaction, or the single statement outside of one.
    transaction: Vec<String>,
    /// Whether the answer that is under way has a row that is not null for the most part.
    has_found: bool,
}

impl Conversation for Postgres {
    fn frame(&self, way: Way, bytes: &[u8]) -> Option<usize> {
        // Everything but the first message begins with its type.
        let at = usize::from(self.is_started || way == Way::ToServer);
        let length = bytes.get(at..at + 4)?;
        let whole = at + u32::from_be_bytes(length.try_into().ok()?) as usize;
        (bytes.len() >= whole).then_some(whole)
    }

    fn note(&mut self, way: Way, frame: &[u8], moment: Moment) -> Fate {
        let is_the_moment = match way {
            Way::FromServer if !self.is_started => {
                self.is_started = true;
                false
            }
            Way::FromServer => self.note_request(frame, moment),
            Way::ToServer => self.note_answer(frame, moment),
        };
        if is_the_moment { Fate::KillBefore } else { Fate::Pass }
    }
}

impl Postgres {
    fn note_request(&mut self, frame: &[u8], moment: Moment) -> bool {
        let mut texts = frame[5..].split(|byte| *byte == 0);
        let mut text = || texts.next().unwrap_or_default().to_vec();
        let statement = match frame[0] {
            b'P' => {
                let (name, statement) = (text(), text());
                self.prepared.insert(name, String::from_utf8_lossy(&statement).into_owned());
                return false;
            }
            b'B' => {
                // The portal has no name.
                let (_portal, name) = (text(), text());
                let parameters = &frame[5 + 1 + name.len() + 1..];
                let statement = self.prepared.get(&name).filter(|_| !is_about_nothing(parameters));
                let statement = statement.cloned().unwrap_or_default();
                self.bound = Some(statement.clone());
                statement
            }
            b'S' => {
                self.asked.push_back(self.bound.take());
                return false;
            }
            b'Q' => {
                let statement = String::from_utf8_lossy(&text()).into_owned();
                self.asked.push_back(Some(statement.clone()));
                statement
            }
            _ => return false,
        };
        let is_commit = statement == "COMMIT";
        if !is_commit {
            let continues = self.transaction.first().is_some_and(|first| first.starts_with("BEGIN"));
            if !continues || statement.starts_with("BEGIN") {
                self.transaction.clear();
            }
            self.transaction.push(statement.clone());
        }
        match moment {
            Moment::Asks(part) => statement.contains(part),
            Moment::AsksToCommit(part) => is_commit && self.has(part),
            _ => false,
        }
    }

    fn note_answer(&mut self, frame: &[u8], moment: Moment) -> bool {
        self.has_found |= frame[0] == b'D' && !is_mostly_null(frame);
        // Ready for the next request, so everything that belongs to the last one has been said.
        if frame[0] != b'Z' {
            return false;
        }
        let has_found = std::mem::take(&mut self.has_found);
        // The greeting answers nothing.
        let Some(Some(statement)) = self.asked.pop_front() else { return false };
        let is_commit = statement == "COMMIT";
        let is_alone = self.transaction == [statement.as_str()];
        let is_the_moment = match moment {
            Moment::Answered(part) => statement.contains(part),
            Moment::AnsweredAlone(part) => is_alone && statement.contains(part),
            Moment::Found(part) => is_alone && has_found && statement.contains(part),
            Moment::Committed(part) => is_commit && self.has(part),
            _ => false,
        };
        if is_commit || statement == "ROLLBACK" {
            self.transaction.clear();
        }
        is_the_moment
    }

    fn has(&self, part: &str) -> bool {
        self.transaction.iter().any(|statement| statement.contains(part))
    }
}

/// Whether more than half of the columns of a row are null: a claim that takes nothing answers with such a row.
fn is_mostly_null(row: &[u8]) -> bool {
    let mut rest = row.get(5 + 2..).unwrap_or_default();
    let (mut columns, mut nulls) = (0, 0);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length));
        columns += 1;
        nulls += usize::from(length.is_err());
        rest = after.get(length.unwrap_or(0)..).unwrap_or_default();
    }
    2 * nulls > columns
}

/// Whether the first parameter is an empty array, in binary: such a statement changes nothing.
fn is_about_nothing(parameters: &[u8]) -> bool {
    let number = |at: usize| Some(u16::from_be_bytes(parameters.get(at..at + 2)?.try_into().ok()?) as usize);
    // How many formats, the formats, how many values, then each with its length.
    let Some(formats) = number(0) else { return false };
    let first = parameters.get(2 + 2 * formats + 2..).unwrap_or_default();
    // One dimension, whatever the flags and the type, of length 0, from 1.
    const LENGTH: [u8; 8] = [0, 0, 0, 20, 0, 0, 0, 1];
    const NOTHING: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
    first.get(..8) == Some(&LENGTH[..]) && first.get(16..24) == Some(&NOTHING[..])
}
