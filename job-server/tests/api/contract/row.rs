//! What a row is made of.

use job_core::progress::{Percentage, ReportEvent};
use job_core::{Failure, Timestamp};
use serde_json::Value;

use crate::server::{BODY, JSON};

/// When every failure of these tests happened.
pub(super) const FAILURE_MILLIS: i64 = 1_700_000_000_123;

#[derive(Debug)]
pub(super) struct Row {
    /// The sections it comes from.
    pub(super) cites: &'static str,
    pub(super) step: Step,
    pub(super) status: u16,
    pub(super) checks: Vec<Check>,
}

#[derive(Debug)]
pub(super) enum Step {
    Ask {
        method: &'static str,
        target: String,
        headers: Vec<&'static str>,
        body: String,
    },
    /// A worker reports on a task of a job.
    Report {
        job: &'static str,
        task: &'static str,
        event: ReportEvent,
    },
    /// Every clock shows a later time.
    Later,
    /// Exactly these jobs could start now.
    Due(Vec<&'static str>),
}

#[derive(Debug)]
pub(super) enum Check {
    /// The body, to the byte.
    Text(&'static str),
    Contains(&'static str),
    Json(Value),
    /// By JSON pointer.
    Member(&'static str, Value),
    /// The members, in this order.
    Order(&'static [&'static str]),
    /// The ids of the listed jobs, in this order.
    Ids(&'static [&'static str]),
    /// The message of an error, which has no other member.
    Message(String),
    MessageHas(&'static str),
    Header(&'static str, String),
    HeaderHas(&'static str, &'static str),
    NoHeader(&'static str),
    HeaderLength(&'static str, usize),
    /// The member has the value that it had when a row first named it.
    Kept(&'static str, &'static str),
}

impl Row {
    fn new(cites: &'static str, step: Step, status: u16) -> Self {
        Self { cites, step, status, checks: Vec::new() }
    }

    pub(super) fn with_header(mut self, line: &'static str) -> Self {
        if let Step::Ask { headers, .. } = &mut self.step {
            headers.push(line);
        }
        self
    }

    fn and(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    pub(super) fn text(self, text: &'static str) -> Self {
        self.and(Check::Text(text))
    }

    pub(super) fn contains(self, text: &'static str) -> Self {
        self.and(Check::Contains(text))
    }

    pub(super) fn json(self, json: Value) -> Self {
        self.and(Check::Json(json))
    }

    pub(super) fn member(self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.and(Check::Member(pointer, value.into()))
    }

    pub(super) fn order(self, names: &'static [&'static str]) -> Self {
        self.and(Check::Order(names))
    }

    pub(super) fn ids(self, ids: &'static [&'static str]) -> Self {
        self.and(Check::Ids(ids))
    }

    pub(super) fn message(self, message: impl Into<String>) -> Self {
        self.and(Check::Message(message.into()))
    }

    pub(super) fn message_has(self, message: &'static str) -> Self {
        self.and(Check::MessageHas(message))
    }

    pub(super) fn header(self, name: &'static str, value: impl Into<String>) -> Self {
        self.and(Check::Header(name, value.into()))
    }

    pub(super) fn header_has(self, name: &'static str, text: &'static str) -> Self {
        self.and(Check::HeaderHas(name, text))
    }

    pub(super) fn no_header(self, name: &'static str) -> Self {
        self.and(Check::NoHeader(name))
    }

    pub(super) fn header_length(self, name: &'static str, length: usize) -> Self {
        self.and(Check::HeaderLength(name, length))
    }

    pub(super) fn kept(self, name: &'static str, pointer: &'static str) -> Self {
        self.and(Check::Kept(name, pointer))
    }
}

pub(super) fn ask(cites: &'static str, method: &'static str, target: impl Into<String>, status: u16) -> Row {
    let step = Step::Ask { method, target: target.into(), headers: Vec::new(), body: String::new() };
    Row::new(cites, step, status)
}

pub(super) fn get(cites: &'static str, target: impl Into<String>) -> Row {
    ask(cites, "GET", target, 200)
}

pub(super) fn post(cites: &'static str, target: impl Into<String>, status: u16) -> Row {
    ask(cites, "POST", target, status)
}

/// Creates job `id`.
pub(super) fn put(cites: &'static str, id: impl Into<String>, body: impl Into<String>, status: u16) -> Row {
    let step = Step::Ask {
        method: "PUT",
        target: format!("P/jobs/{}", id.into()),
        headers: vec![JSON],
        body: body.into(),
    };
    Row::new(cites, step, status)
}

pub(super) fn report(cites: &'static str, job: &'static str, task: &'static str, event: ReportEvent) -> Row {
    Row::new(cites, Step::Report { job, task, event }, 0)
}

pub(super) fn due(cites: &'static str, jobs: &[&'static str]) -> Row {
    Row::new(cites, Step::Due(jobs.to_vec()), 0)
}

pub(super) fn later() -> Row {
    Row::new("", Step::Later, 0)
}

/// The status of a job.
pub(super) fn is(cites: &'static str, id: &'static str, status: &'static str) -> Row {
    get(cites, format!("P/jobs/{id}")).member("/status", status)
}

pub(super) fn failed(message: &'static str) -> ReportEvent {
    ReportEvent::Failed(Failure {
        id: "RESULT_EXCEPTION".into(),
        time: Timestamp::from_millis(FAILURE_MILLIS),
        source: "W".into(),
        message: message.into(),
    })
}

pub(super) fn progress(percentage: f64) -> ReportEvent {
    ReportEvent::Progress(Percentage::from_number(percentage).unwrap())
}

/// A body with more members in front.
pub(super) fn with(members: &str) -> String {
    BODY.replacen('{', &format!("{{{members},"), 1)
}

/// A body whose task has these members.
pub(super) fn task(members: &str) -> String {
    format!("{{\"task\":{{{members}}}}}")
}
