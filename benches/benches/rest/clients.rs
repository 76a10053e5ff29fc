//! 64 clients that ask one request after another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use job_core::Shutdown;

pub(crate) const CLIENTS: usize = 64;

/// What a round came to.
#[derive(Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Rate {
    fn of(mut times: Vec<Duration>, round: Duration) -> Self {
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        Self { per_second: times.len() as f64 / round.as_secs_f64(), p50: at(50), p99: at(99) }
    }
}

pub(crate) fn get(target: &str) -> Request<Full<Bytes>> {
    Request::get(target).header("host", "localhost").body(Full::default()).unwrap()
}

pub(crate) fn put(id: &str) -> Request<Full<Bytes>> {
    let body = r#"{"name":"A job","task":{"taskClassifier":"W","taskApiVersion":1,"taskData":"data","taskPipe":"w-in"}}"#;
    Request::put(format!("/job-service/v1/partitions/p/jobs/{id}"))
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

async fn connect(address: SocketAddr) -> hyper::client::conn::http1::SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    Shutdown::new().spawn(async move {
        let _ = connection.await;
    });
    sender
}

/// Every client sends what `request` makes of its number and the request's.
pub(crate) async fn drive<R>(address: SocketAddr, round: Duration, request: R) -> Rate
where
    R: Fn(usize, usize) -> Request<Full<Bytes>> + Clone + Send + Sync + 'static,
{
    let begun = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let request = request.clone();
        Shutdown::new().spawn(async move {
            let mut sender = connect(address).await;
            let mut times = Vec::new();
            while begun.elapsed() < round {
                let sent = Instant::now();
                let answer = sender.send_request(request(client, times.len())).await.unwrap();
                assert!(answer.status().is_success(), "{}", answer.status());
                answer.into_body().collect().await.unwrap();
                times.push(sent.elapsed());
            }
            times
        })
    });
    gather(clients.collect(), begun).await
}

/// The same without HTTP.
pub(crate) async fn tasks<W, F>(round: Duration, work: W) -> Rate
where
    W: Fn(usize, usize) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let begun = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let work = work.clone();
        Shutdown::new().spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < round {
                let sent = Instant::now();
                work(client, times.len()).await;
                times.push(sent.elapsed());
            }
            times
        })
    });
    gather(clients.collect(), begun).await
}

async fn gather(clients: Vec<tokio::task::JoinHandle<Vec<Duration>>>, begun: Instant) -> Rate {
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    Rate::of(times, begun.elapsed())
}

/// Requests at a steady pace, each over a connection that is free.
pub(crate) async fn paced(address: SocketAddr, per_second: u32, length: Duration, target: &str) -> Rate {
    let begun = Instant::now();
    let mut answers = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
    let free = Arc::new(tokio::sync::Mutex::new(Vec::new()));
    while begun.elapsed() < length {
        pace.tick().await;
        let (free, request) = (Arc::clone(&free), get(target));
        answers.push(Shutdown::new().spawn(async move {
            let sent = Instant::now();
            let kept = free.lock().await.pop();
            let mut sender = match kept {
                Some(sender) => sender,
                None => connect(address).await,
            };
            let answer = sender.send_request(request).await.unwrap();
            assert!(answer.status().is_success(), "{}", answer.status());
            answer.into_body().collect().await.unwrap();
            let took = sent.elapsed();
            sender.ready().await.unwrap();
            free.lock().await.push(sender);
            vec![took]
        }));
    }
    gather(answers, begun).await
}
