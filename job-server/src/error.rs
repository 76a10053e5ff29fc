//! What a client is told when a request fails: a status, and a sentence as `{"message": ...}`.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER};
use job_core::{Error, ErrorKind};

use crate::reply::{Answer, json};

/// Longest line of a message that is sent; what a client sent wrong is echoed no further than this.
const LINE_CHARACTERS_MAX: usize = 500;
/// Most lines: those of a job type's errors, and what is said about them.
const MESSAGE_LINES_MAX: usize = 24;

/// A failed request.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
    closes: bool,
    source: Option<Error>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), header: None, closes: false, source: None }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The server has too much to do: the same request may succeed in a second.
    pub(crate) fn overloaded(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).in_a_second()
    }

    fn in_a_second(self) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The path exists, but not with this method.
    pub(crate) fn method_not_allowed(allowed: &str) -> Self {
        let error = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("this path does not have that method: expected one of {allowed}"),
        );
        match HeaderValue::from_str(allowed) {
            Ok(value) => error.with_header(ALLOW, value),
            Err(_) => error,
        }
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The rest of the request cannot be made sense of, so the connection ends with the answer.
    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What the log shows: more than the client is told.
    pub(crate) fn cause(&self) -> Option<&Error> {
        self.source.as_ref()
    }

    pub(crate) fn into_answer(self) -> Answer {
        let lines: Vec<Cow<'_, str>> = self.message.lines().take(MESSAGE_LINES_MAX).map(cut).collect();
        let message = lines.join("\n");
        let mut answer = json(self.status, &serde_json::json!({ "message": message }));
        if let Some((name, value)) = self.header {
            answer.headers_mut().insert(name, value);
        }
        if self.closes {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

fn cut(line: &str) -> Cow<'_, str> {
    match line.char_indices().nth(LINE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]).into(),
        None => line.into(),
    }
}

/// The one table from what went wrong to a status.
fn status_of(kind: ErrorKind, transient: bool) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists => StatusCode::FORBIDDEN,
        ErrorKind::Invalid | ErrorKind::IllegalTransition => StatusCode::BAD_REQUEST,
        ErrorKind::LimitReached => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable | ErrorKind::Conflict => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        _ if transient => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let status = status_of(error.kind(), error.is_transient());
        let message = error.message().to_owned();
        let mut converted = Self::new(status, message);
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            converted = converted.in_a_second();
        }
        converted.source = Some(error);
        converted
    }
}

impl From<job_core::IdError> for ApiError {
    fn from(error: job_core::IdError) -> Self {
        Self::bad_request(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use job_core::RetryClass;

    #[test]
    fn every_kind_of_error_has_its_status() {
        let table = [
            (ErrorKind::NotFound, 404),
            (ErrorKind::AlreadyExists, 403),
            (ErrorKind::Conflict, 503),
            (ErrorKind::LimitReached, 429),
            (ErrorKind::Invalid, 400),
            (ErrorKind::IllegalTransition, 400),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::Unsupported, 501),
            (ErrorKind::Corrupt, 500),
            (ErrorKind::Internal, 500),
        ];
        for (kind, status) in table {
            let error = ApiError::from(Error::new(kind, "why"));
            assert_eq!(error.status().as_u16(), status, "{kind:?}");
            assert_eq!(error.message(), "why");
            let answer = error.into_answer();
            assert_eq!(answer.headers().contains_key(RETRY_AFTER), [429, 503].contains(&status), "{kind:?}");
            assert_eq!(answer.body().as_ref(), br#"{"message":"why"}"#);
        }
    }

    #[test]
    fn what_may_succeed_later_is_never_a_500() {
        let error = Error::new(ErrorKind::Internal, "why").with_retry(RetryClass::Transient);
        assert_eq!(ApiError::from(error).status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn an_echo_is_cut_and_lines_are_not_cut_for_being_many() {
        let answer = ApiError::bad_request("é".repeat(10_000)).into_answer();
        assert!(answer.body().len() < 2_000);
        let lines = format!("{}\n", "x".repeat(200)).repeat(20);
        let answer = ApiError::bad_request(lines).into_answer();
        assert_eq!(answer.body().iter().filter(|byte| **byte == b'x').count(), 4_000);
        assert!(ApiError::bad_request("x\n".repeat(10_000)).into_answer().body().len() < 200);
    }
}
