//! A status asked for over real connections, and everything that can be wrong with an answer.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use job_core::clock::ManualClock;
use job_core::worker::{CachedStatus, StatusAnswer, StatusQuestion, StatusSource};
use job_core::{Clock, JobKey, JobStatus, Result, Shutdown, Timestamp};
use job_worker_http::HttpStatus;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A service that answers every question with the same bytes.
struct Service {
    url: String,
    connections: Arc<AtomicUsize>,
    questions: Arc<AtomicUsize>,
    asked: Arc<Semaphore>,
    tasks: Shutdown,
}

impl Service {
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = Self {
            url,
            connections: Arc::default(),
            questions: Arc::default(),
            asked: Arc::new(Semaphore::new(0)),
            tasks: Shutdown::new(),
        };
        let answer: Arc<[u8]> = answer.into().into();
        let (connections, questions) = (Arc::clone(&service.connections), Arc::clone(&service.questions));
        let (asked, tasks) = (Arc::clone(&service.asked), service.tasks.clone());
        service.tasks.spawn(async move {
            loop {
                let stream = tokio::select! {
                    () = tasks.stopping() => return,
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                connections.fetch_add(1, Ordering::SeqCst);
                let serving = serve(stream, Arc::clone(&answer), Arc::clone(&questions), Arc::clone(&asked));
                let stopping = tasks.stopping();
                tasks.spawn(async move {
                    tokio::select! {
                        () = stopping => {}
                        () = serving => {}
                    }
                });
            }
        });
        service
    }

    fn counts(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.questions.load(Ordering::SeqCst))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<[u8]>, questions: Arc<AtomicUsize>, asked: Arc<Semaphore>) {
    let (reading, mut writing) = stream.split();
    let mut lines = BufReader::new(reading).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.is_empty() {
            questions.fetch_add(1, Ordering::SeqCst);
            asked.add_permits(1);
            if writing.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_millis(1_000))
}

fn source(allowed: &str, clock: &ManualClock) -> HttpStatus {
    HttpStatus::asking([allowed], Arc::new(clock.clone())).unwrap()
}

async fn ask(source: &dyn StatusSource, url: Option<&str>) -> Result<Option<StatusAnswer>> {
    let job = JobKey::parse("acme", "job1").unwrap();
    source.ask(StatusQuestion { job: &job, url, interval: Duration::from_secs(5) }).await
}

/// Asks a service once.
async fn answered(answer: impl Into<Vec<u8>>) -> Result<StatusAnswer, String> {
    let service = Service::answering(answer).await;
    let source = source(&service.url, &clock());
    let url = format!("{}/job-service/v1/partitions/acme/jobs/job1/status?c=secret", service.url);
    let answer = ask(&source, Some(&url)).await.map_err(|error| error.to_string());
    assert_eq!(service.counts(), (1, 1));
    answer.map(|answer| answer.unwrap())
}

#[tokio::test]
async fn a_status_is_taken_with_its_age() {
    let headers = "CacheableJobStatus: true\r\nCache-Control: max-age=7\r\n";
    for status in JobStatus::ALL {
        let answer = answered(response("200 OK", headers, &format!("\"{status}\"\n"))).await.unwrap();
        let valid_for = Duration::from_secs(7);
        assert_eq!(
            answer,
            StatusAnswer { status: Some(status), as_of: Timestamp::from_millis(1_000), valid_for }
        );
    }
    let without = answered(response("200 OK", "", "\"Paused\"")).await.unwrap();
    assert_eq!((without.status, without.valid_for.as_secs()), (Some(JobStatus::Paused), 120));
}

#[tokio::test]
async fn a_job_that_is_not_found_has_no_status() {
    let answer = answered(response("404 Not Found", "", "{\"message\":\"no\"}")).await.unwrap();
    assert_eq!(answer.status, None);
}

#[tokio::test]
async fn whatever_is_not_an_answer_is_an_error_that_says_so_and_no_secret() {
    let long = "x".repeat(5_000);
    for (answer, expected) in [
        (response("200 OK", "", "true"), "not a status"),
        (response("200 OK", "", ""), "not a status"),
        (response("200 OK", "", "\"active\""), "not a status"),
        (response("200 OK", "", &long), "cannot be read to its end"),
        (response("500 Internal Server Error", "", "\"Active\""), "500"),
        (response("401 Unauthorized", "", ""), "401"),
        (response("503 Service Unavailable", "Retry-After: 9\r\n", ""), "503"),
        ("no HTTP at all\r\n\r\n".to_owned(), "was asked for a status"),
    ] {
        let error = answered(answer).await.unwrap_err();
        assert!(error.contains(expected) && !error.contains("secret"), "{expected}: {error}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Service::answering(response("200 OK", "", "\"Cancelled\"")).await;
    let location = format!("Location: {}/status\r\n", elsewhere.url);
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let error = answered(response(status, &location, "")).await.unwrap_err();
        assert!(error.contains("redirects are not followed"), "{error}");
    }
    assert_eq!(elsewhere.counts(), (0, 0));
}

#[tokio::test]
async fn nobody_else_is_asked() {
    let (ours, other) = (Service::answering("").await, Service::answering("").await);
    let port = other.url.rsplit(':').next().unwrap();
    let source = source(&ours.url, &clock());
    for url in [
        other.url.clone(),
        format!("http://localhost:{port}/"),
        format!("http://user:secret@{}/", ours.url.trim_start_matches("http://")),
        format!("{}@{}/secret", ours.url, other.url.trim_start_matches("http://")),
        ours.url.replace("http://", "https://"),
        ours.url.replace("http://", "ftp://"),
        "file:///etc/passwd".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "/status".to_owned(),
        String::new(),
        "http://[".to_owned(),
    ] {
        let error = ask(&source, Some(&url)).await.unwrap_err();
        assert!(!error.is_transient(), "{url}: {error}");
        assert!(error.to_string().contains("tracking.statusCheckUrl"), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert_eq!(ask(&source, None).await.unwrap(), None, "no URL means that nobody can be asked");
    assert_eq!((ours.counts(), other.counts()), ((0, 0), (0, 0)));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_three_seconds() {
    let service = Service::answering("").await;
    let clock = clock();
    let source = source(&service.url, &clock);
    let url = format!("{}/status", service.url);
    let asking = ask(&source, Some(&url));
    let waiting = async {
        service.asked.acquire().await.unwrap().forget();
        clock.advance(Duration::from_secs(3));
    };
    let (answer, ()) = tokio::join!(asking, waiting);
    let error = answer.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("no answer came within 3s"), "{error}");
}

#[tokio::test]
async fn a_service_that_is_down_lets_the_tasks_run() {
    let service = Service::answering(response("200 OK", "Cache-Control: max-age=5\r\n", "\"Paused\"")).await;
    let clock = clock();
    let cached = CachedStatus::new(Arc::new(source(&service.url, &clock)), Arc::new(clock.clone()));
    let url = format!("{}/status", service.url);
    let mut seen = Vec::new();
    for step in 0..5 {
        let answer = ask(&cached, Some(&url)).await.unwrap().unwrap();
        seen.push(answer.status.unwrap());
        if step == 1 {
            assert_eq!(service.counts(), (1, 1), "it is asked once in an interval");
            // From here on nobody listens.
            assert!(service.tasks.drain(&job_core::SystemClock::new(), Duration::from_secs(10)).await);
        }
        if step >= 1 {
            clock.advance(Duration::from_secs(5));
        }
    }
    use JobStatus::{Active, Paused};
    assert_eq!(seen, [Paused, Paused, Paused, Active, Active], "the last answer holds for one interval more");
}

#[tokio::test]
async fn a_connection_serves_many_questions() {
    let service = Service::answering(response("200 OK", "Cache-Control: max-age=0\r\n", "\"Active\"")).await;
    let clock = clock();
    let source = source(&service.url, &clock);
    for _ in 0..10 {
        let url = format!("{}/status", service.url);
        assert!(ask(&source, Some(&url)).await.unwrap().is_some());
    }
    assert_eq!(service.counts(), (1, 10));
    assert_eq!(clock.now(), Timestamp::from_millis(1_000));
}

#[tokio::test]
async fn a_worker_that_may_ask_nobody_is_refused() {
    let none: [&str; 0] = [];
    let error = HttpStatus::asking(none, Arc::new(clock())).unwrap_err();
    assert!(error.to_string().contains("http://job-service:8080"), "{error}");
    let error = HttpStatus::asking(["job-service:8080"], Arc::new(clock())).unwrap_err();
    assert!(error.to_string().contains("names no service"), "{error}");
}
