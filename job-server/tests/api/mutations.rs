//! Inputs made wrong at random: from those of the corpora, by changes that a seed decides. Nothing may panic, hang or be
//! the server's fault. The same few thousand inputs each time; `JOB_CAMPAIGN=1` goes on for ten minutes with each target,
//! another number for that many seconds.
#![expect(clippy::print_stdout, reason = "how much was tried is for whoever asks the test runner to show it")]

use std::sync::Arc;
use std::time::Duration;

use job_core::job_type::{JobType, Surroundings};
use job_core::message::TaskMessage;
use job_core::query::parse_filter;
use job_core::{Clock as _, JobKey, SystemClock};
use job_server::Config;
use job_store_memory::MemoryStore;
use serde_json::{Value, json};

use crate::client::Connection;
use crate::server::{BODY, Server};

/// How many inputs each target gets, and how long it gets them in a campaign.
const INPUTS: u64 = 4_000;
const CAMPAIGN: Duration = Duration::from_secs(600);
/// How long one input may take, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest input.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Random numbers that a seed decides: xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Pieces that grammars take notice of.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "'",
    "\\",
    ",",
    ";",
    ":",
    ".",
    "*",
    "$",
    "==",
    "!=",
    "=in=",
    "=out=",
    "=gt=",
    " and ",
    " or ",
    "\n",
    "\n  ",
    "- ",
    "&a ",
    "*a",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "99999999999999999999",
    "0.1",
    "\\u0000",
    "\\ud800",
    "é",
    "\u{1F600}",
    "\0",
    "%00",
    "let ",
    "def f(x) ",
    "$f",
    "for ",
    "if (",
    "else ",
    "error(",
    "labels.a",
    "id",
    "status",
    "taskData",
    "taskDataEncoding",
    "parameters",
    "type",
    "tracking",
    "!!binary ",
    "<<: ",
    "|",
];

/// One of the seeds with some changes.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(5) {
        let at = random.below(input.len() + 1);
        let until = (at + random.below(20)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 => drop(input.drain(at..until)),
            2 => {
                let piece = input[at..until].repeat(1 + random.below(200));
                drop(input.splice(at..at, piece));
            }
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let piece = other[from..(from + random.below(60)).min(other.len())].to_vec();
                drop(input.splice(at..until, piece));
            }
            4 => input.truncate(at),
            _ => drop(input.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
        }
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}

/// The numbers of the inputs that are to be tried.
fn numbers() -> impl Iterator<Item = u64> {
    #[expect(clippy::disallowed_methods, reason = "the test runner says how long to search")]
    let campaign = std::env::var("JOB_CAMPAIGN").ok();
    let clock = SystemClock::new();
    let end = campaign.map(|seconds| {
        let seconds = seconds.parse().ok().filter(|seconds| *seconds > 1).map(Duration::from_secs);
        clock.now().saturating_add(seconds.unwrap_or(CAMPAIGN))
    });
    (1..).take_while(move |number| end.map_or(*number <= INPUTS, |end| clock.now() < end))
}

/// Tries `target` on one input after another; the seed is the input's number, so that a failure can be repeated.
fn search(name: &str, seeds: &[Vec<u8>], target: impl Fn(&[u8])) {
    let clock = SystemClock::new();
    let mut tried = 0;
    for number in numbers() {
        tried = number;
        let mut random = Random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let input = mutated(seeds, &mut random);
        let begun = clock.now();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&input)));
        let shown = || String::from_utf8_lossy(&input).chars().take(2_000).collect::<String>();
        assert!(outcome.is_ok(), "{name}, input {number} panics: {}", shown());
        let took = clock.now().since(begun);
        assert!(took <= PATIENCE, "{name}, input {number} takes {took:?}: {}", shown());
    }
    println!("{name}: {tried} inputs");
    assert!(tried >= INPUTS, "{name}: only {tried} inputs");
}

fn texts(corpus: &str, of: impl Fn(&Value) -> Option<String>) -> Vec<Vec<u8>> {
    let lines = corpus.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| of(&line).map(String::into_bytes)).collect()
}

fn whole(line: &Value, member: &str) -> Option<String> {
    line[member].as_str().map(str::to_owned)
}

#[test]
fn filters() {
    let mut seeds = texts(include_str!("../corpus/filters.jsonl"), |line| {
        let target = whole(line, "target")?;
        let filter = target.split_once("filter=")?.1.to_owned();
        Some(percent_encoding::percent_decode_str(&filter).decode_utf8_lossy().into_owned())
    });
    for right in
        ["id==a*;name!='x y'", "(status=in=(Active,Failed) or labels.a:b=gt=c),percentageComplete<50.5"]
    {
        seeds.push(right.into());
    }
    search("filter", &seeds, |input| {
        if let Err(error) = parse_filter(&String::from_utf8_lossy(input)) {
            assert!(error.message().chars().count() < 500, "{}", error.message());
        }
    });
}

#[test]
fn definitions() {
    let mut seeds = texts(include_str!("../corpus/definitions.jsonl"), |line| whole(line, "yaml"));
    seeds.push(
        b"configurationProperties: [{name: a, description: b}]\nconstants: {c: d}\njobParametersSchema:\n  type: object\n  \
          properties: {a: {type: string, pattern: '^a+$'}}\ntaskScript: |\n  {\"taskClassifier\": \"W\"}\n"
            .to_vec(),
    );
    let key = JobKey::parse("p", "j").unwrap();
    search("definition", &seeds, |input| {
        if let Ok(job_type) = JobType::load("t", &String::from_utf8_lossy(input), &|_| Some("x".into())) {
            for parameters in [Value::Null, json!({"a": ["b", 1, null]})] {
                let _ = job_type.task(&key, &parameters, &Surroundings::fixed());
            }
        }
    });
}

#[test]
fn scripts() {
    let mut seeds = texts(include_str!("../corpus/scripts.jsonl"), |line| {
        serde_json::from_str(whole(line, "yaml")?.strip_prefix("taskScript: ")?).ok()
    });
    for right in [
        "let x = .parameters.a def f(y) $y + 1 {\"b\" : [for ($x) f(number(.)) if (. > 0)], * - c : .}",
        "def f(n) if ($n > 0) f($n - 1) else \"done\" f(size(to-json(.)))",
        "{for (.parameters) .key : test(string(.value), \"^a*b$\")}",
    ] {
        seeds.push(right.into());
    }
    let key = JobKey::parse("p", "j").unwrap();
    search("script", &seeds, |input| {
        let yaml =
            json!({"jobParametersSchema": {}, "taskScript": String::from_utf8_lossy(input)}).to_string();
        if let Ok(job_type) = JobType::load("t", &yaml, &|_| None) {
            for parameters in [Value::Null, json!({"a": ["1", 2, null, {"b": "aaab"}]})] {
                let _ = job_type.task(&key, &parameters, &Surroundings::fixed());
            }
        }
    });
}

#[test]
fn task_messages() {
    let seeds: Vec<Vec<u8>> = [
        &include_bytes!("../../../job-core/tests/golden/message_first.json")[..],
        include_bytes!("../../../job-core/tests/golden/message_report.json"),
        include_bytes!("../../../job-core/tests/golden/message_result.json"),
        include_bytes!("../../../job-core/tests/golden/minimal_message.json"),
        include_bytes!("../../../job-core/tests/golden/reports_batch.json"),
    ]
    .map(<[u8]>::to_vec)
    .into();
    search("task message", &seeds, |input| {
        if let Ok(message) = TaskMessage::decode(input) {
            let again = TaskMessage::decode(&message.encode()).expect("what was written can be read");
            assert_eq!(again, message);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_bodies() {
    let mut seeds = texts(include_str!("../corpus/bodies.jsonl"), |line| whole(line, "body"));
    let extra =
        r#""name":"n","labels":{"a":"b"},"prerequisiteJobIds":["k,pc"],"delay":1,"externalData":"e","#;
    seeds.push(BODY.replacen('{', &format!("{{{extra}"), 1).into());
    let known =
        JobType::load("known", "jobParametersSchema: {}\ntaskScript: '.parameters'", &|_| None).unwrap();
    let types = job_core::job_type::JobTypes::new([known]).unwrap();
    seeds.push(br#"{"type":"known","parameters":{"taskClassifier":"W","taskApiVersion":1,"taskPipe":"q","taskData":{}}}"#.to_vec());
    let config = Config { job_types: types, roles: "api".parse().unwrap(), ..Config::default() };
    let server = Server::with(config, Arc::new(MemoryStore::new())).await;
    let mut connection = Connection::open(server.address).await;
    let (mut tried, mut created) = (0, 0);
    for number in numbers() {
        tried = number;
        let input = mutated(&seeds, &mut Random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            Server::job_path(&format!("j{}", number % 1_000)),
            input.len()
        );
        connection.send([head.as_bytes(), &input].concat()).await;
        let answer = connection.answer(false).await.expect("an answer");
        created += u64::from(answer.status == 201);
        assert!(!answer.text().contains("Host is"), "input {number} was not looked at: {answer:?}");
        assert!(answer.status < 500, "input {number}: {answer:?}: {}", String::from_utf8_lossy(&input));
    }
    println!("create body: {tried} inputs, {created} jobs");
    assert!(tried >= INPUTS && created > 0, "{tried} inputs, {created} jobs");
}
