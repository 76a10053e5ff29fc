//! How long things take on an idle system: until a dependent starts, and until `Completed` is seen over REST.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use job_benches::Series;
use job_core::message::TaskMessage;
use job_core::{ClockExt as _, Shutdown, SystemClock};
use job_server::{App, Config};
use lapin::options::BasicAckOptions;
use tokio::net::TcpStream;

use crate::bare::Bare;
use crate::setup::{Bench, PARTITION, report};
use crate::table::row;

/// Of the settings' default.
const TRACKING: &str = "jobtracking-in";
/// Between two looks at the status.
const LOOK: Duration = Duration::from_millis(1);
/// Nothing that is measured here takes as long.
const LIMIT: Duration = Duration::from_secs(10);
/// Not measured: connections are opened, statements prepared.
const WARM_UP: usize = 20;

pub(crate) async fn run(bench: &Bench) -> Result<()> {
    let rounds = bench.size(500, 50);
    let fresh = bench.fresh().await?;
    bench.declare(&[TRACKING.to_owned()]).await?;
    let app = App::build(Config::default(), Arc::clone(&fresh.store) as _, bench.queue().await?).await?;
    let address = app.address().context("the API is served")?;
    let (shutdown, running) = (Shutdown::new(), Shutdown::new());
    let app = running.spawn(app.run(shutdown.clone()));
    let mut idle = Idle::start(bench, address).await?;
    if bench.wants("a dependent starts") {
        idle.dependents(rounds).await?;
    }
    if bench.wants("Completed is seen") {
        idle.completions(rounds).await?;
    }
    let queues = [TRACKING.to_owned(), idle.prerequisites, idle.dependents];
    drop(idle.api);
    shutdown.stop();
    app.await?;
    bench.delete(&queues).await
}

/// A client of the API and a worker, one thing at a time.
struct Idle {
    bare: Bare,
    api: SendRequest<Full<Bytes>>,
    prerequisites: String,
    dependents: String,
    /// Of the queues of the same names.
    first: lapin::Consumer,
    second: lapin::Consumer,
}

impl Idle {
    async fn start(bench: &Bench, address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (api, connection) = handshake(TokioIo::new(stream)).await?;
        Shutdown::new().spawn(async move {
            let _ = connection.await;
        });
        let queues = ["prerequisite-in", "dependent-in"].map(|name| bench.name(name));
        bench.declare(&queues).await?;
        let bare = Bare::connect(&bench.rabbit.url()).await?;
        let first = bare.deliveries(&queues[0]).await?;
        let second = bare.deliveries(&queues[1]).await?;
        let [prerequisites, dependents] = queues;
        Ok(Self { bare, api, prerequisites, dependents, first, second })
    }

    async fn dependents(&mut self, rounds: usize) -> Result<()> {
        let mut times = Series::default();
        for round in 0..WARM_UP + rounds {
            let (a, b) = (format!("a-{round}"), format!("b-{round}"));
            self.create(&a, &self.prerequisites.clone(), None).await?;
            self.create(&b, &self.dependents.clone(), Some(&a)).await?;
            delivered(&mut self.first, &a).await?;
            let begun = Instant::now();
            self.complete(&a).await?;
            delivered(&mut self.second, &b).await?;
            if round >= WARM_UP {
                times.add(begun.elapsed().as_secs_f64() * 1_000.0);
            }
        }
        let (p50, p99) = (times.quantile(0.5), times.quantile(0.99));
        row(
            &format!("a dependent starts after the last report, {rounds} times"),
            &format!("p50 {p50:.1} ms, p99 {p99:.1} ms (max {:.1})", times.quantile(1.0)),
            "",
            "",
            "p50 20 ms, p99 100 ms",
            p50 < 20.0 && p99 < 100.0,
        );
        Ok(())
    }

    async fn completions(&mut self, rounds: usize) -> Result<()> {
        let mut times = Series::default();
        for round in 0..WARM_UP + rounds {
            let job = format!("c-{round}");
            self.create(&job, &self.prerequisites.clone(), None).await?;
            delivered(&mut self.first, &job).await?;
            let begun = Instant::now();
            self.complete(&job).await?;
            while self.status(&job).await? != "Completed" {
                ensure!(begun.elapsed() < LIMIT, "{job} does not complete");
                tokio::time::sleep(LOOK).await;
            }
            if round >= WARM_UP {
                times.add(begun.elapsed().as_secs_f64() * 1_000.0);
            }
        }
        let (p50, p99) = (times.quantile(0.5), times.quantile(0.99));
        row(
            &format!("Completed is seen over REST after the last report, {rounds} times"),
            &format!("p50 {p50:.1} ms, p99 {p99:.1} ms (max {:.1})", times.quantile(1.0)),
            "",
            "",
            "50 ms",
            p99 < 50.0,
        );
        Ok(())
    }

    /// The worker's only report.
    async fn complete(&self, job: &str) -> Result<()> {
        let body = report(TRACKING, [format!("{PARTITION}:{job}")]);
        self.bare.publish([(TRACKING.to_owned(), body)].into_iter()).await
    }

    async fn create(&mut self, job: &str, queue: &str, after: Option<&str>) -> Result<()> {
        let body = serde_json::json!({
            "name": job,
            "prerequisiteJobIds": Vec::from_iter(after),
            "task": {"taskClassifier": "W", "taskApiVersion": 1, "taskData": "data", "taskPipe": queue},
        });
        let request = Request::put(format!("/job-service/v1/partitions/{PARTITION}/jobs/{job}"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::from(body.to_string()))?;
        self.ask(request).await.map(drop)
    }

    async fn status(&mut self, job: &str) -> Result<String> {
        let request = Request::get(format!("/job-service/v1/partitions/{PARTITION}/jobs/{job}/status"))
            .header("host", "localhost")
            .body(Full::default())?;
        Ok(self.ask(request).await?.trim_matches('"').to_owned())
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<String> {
        self.api.ready().await?;
        let answer = self.api.send_request(request).await?;
        let status = answer.status();
        let text = String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?;
        ensure!(status.is_success(), "{status}: {text}");
        Ok(text)
    }
}

/// Waits for this job's message, and no other's.
async fn delivered(consumer: &mut lapin::Consumer, job: &str) -> Result<()> {
    let next = SystemClock::new().timeout(LIMIT, consumer.next()).await;
    let delivery = next.with_context(|| format!("{job} does not start"))?.context("the consumer ended")??;
    delivery.ack(BasicAckOptions::default()).await?;
    let tracking = TaskMessage::decode(&delivery.data)?.tracking.context("it is tracked")?;
    let expected = format!("{PARTITION}:{job}");
    ensure!(tracking.job_task_id.as_deref() == Some(expected.as_str()), "{tracking:?} is not of {job}");
    Ok(())
}
