//! `parse-url`: the parts of a URL, as Java's `URL` class finds them.

use std::rc::Rc;

use crate::error::{Outcome, fail};
use crate::eval::{self, Evaluator, MEMBER_BYTES};
use crate::value::{Name, Object, Val};

use super::text_of;

/// The schemes that Java knows.
const SCHEMES: [&str; 8] = ["http", "https", "ftp", "file", "jar", "mailto", "jrt", "jmod"];

/// The parts of a URL as they stand in its text.
#[derive(Debug, Default)]
struct Parts<'t> {
    scheme: String,
    userinfo: Option<&'t str>,
    host: &'t str,
    port: Option<i64>,
    path: &'t str,
    query: Option<&'t str>,
    fragment: Option<&'t str>,
}

/// Takes a URL apart; the error is a message.
fn take_apart(text: &str) -> Result<Parts<'_>, String> {
    let text = text.trim_matches(|c| c <= ' ');
    let scheme_end = text.find([':', '/', '?', '#']).filter(|at| text[*at..].starts_with(':'));
    let Some((scheme, rest)) = scheme_end.map(|at| (&text[..at], &text[at + 1..])) else {
        return Err(format!("no protocol: {text}"));
    };
    let mut parts = Parts { scheme: scheme.to_ascii_lowercase(), ..Parts::default() };
    if !SCHEMES.contains(&parts.scheme.as_str()) {
        return Err(format!("unknown protocol: {}", parts.scheme));
    }
    let mut rest = rest;
    if let Some((before, fragment)) = rest.split_once('#') {
        (rest, parts.fragment) = (before, Some(fragment));
    }
    if let Some((before, query)) = rest.split_once('?') {
        (rest, parts.query) = (before, Some(query));
    }
    if let Some(after) = rest.strip_prefix("//") {
        let end = after.find('/').unwrap_or(after.len());
        rest = &after[end..];
        authority(&after[..end], &mut parts)?;
    }
    parts.path = rest;
    Ok(parts)
}

/// `userinfo@host:port`, where the host may be in brackets.
fn authority<'t>(text: &'t str, parts: &mut Parts<'t>) -> Result<(), String> {
    let mut host = text;
    if let Some((userinfo, after)) = text.split_once('@') {
        (parts.userinfo, host) = (Some(userinfo), after);
    }
    let port_from = match host.strip_prefix('[').and_then(|inner| inner.find(']')) {
        Some(inner_end) => inner_end + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (host, port) = host.split_at(port_from);
    parts.host = host;
    match port.strip_prefix(':') {
        Some("") => {}
        Some(port) => match port.parse::<i32>() {
            Ok(port) if port >= -1 => parts.port = Some(i64::from(port)).filter(|port| *port >= 0),
            _ => return Err(format!("invalid port: {port}")),
        },
        None if port.is_empty() => {}
        None => return Err(format!("invalid authority: {text}")),
    }
    Ok(())
}

/// Undoes the encoding of forms: `+` is a space, `%` begins a byte.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let byte = rest
                    .get(..2)
                    .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
                    .and_then(|digits| std::str::from_utf8(digits).ok())
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let Some(byte) = byte else {
                    return Err("illegal characters in an escape (%) pattern".to_owned());
                };
                bytes.push(byte);
                rest = &rest[2..];
            }
            byte => bytes.push(*byte),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The parameters of a query: an array of values for each name.
fn parameters<'a>(evaluator: &mut Evaluator<'a>, query: &str) -> Outcome<Result<Val<'a>, String>> {
    let mut names: Vec<Rc<String>> = Vec::new();
    let mut values: Vec<Vec<Val<'a>>> = Vec::new();
    let mut positions = std::collections::HashMap::new();
    // Empty parts at the end do not count, as when Java splits a string.
    let mut query = query;
    while let Some(shorter) = query.strip_suffix('&') {
        query = shorter;
    }
    for pair in query.split('&').take_while(|_| !query.is_empty()) {
        evaluator.budget.allocate(3 * MEMBER_BYTES + pair.len())?;
        // A parameter that begins with `=` has no name but itself.
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => (decode(name), decode(value)),
            _ => (Ok(pair.to_owned()), Ok(String::new())),
        };
        let (name, value) = match (name, value) {
            (Ok(name), Ok(value)) => (Rc::new(name), value),
            (Err(message), _) | (_, Err(message)) => return Ok(Err(message)),
        };
        let at = *positions.entry(Rc::clone(&name)).or_insert(names.len());
        if at == names.len() {
            names.push(name);
            values.push(Vec::new());
        }
        let value = if value.is_empty() { Val::Null } else { value.into() };
        if let Some(values) = values.get_mut(at) {
            values.push(value);
        }
    }
    let mut object = Object::with_capacity(names.len());
    for (name, values) in names.into_iter().zip(values) {
        object.push(Name::Text(name), eval::array(values)?);
    }
    eval::object(object).map(Ok)
}

pub(super) fn parse_url<'a>(evaluator: &mut Evaluator<'a>, value: &Val<'a>) -> Outcome<Val<'a>> {
    if value.is_null() {
        return Ok(Val::Null);
    }
    let text = text_of(value, &mut evaluator.budget)?;
    let refuse = |reason: String| fail(format!("Can't parse {text}: {reason}"));
    let parts = match take_apart(&text) {
        Ok(parts) => parts,
        Err(reason) => return refuse(reason),
    };
    evaluator.budget.allocate(8 * MEMBER_BYTES + text.len())?;
    let mut object = Object::with_capacity(8);
    put(&mut object, "host", Some(parts.host));
    if let Some(port) = parts.port {
        object.push(Name::Str("port"), Val::Int(port));
    }
    put(&mut object, "path", Some(parts.path));
    put(&mut object, "scheme", Some(&parts.scheme));
    put(&mut object, "query", parts.query);
    if let Some(query) = parts.query.filter(|query| !query.is_empty()) {
        match parameters(evaluator, query)? {
            Ok(parameters) => object.push(Name::Str("parameters"), parameters),
            Err(reason) => return refuse(reason),
        }
    }
    // A fragment is the one part that counts even when it is empty.
    if let Some(fragment) = parts.fragment {
        object.push(Name::Str("fragment"), fragment.to_owned().into());
    }
    put(&mut object, "userinfo", parts.userinfo);
    eval::object(object)
}

/// Adds a part that the URL has.
fn put(object: &mut Object<'_>, name: &'static str, part: Option<&str>) {
    if let Some(part) = part.filter(|part| !part.is_empty()) {
        object.push(Name::Str(name), part.to_owned().into());
    }
}
