//! Malformed bodies, the same in every run and for every queue.

use crate::java::base64;

/// Bytes that are no task message, whoever reads them.
pub struct Body {
    pub name: String,
    pub bytes: Vec<u8>,
    /// What the reason for setting it aside contains.
    pub reason: &'static str,
}

type WrongId = (&'static str, fn() -> String);

/// Ids of no task, by what is wrong with them.
pub const WRONG_IDS: [WrongId; 13] = [
    ("id empty", || String::new()),
    ("id without job", || "acme:".into()),
    ("id without partition", || ":job1.1".into()),
    ("id with a word", || "acme:job1.x".into()),
    ("id with zero", || "acme:job1.0".into()),
    ("id with a negative number", || "acme:job1.-1".into()),
    ("id with too large a number", || "acme:job1.2147483648".into()),
    ("id with an enormous number", || "acme:job1.99999999999999999999".into()),
    ("id with a star alone", || "acme:job1.*".into()),
    ("id with a dot at its end", || "acme:job1.1.".into()),
    ("id with a long partition", || format!("{}:job1.1", "p".repeat(41))),
    ("id with a long job", || format!("acme:{}.1", "j".repeat(49))),
    ("id too deep", || format!("acme:job1{}", ".1".repeat(33))),
];

/// A message whose members are the usual ones but for `replaced`, each a name and its JSON; a name with a dot is one of the
/// tracking information or the source. Of several for one member the last counts. `name` doubles as the task's id.
pub fn message(name: &str, to: &str, replaced: &[(&str, &str)]) -> String {
    let replacement = |member: &str| {
        replaced.iter().rev().find(|(known, _)| *known == member).map(|(_, value)| (*value).to_owned())
    };
    let object = |member: &str, usual: &[(&str, String)]| {
        let prefix = if member.is_empty() { String::new() } else { format!("{member}.") };
        let written: Vec<String> = usual
            .iter()
            .map(|(known, usual)| {
                format!(
                    "{known:?}:{}",
                    replacement(&format!("{prefix}{known}")).unwrap_or_else(|| usual.clone())
                )
            })
            .collect();
        format!("{{{}}}", written.join(","))
    };
    let null = || "null".to_owned();
    let is_replaced = |member: &str| replaced.iter().any(|(known, _)| known.starts_with(member));
    let tracking = [
        ("jobTaskId", r#""acme:other.1""#.to_owned()),
        ("lastStatusCheckTime", "1732406405123".to_owned()),
        ("statusCheckIntervalMillis", "5000".to_owned()),
        ("statusCheckUrl", null()),
        ("trackingPipe", null()),
        ("trackTo", null()),
    ];
    let source = [("name", r#""worker""#.to_owned()), ("version", r#""1""#.to_owned())];
    let members = [
        ("version", "3".to_owned()),
        ("taskId", format!("{name:?}")),
        ("taskClassifier", r#""W""#.to_owned()),
        ("taskApiVersion", "1".to_owned()),
        ("taskData", format!("{:?}", base64("{}"))),
        ("taskStatus", r#""NEW_TASK""#.to_owned()),
        ("context", "{}".to_owned()),
        ("to", format!("{to:?}")),
        ("tracking", if is_replaced("tracking.") { object("tracking", &tracking) } else { null() }),
        ("sourceInfo", if is_replaced("sourceInfo.") { object("sourceInfo", &source) } else { null() }),
        ("priority", null()),
        ("correlationId", null()),
    ];
    object("", &members)
}

/// At least two hundred, no two alike: by hand, cut, damaged, too deep, too large, and with members of wrong types. `to` is
/// the queue they are put on.
pub fn unreadable(to: &str) -> Vec<Body> {
    [by_hand(to), cut(to), damaged(to), deep_and_large(), wrong_members(to)].into_iter().flatten().collect()
}

fn body(name: impl Into<String>, bytes: impl Into<Vec<u8>>, reason: &'static str) -> Body {
    Body { name: name.into(), bytes: bytes.into(), reason }
}

fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// With every kind of member.
fn sample(to: &str) -> String {
    message("sample", to, &[("tracking.trackTo", r#""out""#), ("sourceInfo.version", r#""2""#)])
}

fn by_hand(to: &str) -> Vec<Body> {
    let good = sample(to);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        body("nothing", "", "EOF"),
        body("white space", " \n\t ", "EOF"),
        body("null", "null", "null"),
        body("a truth value", "true", "invalid type"),
        body("a number", "12", "invalid type"),
        body("a text", r#""message""#, "invalid type"),
        body("an empty list", "[]", ""),
        body("a list of a message", format!("[{good}]"), ""),
        body("an empty object", "{}", "taskId"),
        body("a closing brace", "}", "expected value"),
        body("without its beginning", good.as_bytes()[1..].to_vec(), ""),
        body("UTF-16", utf16, ""),
        body("a byte order mark", bytes(&[b"\xef\xbb\xbf", good.as_bytes()]), "expected value"),
        body("invalid UTF-8 in a value", bytes(&[br#"{"taskId":"a"#, b"\xff\xfe", br#"b"}"#]), "unicode"),
        body("a cut UTF-8 sequence", bytes(&[br#"{"taskId":"a"#, b"\xe2\x82", br#"b"}"#]), "unicode"),
        body("invalid UTF-8 in a name", bytes(&[br#"{"task"#, b"\xc0\xaf", br#"Id":"a"}"#]), "unicode"),
        body("half a surrogate pair", r#"{"taskId":"\ud800"}"#, ""),
        body("a raw line break in a text", "{\"taskId\":\"a\nb\"}", "control character"),
        body("NUL bytes", vec![0; 100], "expected value"),
        body("random bytes", (0..=255).rev().collect::<Vec<u8>>(), "expected value"),
        body("XML", "<message taskId='x'/>", "expected value"),
        body("single quotes", "{'taskId':'x'}", "key must be a string"),
        body("a trailing comma", r#"{"taskId":"x",}"#, "trailing comma"),
        body("a comment", r#"{/* x */"taskId":"x"}"#, "key must be a string"),
        body("not a number", r#"{"taskId":"x","taskApiVersion":NaN}"#, "expected value"),
        body("a gzip stream", b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), "expected value"),
    ]
}

/// At every fourth byte.
fn cut(to: &str) -> Vec<Body> {
    let good = sample(to);
    (1..good.len()).step_by(4).map(|at| body(format!("cut at {at}"), &good.as_bytes()[..at], "EOF")).collect()
}

/// A byte that is in no UTF-8 text, at every twelfth place.
fn damaged(to: &str) -> Vec<Body> {
    let good = sample(to);
    (0..good.len())
        .step_by(12)
        .map(|at| {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = 0xff;
            body(format!("damaged at {at}"), bytes, "")
        })
        .collect()
}

fn deep_and_large() -> Vec<Body> {
    let nested = |open: &str, close: &str, depth: usize| {
        format!(r#"{{"taskId":"x","context":{}1{}}}"#, open.repeat(depth), close.repeat(depth))
    };
    vec![
        body("deep", nested("[", "]", 200), "invalid type"),
        body("very deep", nested("[", "]", 100_000), "invalid type"),
        body("deep objects", nested(r#"{"a":"#, "}", 200), "recursion limit"),
        body("very deep objects", nested(r#"{"a":"#, "}", 100_000), "recursion limit"),
        body("open brackets only", "[".repeat(100_000), ""),
        body("open braces only", r#"{"a":"#.repeat(100_000), ""),
        body("a text without end", format!(r#"{{"taskId":"{}"#, "x".repeat(2 << 20)), "EOF"),
        body("a number without end", format!(r#"{{"taskId":"x","version":{}"#, "9".repeat(1 << 20)), ""),
        body("a megabyte of blanks", " ".repeat(1 << 20), "EOF"),
        body("a megabyte of NULs", vec![0; 1 << 20], "expected value"),
    ]
}

/// What no reader takes for a text.
const NO_TEXT: &[&str] = &["5", "true", "{}", r#"["a"]"#];
/// What no reader takes for a whole number of 32 bits.
const NO_NUMBER: &[&str] = &[r#""one""#, "[3]", "{}", "1e400"];

/// Members, and values that none of them can have.
const WRONG_MEMBERS: &[(&str, &[&str])] = &[
    ("taskId", &["null", "5", "true", "{}", r#"["a"]"#]),
    ("version", NO_NUMBER),
    ("taskClassifier", NO_TEXT),
    ("taskApiVersion", NO_NUMBER),
    ("taskApiVersion", &["3000000000"]),
    ("taskData", &[r#""%%%%""#, r#""e30""#, r#"{"a":1}"#, "7", "true", r#"["a"]"#]),
    ("taskStatus", &[r#""DONE""#, r#""new_task""#, "{}", "[]", "true", "99"]),
    ("context", &["[]", "7", "true", r#""a""#, r#"{"a":1}"#, r#"{"a":"%"}"#]),
    ("to", NO_TEXT),
    ("tracking", &[r#""acme:job1""#, "7", "true"]),
    ("tracking.jobTaskId", NO_TEXT),
    ("tracking.lastStatusCheckTime", &[r#""yesterday""#, "{}", "[]"]),
    ("tracking.statusCheckIntervalMillis", &[r#""soon""#, "{}", "[]"]),
    ("tracking.statusCheckUrl", NO_TEXT),
    ("tracking.trackingPipe", NO_TEXT),
    ("tracking.trackTo", NO_TEXT),
    ("sourceInfo", &[r#""worker""#, "7", "true"]),
    ("sourceInfo.name", NO_TEXT),
    ("sourceInfo.version", NO_TEXT),
    ("priority", &[r#""high""#, "{}", "[1]", "true", "1.5"]),
    ("correlationId", NO_TEXT),
];

fn wrong_members(to: &str) -> Vec<Body> {
    let mut bodies = Vec::new();
    for (member, values) in WRONG_MEMBERS {
        for value in *values {
            let name = format!("{member} {value}").replace('"', "'");
            bodies.push(body(&name, message(&name, to, &[(member, value)]), ""));
        }
    }
    bodies
}
