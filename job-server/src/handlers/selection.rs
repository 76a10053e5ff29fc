//! Which jobs a request means, and which page of them.

use hyper::header::{HeaderValue, LINK};
use job_core::query::{PAGE_SIZE_MAX, Selection, parse_filter};
use percent_encoding::utf8_percent_encode;

use super::{Api, Call};
use crate::error::ApiError;
use crate::query_string::UNRESERVED;
use crate::reply::Answer;

/// Reads the parameters that select jobs. Which of them an operation has, the caller says.
pub(super) fn selection(call: &Call, with_status: bool, with_labels: bool) -> Result<Selection, ApiError> {
    let query = &call.query;
    let status_type = match query.get("statusType").filter(|text| with_status && !text.is_empty()) {
        Some(text) => text.parse()?,
        None => Default::default(),
    };
    let labels_exist = match query.get("labelExist").filter(|_| with_labels) {
        Some(text) => label_names(text),
        None => Vec::new(),
    };
    Ok(Selection {
        id_prefix: query.get("jobIdStartsWith").unwrap_or_default().to_owned(),
        status_type,
        labels_exist,
        filter: query.get("filter").map(parse_filter).transpose()?,
    })
}

/// Names are separated by commas and not trimmed; empty ones at the end do not count.
fn label_names(text: &str) -> Vec<String> {
    match text.trim_end_matches(',') {
        "" => Vec::new(),
        names => names.split(',').map(str::to_owned).collect(),
    }
}

/// How many entries a page has; absent or 0 is the configured size.
pub(super) fn page_limit(api: &Api, call: &Call) -> Result<u32, ApiError> {
    let limit = call.query.number("limit", PAGE_SIZE_MAX)?;
    Ok(limit.filter(|limit| *limit > 0).unwrap_or(api.page_size))
}

/// Points to the page behind `after`, with the same other parameters (RFC 8288).
pub(super) fn next_link(call: &Call, after: &str, answer: &mut Answer) {
    let mut url = format!("<{}?", call.uri.path());
    for part in call.uri.query().unwrap_or_default().split('&') {
        let name = part.split('=').next().unwrap_or_default();
        if !matches!(name, "" | "after" | "offset") {
            url.push_str(part);
            url.push('&');
        }
    }
    url.push_str("after=");
    url.extend(utf8_percent_encode(after, UNRESERVED));
    url.push_str(">; rel=\"next\"");
    // A target that came in a request head can go out in one.
    if let Ok(value) = HeaderValue::from_str(&url) {
        answer.headers_mut().insert(LINK, value);
    }
}
