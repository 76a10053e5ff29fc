//! Requests that are wrong in every way a client can think of: each has its own clear answer, none is a 500, none hangs.

use job_store_memory::MemoryStore;

use crate::client::{Connection, raw, request};
use crate::server::{BODY, JSON, Server};

/// A task with some members replaced or, when the value is empty, left out.
fn task(changes: &[(&str, &str)]) -> String {
    let mut members = vec![
        ("taskClassifier", "\"W\""),
        ("taskApiVersion", "1"),
        ("taskData", "\"x\""),
        ("taskPipe", "\"w-in\""),
    ];
    for (name, value) in changes {
        members.retain(|(known, _)| known != name);
        if !value.is_empty() {
            members.push((name, value));
        }
    }
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn job(changes: &[(&str, &str)]) -> String {
    format!("{{\"task\":{}}}", task(changes))
}

fn with(member: &str) -> String {
    BODY.replacen('{', &format!("{{{member},"), 1)
}

#[tokio::test]
async fn wrong_bodies_are_refused_with_what_is_wrong() {
    let deep = "[".repeat(100_000);
    let deep_object = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    let long = format!("\"{}\"", "n".repeat(256));
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "the body is empty"),
        ("  \n".into(), "the body is empty"),
        ("{".into(), "EOF while parsing an object at line 1 column 1"),
        ("{\"task\":{\n\"taskPipe\":}}".into(), "task.taskPipe: expected value at line 2 column 12"),
        ("{\"name\":\"x\" \"task\":1}".into(), "expected `,` or `}` at line 1 column 13"),
        ("nonsense".into(), "expected ident at line 1 column 2"),
        ("null".into(), "invalid type: null, expected an object"),
        ("1".into(), "invalid type: integer `1`, expected an object"),
        ("\"text\"".into(), "expected an object"),
        ("[]".into(), "invalid type: sequence, expected an object"),
        ("[\"n\",\"d\"]".into(), "expected an object"),
        (format!("{BODY}x"), "trailing characters at line 1 column"),
        (format!("{BODY}{BODY}"), "trailing characters"),
        (deep.clone(), "expected an object"),
        (format!("{{\"unknown\":{deep}"), "EOF while parsing"),
        (format!("{{\"parameters\":{}", "[".repeat(300)), "parameters"),
        ("{\"name\":\"\\ud800\"}".into(), "name:"),
        ("{\"name\":\"a\nb\"}".into(), "control character"),
        ("{\"name\":\"a\",\"name\":\"b\"}".into(), "duplicate field `name`"),
        ("{}".into(), "task has not been specified"),
        ("{\"task\":null}".into(), "task has not been specified"),
        ("{\"task\":[]}".into(), "task: invalid type: sequence, expected an object"),
        ("{\"task\":\"x\"}".into(), "task: invalid type: string \"x\", expected an object"),
        ("{\"task\":{}}".into(), "The task classifier has not been specified."),
        ("{\"type\":\"t\"}".into(), "Unknown job type ID: t"),
        (with("\"type\":\"t\""), "Specifying both typeId and task properties is not allowed."),
        (job(&[("taskClassifier", "")]), "The task classifier has not been specified."),
        (job(&[("taskClassifier", "null")]), "The task classifier has not been specified."),
        (job(&[("taskClassifier", "\"\"")]), "The task classifier has not been specified."),
        (job(&[("taskClassifier", "{}")]), "task.taskClassifier: an object is given, expected a string"),
        (job(&[("taskClassifier", "[1]")]), "task.taskClassifier: an array is given, expected a string"),
        (job(&[("taskClassifier", &long)]), "task.taskClassifier is 256 characters long: at most 255"),
        (job(&[("taskApiVersion", "")]), "The task api version has not been specified."),
        (job(&[("taskApiVersion", "null")]), "The task api version has not been specified."),
        (job(&[("taskApiVersion", "0")]), "The task api version has not been specified."),
        (job(&[("taskApiVersion", "0.9")]), "The task api version has not been specified."),
        (job(&[("taskApiVersion", "\"\"")]), "The task api version has not been specified."),
        (
            job(&[("taskApiVersion", "\"one\"")]),
            "task.taskApiVersion: \"one\" is given, expected a whole number",
        ),
        (job(&[("taskApiVersion", "true")]), "task.taskApiVersion: invalid type: boolean"),
        (
            job(&[("taskApiVersion", "2147483648")]),
            "task.taskApiVersion: 2147483648 is given, expected -2147483648",
        ),
        (job(&[("taskApiVersion", "1e300")]), "expected -2147483648 to 2147483647"),
        (job(&[("targetPipe", "\"\"")]), "The target queue name has not been specified."),
        (job(&[("taskPipe", "")]), "The task queue name has not been specified."),
        (job(&[("taskPipe", "\"\"")]), "The task queue name has not been specified."),
        (job(&[("taskPipe", &long)]), "task.taskPipe is 256 bytes long"),
        (job(&[("taskData", "")]), "The task data has not been specified."),
        (job(&[("taskData", "null")]), "The task data has not been specified."),
        (job(&[("taskData", "\"\"")]), "The task data has not been specified."),
        (job(&[("taskData", "1")]), "The taskData is null or empty, please ensure taskData is populated"),
        (job(&[("taskData", "[1]")]), "The taskData is null or empty"),
        (job(&[("taskData", "true")]), "The taskData is null or empty"),
        (job(&[("taskData", &deep_object)]), "task.taskData is nested too deeply: at most 64 levels"),
        (
            job(&[("taskData", "\"!!\""), ("taskDataEncoding", "\"base64\"")]),
            "The task data has not been specified.",
        ),
        (
            job(&[("taskData", "{}"), ("taskDataEncoding", "\"utf8\"")]),
            "Remove taskDataEncoding and try again",
        ),
        (
            job(&[("taskDataEncoding", "\"UTF8\"")]),
            "task.taskDataEncoding is \"UTF8\": expected utf8 or base64",
        ),
        (job(&[("taskDataEncoding", "1")]), "task.taskDataEncoding is \"1\": expected utf8 or base64"),
        (with(&format!("\"name\":{long}")), "name is 256 characters long: at most 255"),
        (with("\"name\":{}"), "name: an object is given, expected a string"),
        (with("\"name\":\"a\\u0000\""), "U+0000"),
        (with("\"description\":[]"), "description: an array is given"),
        (with("\"delay\":-1"), "delay is -1: expected 0 to 2147483647 seconds"),
        (with("\"delay\":null"), "delay is null"),
        (with("\"delay\":\"soon\""), "delay: \"soon\" is given"),
        (with("\"delay\":99999999999"), "delay: 99999999999 is given"),
        (with("\"delay\":{}"), "delay: invalid type: map"),
        (with("\"labels\":null"), "labels: invalid type: null"),
        (with("\"labels\":[]"), "labels: invalid type: sequence"),
        (with("\"labels\":{\"a b\":\"c\"}"), "A provided label name contains an invalid character"),
        (with("\"labels\":{\"\":\"c\"}"), "A provided label name contains an invalid character"),
        (with("\"labels\":{\"a\":{}}"), "labels.a: an object is given, expected a string"),
        (with(&format!("\"labels\":{{\"a\":{long}}}")), "labels.a is 256 characters long"),
        (with(&format!("\"labels\":{{{long}:\"a\"}}")), "… is 256 characters long"),
        (with("\"prerequisiteJobIds\":{}"), "prerequisiteJobIds: invalid type: map"),
        (with("\"prerequisiteJobIds\":[[]]"), "prerequisiteJobIds[0]: an array is given"),
        (with("\"prerequisiteJobIds\":[\"a\",\"b*\"]"), "prerequisiteJobIds[1]: The job identifier contains"),
        (
            with("\"prerequisiteJobIds\":[\",pc\"]"),
            "prerequisiteJobIds[0]: The job identifier has not been specified.",
        ),
        (with("\"prerequisiteJobIds\":[\"j\"]"), "j"),
        (with(&format!("\"prerequisiteJobIds\":[{long}]")), "longer than 48 characters"),
    ];
    assert!(cases.len() >= 60);
    let server = Server::with(job_server::Config::default(), std::sync::Arc::new(MemoryStore::new())).await;
    for (body, expected) in &cases {
        let answer = server.put("j", body).await;
        let shown: String = body.chars().take(100).collect();
        assert_eq!(answer.status, 400, "{shown}: {answer:?}");
        assert!(answer.message().contains(expected), "{shown}: {}", answer.message());
        assert!(answer.body.len() < 2_500, "{shown}");
    }
    let invalid_utf8 = [BODY.as_bytes(), b"\xff"].concat();
    let answer = request(server.address, "PUT", &Server::job_path("j"), &[JSON], &invalid_utf8).await;
    assert_eq!(answer.status, 400);
    let in_text =
        BODY.replacen("data", "dat\u{1}", 1).into_bytes().into_iter().map(|b| if b == 1 { 0xff } else { b });
    let answer =
        request(server.address, "PUT", &Server::job_path("j"), &[JSON], &in_text.collect::<Vec<_>>()).await;
    assert_eq!(answer.status, 400);
    let nothing = server.get("/job-service/v1/partitions/p/jobStats/count").await;
    assert_eq!(nothing.text(), "0", "nothing of it was stored");
}

#[tokio::test]
async fn wrong_targets_are_refused_with_what_is_wrong() {
    let server = Server::start().await;
    let p41 = "p".repeat(41);
    let j49 = "j".repeat(49);
    let jobs = "/job-service/v1/partitions/p/jobs";
    let cases: Vec<(&str, String, u16, &str)> = vec![
        ("GET", "/job-service/v1".into(), 404, "/openapi.yaml"),
        ("GET", "/job-service/v2/ping".into(), 404, "/job-service/v1/"),
        ("GET", "/job-service/v1/partitions//jobs".into(), 404, "nothing at this path"),
        ("GET", format!("{jobs}/j/unknown"), 404, "nothing at this path"),
        ("GET", format!("{jobs}/../../../etc/passwd"), 404, "nothing at this path"),
        ("POST", "/job-service/v1/partitions/p/jobs:frob".into(), 404, "nothing at this path"),
        (
            "GET",
            format!("/job-service/v1/partitions/{p41}/jobs"),
            400,
            "The partition ID is longer than 40 characters.",
        ),
        (
            "GET",
            "/job-service/v1/partitions/a.b/jobs".into(),
            400,
            "The partition ID contains one or more invalid",
        ),
        (
            "GET",
            "/job-service/v1/partitions/%2A/jobs/j".into(),
            400,
            "The partition ID contains one or more invalid",
        ),
        ("POST", "/job-service/v1/partitions/a:b/jobs:cancel".into(), 400, "The partition ID contains"),
        ("GET", format!("{jobs}/a*"), 400, "The job identifier contains one or more invalid characters."),
        ("PUT", format!("{jobs}/a%3Fb"), 400, "The job identifier contains one or more invalid characters."),
        ("PUT", format!("{jobs}/{j49}"), 400, "The job identifier is longer than 48 characters."),
        ("DELETE", format!("{jobs}/a%00"), 400, "The job identifier contains"),
        ("POST", format!("{jobs}/a,b/cancel"), 400, "The job identifier contains"),
        ("GET", format!("{jobs}/%zz"), 400, "not percent-encoded"),
        ("GET", format!("{jobs}/%e9"), 400, "not UTF-8"),
        ("GET", format!("{jobs}/%"), 400, "not percent-encoded"),
        ("GET", format!("{jobs}?limit=-1"), 400, "limit is \"-1\": expected a whole number from 0 to 10000"),
        ("GET", format!("{jobs}?limit=10001"), 400, "limit is \"10001\""),
        ("GET", format!("{jobs}?limit=x"), 400, "limit is \"x\""),
        ("GET", format!("{jobs}?limit=1.5"), 400, "limit is \"1.5\""),
        ("GET", format!("{jobs}?limit=99999999999999999999"), 400, "limit is"),
        ("GET", format!("{jobs}?offset=-1"), 400, "offset is \"-1\""),
        ("GET", format!("{jobs}?offset=2147483648"), 400, "offset is"),
        ("GET", format!("{jobs}?sort=name"), 400, "Invalid format for sort: name"),
        ("GET", format!("{jobs}?sort="), 400, "Invalid format for sort: "),
        ("GET", format!("{jobs}?sort=size:asc"), 400, "Invalid value for sort field: size:asc"),
        ("GET", format!("{jobs}?sort=name:up"), 400, "Invalid value for sort direction: up"),
        ("GET", format!("{jobs}?sort=labels.:asc"), 400, "Invalid format for label sort specified"),
        ("GET", format!("{jobs}?statusType=Done"), 400, "statusType is \"Done\": expected one of All"),
        ("GET", format!("{jobs}?after=x"), 400, "after is not a cursor"),
        ("GET", format!("{jobs}?filter="), 400, "Unable to parse filter"),
        (
            "GET",
            format!("{jobs}?filter=name"),
            400,
            "Unable to parse filter: character 5: expected an operator",
        ),
        ("GET", format!("{jobs}?filter=size==1"), 400, "Unsupported filter key specified: size"),
        ("GET", format!("{jobs}?filter=status==Foo"), 400, "unknown status"),
        ("GET", format!("{jobs}?filter=percentageComplete==x"), 400, "is not a number"),
        ("GET", format!("{jobs}?filter={}", "(".repeat(5_000)), 400, "nested deeper than 32"),
        ("GET", format!("{jobs}?filter=name=='x"), 400, "no closing '"),
        ("GET", format!("{jobs}?filter=%ff"), 400, "not UTF-8"),
        ("POST", format!("{jobs}:cancel?filter=nonsense"), 400, "Unable to parse filter"),
        ("POST", format!("{jobs}:delete?filter="), 400, "Unable to parse filter"),
        ("GET", "/job-service/v1/partitions/p/jobStats/count?filter=x".into(), 400, "Unable to parse filter"),
        ("GET", format!("{jobs}/j?wait=61"), 400, "wait is \"61\": expected a whole number from 0 to 60"),
        ("GET", format!("{jobs}/j?wait=x"), 400, "wait is \"x\""),
        ("GET", format!("{jobs}/j/tasks?path=0"), 400, "path: \"0\" is not a subtask number"),
        ("GET", format!("{jobs}/j/tasks?path=1..2"), 400, "path:"),
        ("GET", format!("{jobs}/j/tasks?path={}", "1.".repeat(40) + "1"), 400, "32 levels"),
        ("GET", format!("{jobs}/j/tasks?after=x"), 400, "after is \"x\""),
        ("GET", format!("{jobs}/j/failures?limit=20000"), 400, "limit is \"20000\""),
    ];
    for (method, target, status, expected) in &cases {
        let answer = request(server.address, method, target, &[JSON], b"").await;
        assert_eq!(answer.status, *status, "{method} {target}: {answer:?}");
        assert!(answer.message().contains(expected), "{method} {target}: {}", answer.message());
    }
}

#[tokio::test]
async fn wrong_headers_are_refused_with_what_is_wrong() {
    let server = Server::start().await;
    for (headers, status, expected) in [
        (&["Content-Type: text/plain"][..], 415, "expected application/json"),
        (&["Content-Type: application/xml"], 415, "expected application/json"),
        (&["Content-Type: application/json; charset=utf-16"], 415, "expected application/json in UTF-8"),
        (&["Content-Type: "], 415, "expected application/json"),
        (&[JSON, "Content-Encoding: br"], 415, "expected gzip, deflate or none"),
        (&[JSON, "Content-Encoding: gzip, gzip"], 415, "more than one coding"),
        (&[JSON, "Content-Encoding: gzip"], 400, "not what its Content-Encoding says"),
        (&[JSON, "Content-Encoding: deflate"], 400, "not what its Content-Encoding says"),
        (&[JSON, "Host: other"], 400, "exactly one Host header"),
    ] {
        let answer = request(server.address, "PUT", &Server::job_path("j"), headers, BODY.as_bytes()).await;
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert!(answer.message().contains(expected), "{headers:?}: {}", answer.message());
    }
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    let server = Server::start().await;
    let cases: &[(&str, &[u16])] = &[
        ("GARBAGE\r\n\r\n", &[400]),
        ("GET\r\n\r\n", &[400]),
        ("GET /\r\n\r\n", &[400]),
        ("GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: \u{1}\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n", &[400]),
        ("GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n", &[400]),
        // HTTP/2 is not spoken: the connection ends.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[505]),
        ("CONNECT host:80 HTTP/1.1\r\nHost: host\r\n\r\n", &[405]),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", &[404, 405]),
        ("GET http://h/job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n", &[200]),
        (
            "PUT /job-service/v1/partitions/p/jobs/j HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
            &[400],
        ),
        (
            "PUT /job-service/v1/partitions/p/jobs/j HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
            &[400],
        ),
        (
            "PUT /job-service/v1/partitions/p/jobs/j HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            &[400],
        ),
        (
            "PUT /job-service/v1/partitions/p/jobs/j HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
            &[400],
        ),
        (
            "PUT /job-service/v1/partitions/p/jobs/j HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            &[400],
        ),
        (
            "PUT /job-service/v1/partitions/p/jobs/j HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
            &[400],
        ),
    ];
    for (bytes, statuses) in cases {
        let answer = raw(server.address, bytes).await;
        let expected =
            answer.as_ref().map_or(statuses.is_empty(), |answer| statuses.contains(&answer.status));
        assert!(expected, "{bytes:?}: {answer:?}");
    }
    assert_eq!(server.get("/job-service/v1/ping").await.status, 200);
}

#[tokio::test]
async fn heads_that_cannot_be_read_are_refused_with_their_causes() {
    let server = Server::start().await;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let with =
        |header: &str| format!("GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n");
    let jobs = "/job-service/v1/partitions/p/jobs";
    for (bytes, status, says) in [
        (get(&format!("{jobs}?filter=name==\"a\"")), 400, "%22"),
        (get(&format!("{jobs}?filter=percentageComplete>5")), 400, "percent-encoded"),
        (get(&format!("{jobs}?filter=percentageComplete<5")), 400, "percent-encoded"),
        (get(&format!("{jobs}/<script>")), 400, "percent-encoded"),
        (get(&format!("{jobs}?filter=name==a b")), 400, "without spaces"),
        (get(&format!("{jobs}?filter=a\u{1}")), 400, "percent-encoded"),
        (with("no colon"), 400, "NAME: VALUE"),
        (with("A : b"), 400, "NAME: VALUE"),
        (with("A: b\0"), 400, "NAME: VALUE"),
        (with("Content-Length: -1"), 400, "Content-Length"),
        (with("Content-Length: 1\r\nContent-Length: 2"), 400, "Content-Length"),
        (with("Transfer-Encoding: gzip"), 400, "Transfer-Encoding"),
        (with(&"A: b\r\n".repeat(1_000)), 431, "at most"),
        (get(&format!("/{}", "x".repeat(60_000))), 431, "of a URL are allowed"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505, "HTTP/1.1"),
        ("GET / HTTP/9\r\n\r\n".to_owned(), 400, "HTTP/1.1"),
        ("\u{16}\u{3}\u{1} hello\r\n\r\n".to_owned(), 400, "not HTTP"),
    ] {
        let answer = raw(server.address, &bytes).await.unwrap_or_else(|| panic!("no answer to {bytes:.80}"));
        assert_eq!(answer.status, status, "{bytes:.80}");
        assert!(answer.message().contains(says), "{bytes:.80}: {}", answer.message());
        assert_eq!(answer.header("caf-correlation-id").map(str::len), Some(36), "{bytes:.80}");
    }
    // One that makes sense, and then one that does not, over the same connection.
    let both = get("/job-service/v1/ping") + &get("/a<b");
    let mut connection = Connection::open(server.address).await;
    connection.send(both).await;
    assert_eq!(connection.answer(false).await.unwrap().status, 200);
    assert_eq!(connection.answer(false).await.unwrap().status, 400);
}
