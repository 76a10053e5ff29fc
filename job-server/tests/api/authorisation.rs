//! Every operation of the OpenAPI document, asked for by every kind of caller, of every kind of partition.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use job_core::PartitionId;
use job_core::query::JobQuery;
use serde_json::Value;

use crate::attacks::note;
use crate::client::{Answer, Connection, request_bytes, soon};
use crate::server::{BODY, JSON, Server};
use crate::tokens::TokenBox;

const ROLES: [&str; 4] = ["reader", "submitter", "operator", "admin"];

/// An operation as the document has it.
#[derive(Debug)]
struct Operation {
    method: String,
    path: String,
    /// How far up the ladder of roles a caller must be; none when anybody may.
    needs: Option<usize>,
    answers_status_urls: bool,
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_saphyr::from_str(include_str!("../../openapi.yaml")).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            let role = operation["x-required-role"].as_str();
            let role = role.unwrap_or_else(|| panic!("{method} {path} says nothing of the role it needs"));
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                needs: ROLES.iter().position(|known| *known == role),
                answers_status_urls: operation["security"].to_string().contains("statusUrl"),
            });
            assert!(role == "none" || operations.last().unwrap().needs.is_some(), "{role} is no role");
        }
    }
    operations
}

impl Operation {
    fn is_change(&self) -> bool {
        self.needs.is_some() && self.method != "GET"
    }

    fn target(&self, partition: &str, job: &str) -> String {
        self.path.replace("{partitionId}", partition).replace("{jobId}", job).replace("{file}", "LICENSE")
    }

    fn concerns(&self, what: &str) -> bool {
        self.path.contains(what)
    }
}

/// All of an answer but the time it was made and the request it is for.
fn comparable(mut answer: Answer) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    answer.headers.remove("date");
    answer.headers.remove("caf-correlation-id");
    (answer.status, answer.headers, answer.body)
}

/// Who asks.
#[derive(Debug, Clone)]
struct Principal {
    name: &'static str,
    header: Option<String>,
    /// What the URL carries.
    query: Option<String>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Nobody,
    Wrong,
    /// A good token: its role, and whether it reaches all partitions or only `own`.
    Token(usize, bool),
    /// A status URL, and whether it is that of the job `own`/`j`.
    StatusUrl(bool),
}

/// What is asked for: a partition and a job.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Target {
    Own,
    OwnMissingJob,
    Foreign,
    MissingPartition,
    Malformed,
}

impl Target {
    const ALL: [Self; 5] =
        [Self::Own, Self::OwnMissingJob, Self::Foreign, Self::MissingPartition, Self::Malformed];

    fn ids(self) -> (&'static str, &'static str) {
        match self {
            Self::Own => ("own", "j"),
            Self::OwnMissingJob => ("own", "x"),
            Self::Foreign => ("foreign", "j"),
            Self::MissingPartition => ("missing", "j"),
            Self::Malformed => ("a.b", "j"),
        }
    }
}

/// What an answer may be.
#[derive(Debug, PartialEq)]
enum Expected {
    /// The caller may: what comes of it is the operation's own affair, and never a refusal of the caller.
    Allowed,
    Refused(u16),
}

fn expected(operation: &Operation, principal: &Principal, target: Target) -> Expected {
    let Some(needs) = operation.needs else { return Expected::Allowed };
    match principal.kind {
        Kind::Nobody | Kind::Wrong => Expected::Refused(401),
        Kind::StatusUrl(_) if !operation.answers_status_urls => Expected::Refused(401),
        Kind::StatusUrl(true) if target == Target::Own => Expected::Allowed,
        Kind::StatusUrl(_) => Expected::Refused(403),
        // What all partitions share, all may look at.
        Kind::Token(_, false) if !operation.concerns("{partitionId}") && needs == 0 => Expected::Allowed,
        Kind::Token(_, false) if !operation.concerns("{partitionId}") => Expected::Refused(403),
        Kind::Token(_, false) if !matches!(target, Target::Own | Target::OwnMissingJob) => {
            Expected::Refused(404)
        }
        Kind::Token(role, _) if role < needs => Expected::Refused(403),
        Kind::Token(..) => Expected::Allowed,
    }
}

struct Matrix {
    server: Server,
    tokens: TokenBox,
    /// Restores what an allowed change changed.
    admin: String,
    asked: u32,
    cells: Vec<Cell>,
}

/// One question that was asked, and the record that the audit log has to have of it.
struct Cell {
    name: String,
    correlation_id: String,
    record: Option<Record>,
}

struct Record {
    allowed: bool,
    status: u16,
    has_token: bool,
    partition: Option<&'static str>,
}

impl Cell {
    fn check(&self, records: &[&Value]) {
        let name = &self.name;
        let Some(expected) = &self.record else {
            assert!(records.is_empty(), "{name} changes nothing: {records:?}");
            return;
        };
        let [record] = records else { panic!("{name}: {records:?}") };
        assert_eq!(record["allowed"], expected.allowed, "{name}: {record}");
        assert_eq!(record["status"], expected.status, "{name}: {record}");
        assert_eq!(record["token"].is_string(), expected.has_token, "{name}: {record}");
        if let Some(partition) = expected.partition {
            assert_eq!(record["partition"], partition, "{name}: {record}");
        }
    }
}

impl Matrix {
    /// Asks from a new address each time, so that wrong tokens are not too many for any.
    async fn ask(
        &mut self,
        operation: &Operation,
        principal: &Principal,
        partition: &str,
        job: &str,
    ) -> Answer {
        self.asked += 1;
        let source = IpAddr::V4(Ipv4Addr::from_bits(0x7f01_0000 + self.asked));
        let mut target = operation.target(partition, job);
        if let Some(query) = &principal.query {
            target = format!("{target}?{query}");
        }
        let correlation_id = format!("CAF-Correlation-Id: matrix-{}", self.asked);
        let mut headers = vec![correlation_id.as_str()];
        headers.extend(principal.header.as_deref());
        let takes_body = operation.method == "PUT";
        if takes_body {
            headers.push(JSON);
        }
        let body = if takes_body { BODY.as_bytes() } else { b"" };
        let mut connection = Connection::open_from(source, self.server.address).await;
        connection.send(request_bytes(self.server.address, &operation.method, &target, &headers, body)).await;
        connection.answer(false).await.unwrap()
    }

    async fn restore(&self) {
        let bearer = format!("Authorization: Bearer {}", self.admin);
        for (method, partition, job) in
            [("DELETE", "own", "x"), ("DELETE", "missing", "j"), ("PUT", "own", "j"), ("PUT", "foreign", "j")]
        {
            let path = format!("/job-service/v1/partitions/{partition}/jobs/{job}");
            if method == "PUT" {
                crate::client::request(self.server.address, "DELETE", &path, &[&bearer], b"").await;
            }
            let body = if method == "PUT" { BODY.as_bytes() } else { b"" };
            let answer =
                crate::client::request(self.server.address, method, &path, &[&bearer, JSON], body).await;
            assert!(matches!(answer.status, 201 | 204 | 404), "{answer:?}");
        }
    }

    async fn dump(&self) -> String {
        let mut dump = String::new();
        for partition in ["own", "foreign", "missing"] {
            let query = JobQuery::new(PartitionId::new(partition).unwrap());
            dump.push_str(&format!("{:?}\n", self.server.store.list(&query).await.unwrap()));
        }
        dump
    }

    async fn check(&mut self, operation: &Operation, principal: &Principal, target: Target) -> Answer {
        let cell = format!("{} {} by {} of {target:?}", operation.method, operation.path, principal.name);
        let (partition, job) = target.ids();
        let before = self.dump().await;
        let answer = self.ask(operation, principal, partition, job).await;
        let expected = expected(operation, principal, target);
        match expected {
            Expected::Refused(status) => {
                assert_eq!(answer.status, status, "{cell}: {answer:?}");
                assert!(!answer.message().is_empty(), "{cell}");
                assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{cell}");
                assert_eq!(self.dump().await, before, "{cell} changed something");
            }
            Expected::Allowed => {
                let of_the_job = target != Target::Own && operation.concerns("{jobId}");
                let fits = match answer.status {
                    200..=399 => true,
                    400 => operation.is_change() || target == Target::Malformed,
                    404 => of_the_job,
                    _ => false,
                };
                assert!(fits, "{cell}: {answer:?}");
            }
        }
        let record = operation.is_change().then(|| Record {
            allowed: expected == Expected::Allowed,
            status: answer.status,
            has_token: matches!(principal.kind, Kind::Token(..)),
            partition: operation.concerns("{partitionId}").then_some(partition),
        });
        self.cells.push(Cell { name: cell, correlation_id: format!("matrix-{}", self.asked), record });
        if operation.is_change() && expected == Expected::Allowed {
            self.restore().await;
        }
        answer
    }

    /// Stops the server, which completes the audit log, and holds that to what was asked.
    async fn check_audit(self) {
        self.server.shutdown.stop();
        assert!(soon(self.server.running).await.unwrap());
        let records = self.tokens.audited();
        let mut of: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for record in &records {
            of.entry(record["correlationId"].as_str().unwrap()).or_default().push(record);
        }
        for cell in &self.cells {
            cell.check(of.get(cell.correlation_id.as_str()).map_or(&[], Vec::as_slice));
        }
    }
}

fn principals(tokens: &TokenBox, status_url: impl Fn(&str, &str) -> String) -> Vec<Principal> {
    let mut principals = Vec::new();
    let mut add = |name, header: Option<String>, query: Option<String>, kind| {
        principals.push(Principal { name, header, query, kind });
    };
    let bearer = |token: &str| Some(format!("Authorization: Bearer {token}"));
    let revoked = tokens.create("admin", None);
    tokens.run(&["revoke", TokenBox::id(&revoked)]);
    let expired = tokens.run(&["create", "--role", "admin", "--all-partitions", "--expires-in", "1ms"]);
    let good = tokens.create("admin", None);
    let other_secret = format!("{}{}", &good[..good.len() - 43], &revoked[revoked.len() - 43..]);
    add("nobody", None, None, Kind::Nobody);
    add("nobody with a token in the query", None, Some(format!("token={good}")), Kind::Nobody);
    for (name, header) in [
        ("garbage", bearer("nothing")),
        ("an empty token", Some("Authorization: Bearer ".to_owned())),
        ("basic authentication", Some("Authorization: Basic YWRtaW46YWRtaW4=".to_owned())),
        ("a JWT without a signature", bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.")),
        ("a good id with the secret of another", bearer(&other_secret)),
        ("a shortened token", bearer(&good[..good.len() - 1])),
        ("an expired token", bearer(&expired)),
        ("a revoked token", bearer(&revoked)),
    ] {
        add(name, header, None, Kind::Wrong);
    }
    let names = [
        ("own reader", "reader"),
        ("own submitter", "submitter"),
        ("own operator", "operator"),
        ("own admin", "admin"),
    ];
    for (role, (name, word)) in names.into_iter().enumerate() {
        add(name, bearer(&tokens.create(word, Some("own"))), None, Kind::Token(role, false));
    }
    let names = [
        ("global reader", "reader"),
        ("global submitter", "submitter"),
        ("global operator", "operator"),
        ("global admin", "admin"),
    ];
    for (role, (name, word)) in names.into_iter().enumerate() {
        add(name, bearer(&tokens.create(word, None)), None, Kind::Token(role, true));
    }
    add("the status URL of the job", None, Some(status_url("own", "j")), Kind::StatusUrl(true));
    add("the status URL of another job", None, Some(status_url("own", "k")), Kind::StatusUrl(false));
    add(
        "a forged status URL",
        None,
        Some("c=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into()),
        Kind::StatusUrl(false),
    );
    principals
}

#[tokio::test]
async fn every_operation_by_every_caller_of_every_partition() {
    use job_core::JobKey;
    let tokens = TokenBox::new();
    let secret = job_server::Secret::parse(&"s".repeat(32)).unwrap();
    let capability = secret.status_capability();
    let principals =
        principals(&tokens, |partition, job| capability.query(&JobKey::parse(partition, job).unwrap()));
    let admin = tokens.create("admin", None);
    let config = job_server::Config {
        secret: Some(secret),
        // What runs in the background must not change what is compared.
        roles: "api".parse().unwrap(),
        ..tokens.config()
    };
    let server = Server::with(config, std::sync::Arc::new(job_store_memory::MemoryStore::new())).await;
    let mut matrix = Matrix { server, tokens, admin, asked: 0, cells: Vec::new() };
    matrix.restore().await;
    let operations = operations();
    let mut cells = 0;
    for operation in &operations {
        for principal in &principals {
            let mut answers = BTreeMap::new();
            for target in Target::ALL {
                let answer = matrix.check(operation, principal, target).await;
                answers.insert(format!("{target:?}"), comparable(answer));
                cells += 1;
            }
            let reaches_all = matches!(principal.kind, Kind::Token(_, true)) || operation.needs.is_none();
            if !reaches_all {
                assert_eq!(answers["Foreign"], answers["MissingPartition"], "{operation:?} {principal:?}");
            }
        }
    }
    assert_eq!(cells, operations.len() * principals.len() * Target::ALL.len());
    assert!(cells >= 2_000, "{cells}");
    note(&format!(
        "A1: {} operations x {} callers x 5 partitions, all right",
        operations.len(),
        principals.len()
    ));
    matrix.check_audit().await;
}

/// To the bearer of a token, a job that another partition has looks like one that its own partition has not.
#[tokio::test]
async fn a_foreign_job_looks_like_one_that_does_not_exist() {
    let tokens = TokenBox::new();
    let bearer = format!("Authorization: Bearer {}", tokens.create("operator", Some("own")));
    let admin = tokens.create("admin", None);
    let server = tokens.server().await;
    let mut matrix = Matrix { server, tokens, admin, asked: 0, cells: Vec::new() };
    matrix.restore().await;
    let principal =
        Principal { name: "own operator", header: Some(bearer), query: None, kind: Kind::Token(2, false) };
    let mut compared = 0;
    for operation in
        operations().iter().filter(|operation| operation.concerns("{jobId}") && operation.method != "PUT")
    {
        // `x` exists nowhere, `j` in the foreign partition.
        let missing = matrix.ask(operation, &principal, "own", "x").await;
        if missing.status != 404 {
            continue;
        }
        let mut foreign = matrix.ask(operation, &principal, "foreign", "j").await;
        foreign.body = String::from_utf8(foreign.body).unwrap().replace("{j}", "{x}").into();
        assert_eq!(comparable(missing), comparable(foreign), "{operation:?}");
        compared += 1;
    }
    assert!(compared >= 8, "{compared}");
}
