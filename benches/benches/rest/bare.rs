//! The yardsticks: hyper with as little behind it as the work needs.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use job_core::Shutdown;
use sqlx::PgPool;

/// As many bytes as a status answer has, head and all.
const CORRELATION: &str = "0195f6b2-0000-7000-8000-000000000000";

fn answer(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let answer = Response::builder()
        .header("content-type", "application/json")
        .header("cacheablejobstatus", "true")
        .header("cache-control", "no-transform, max-age=5")
        .header("caf-correlation-id", CORRELATION)
        .header("x-content-type-options", "nosniff");
    answer.body(Full::new(body.into())).unwrap()
}

async fn serve<H, F>(handler: H) -> SocketAddr
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Shutdown::new();
    let connections = tasks.clone();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let handler = handler.clone();
            let service = service_fn(move |request| {
                let answer = handler(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            connections.spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

pub(crate) async fn constant() -> SocketAddr {
    serve(|_| async { answer("\"Waiting\"") }).await
}

pub(crate) async fn select(pool: PgPool) -> SocketAddr {
    serve(move |_| {
        let pool = pool.clone();
        async move {
            let status: String = sqlx::query_scalar("SELECT status FROM bare WHERE id = $1")
                .bind("j")
                .fetch_one(&pool)
                .await
                .unwrap();
            answer(format!("\"{status}\""))
        }
    })
    .await
}

pub(crate) async fn insert(pool: PgPool) -> SocketAddr {
    serve(move |request: Request<Incoming>| {
        let pool = pool.clone();
        async move {
            let id = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            sqlx::query("INSERT INTO one_by_one VALUES ($1, $2)")
                .bind(id)
                .bind(String::from_utf8_lossy(&body).into_owned())
                .execute(&pool)
                .await
                .unwrap();
            answer(Bytes::new())
        }
    })
    .await
}
