//! Malformed requests, definitions and scripts, kept in `tests/corpus` and replayed: each is refused with its cause, and
//! nobody else notices.
//!
//! A line of a corpus is one case. A text may be a list of `[text, times]` instead, so that a large one costs a line.
#![expect(clippy::print_stdout, reason = "the figures are for whoever asks the test runner to show them")]

use std::sync::Arc;
use std::time::Duration;

use job_core::job_type::{JobType, JobTypes};
use job_core::{Clock as _, SystemClock};
use job_server::Config;
use job_store_memory::MemoryStore;
use serde::Deserialize;

use crate::client::{Answer, request};
use crate::server::{BODY, JSON, Server};

/// What an answer may repeat of a request.
const ECHO_CHARACTERS_MAX: usize = 200;
/// 99 of 100 requests are answered within this, in the best round of a machine that does other things too.
const PATIENCE: Duration = Duration::from_millis(100);
/// What a round of a thousand requests may add to the memory once the first two have filled what is kept for later.
const GROWTH_BYTES_MAX: u64 = 2 << 20;
const ROUNDS: usize = 4;

const KNOWN: &str = r#"
jobParametersSchema:
  type: object
  properties: {a: {type: string}}
  additionalProperties: false
taskScript: |
  if (.parameters.a == "refuse") error("refused")
  else if (.parameters.a == "fail") 1 + (1 < .parameters.a)
  else if (starts-with(.parameters.a, "text")) .parameters.a
  else if (.parameters.a == "nowhere") {"taskClassifier": "W", "taskApiVersion": 1, "taskPipe": "", "taskData": {}}
  else {"taskClassifier": "W", "taskApiVersion": 1, "taskPipe": "q", "taskData": {}}
"#;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Whole(String),
    Parts(Vec<(String, usize)>),
}

impl Text {
    fn build(&self) -> String {
        match self {
            Self::Whole(text) => text.clone(),
            Self::Parts(parts) => parts.iter().map(|(text, times)| text.repeat(*times)).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    method: String,
    target: String,
    #[serde(default)]
    target_parts: Vec<(String, usize)>,
    headers: Option<Vec<String>>,
    body: Option<Text>,
    status: u16,
    says: String,
}

#[derive(Debug, Deserialize)]
struct Definition {
    yaml: Text,
    says: String,
}

fn lines<T: for<'de> Deserialize<'de>>(text: &str) -> Vec<T> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

fn requests() -> Vec<Case> {
    [
        include_str!("../corpus/bodies.jsonl"),
        include_str!("../corpus/targets.jsonl"),
        include_str!("../corpus/queries.jsonl"),
        include_str!("../corpus/filters.jsonl"),
        include_str!("../corpus/headers.jsonl"),
    ]
    .into_iter()
    .flat_map(lines)
    .collect()
}

impl Case {
    fn target(&self) -> String {
        self.target.clone() + &Text::Parts(self.target_parts.clone()).build()
    }

    async fn send(&self, server: &Server) -> Answer {
        let body = self.body.as_ref().map(Text::build).unwrap_or_default();
        let headers: Vec<&str> = match &self.headers {
            Some(headers) => headers.iter().map(String::as_str).collect(),
            None => vec![JSON],
        };
        request(server.address, &self.method, &self.target(), &headers, body.as_bytes()).await
    }

    /// What is wrong with the answer.
    fn judge(&self, answer: &Answer, sent: &str) -> Option<String> {
        if answer.status != self.status {
            return Some(format!("status {}", answer.status));
        }
        if self.method == "HEAD" {
            return None;
        }
        let message = answer.message();
        if !message.contains(&self.says) {
            return Some(format!("says {message:?}"));
        }
        let echoed = longest_echo(&message, sent);
        (echoed > ECHO_CHARACTERS_MAX).then(|| format!("repeats {echoed} characters"))
    }
}

/// The longest piece of `sent` that `message` holds.
fn longest_echo(message: &str, sent: &str) -> usize {
    let characters: Vec<char> = message.chars().collect();
    let window = ECHO_CHARACTERS_MAX + 1;
    let holds = |from: usize| {
        let piece: String = characters[from..from + window].iter().collect();
        sent.contains(&piece)
    };
    if characters.len() >= window && (0..=characters.len() - window).any(holds) { window } else { 0 }
}

async fn server() -> Server {
    let known = JobType::load("known", KNOWN, &|_| None).unwrap();
    // Nothing is dispatched, so that a job that is left alone stays the same to the byte.
    let roles = "api".parse().unwrap();
    let config = Config { job_types: JobTypes::new([known]).unwrap(), roles, ..Config::default() };
    Server::with(config, Arc::new(MemoryStore::new())).await
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
}

#[tokio::test]
async fn every_malformed_request_is_refused_with_its_cause() {
    let cases = requests();
    assert!(cases.len() >= 600, "{}", cases.len());
    assert!(cases.iter().all(|case| (400..500).contains(&case.status)), "only the client is at fault");
    let server = server().await;
    server.create("neighbour").await;
    let neighbour = server.get_job("neighbour").await.body;
    let clock = SystemClock::new();
    let mut wrong = Vec::new();
    let mut resident = Vec::new();
    let (mut times, mut neighbours) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (mut of_round, mut beside) = (Vec::new(), Vec::new());
        for (index, case) in cases.iter().enumerate() {
            let begun = clock.now();
            let answer = case.send(&server).await;
            of_round.push(clock.now().since(begun));
            let sent = case.target() + &case.body.as_ref().map(Text::build).unwrap_or_default();
            if let Some(what) = case.judge(&answer, &sent).filter(|_| round == 0) {
                let shown: String = sent.chars().take(120).collect();
                wrong.push(format!(
                    "{} {shown}: {what}, expected {} {:?}",
                    case.method, case.status, case.says
                ));
            }
            if index % 10 == 0 {
                let begun = clock.now();
                let answer = server.get_job("neighbour").await;
                beside.push(clock.now().since(begun));
                assert_eq!((answer.status, &answer.body), (200, &neighbour), "after {:?}", case.target());
            }
        }
        resident.push(resident_bytes());
        times.push(Times::of(of_round));
        neighbours.push(Times::of(beside));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let growth = (2..ROUNDS).map(|round| resident[round].saturating_sub(resident[round - 1])).min();
    let growth = growth.unwrap_or_default();
    times.sort_by_key(|times| times.p99);
    neighbours.sort_by_key(|times| times.p99);
    println!(
        "{} cases, {ROUNDS} rounds, the best: {:?}, neighbours {:?}; memory grew by {} KiB a round",
        cases.len(),
        times[0],
        neighbours[0],
        growth / 1024
    );
    assert!(growth <= GROWTH_BYTES_MAX, "{resident:?}");
    assert!(times[0].p99 <= PATIENCE, "{times:?}");
    assert!(neighbours[0].p99 <= PATIENCE, "{neighbours:?}");
    assert_eq!(server.get("/job-service/v1/partitions/p/jobStats/count").await.text(), "1");
    assert_eq!(server.put("after", BODY).await.status, 201);
}

#[derive(Debug)]
#[expect(dead_code, reason = "shown")]
struct Times {
    median: Duration,
    p99: Duration,
    longest: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        Self { median: at(50), p99: at(99), longest: at(100) }
    }
}

#[test]
fn every_malformed_definition_is_refused_with_its_cause() {
    let cases: Vec<Definition> =
        [include_str!("../corpus/definitions.jsonl"), include_str!("../corpus/scripts.jsonl")]
            .into_iter()
            .flat_map(lines)
            .collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let yaml = case.yaml.build();
        let shown: String = yaml.chars().take(200).collect();
        match JobType::load("t", &yaml, &|_| None).map_err(|error| error.to_string()) {
            Ok(_) => wrong.push(format!("{shown:?} is accepted")),
            Err(error) if !error.contains(&case.says) => {
                wrong.push(format!("{shown:?} says {error:?}, expected {:?}", case.says));
            }
            Err(error) if longest_echo(&error, &yaml) > ECHO_CHARACTERS_MAX => {
                wrong.push(format!("{shown:?} is repeated"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
