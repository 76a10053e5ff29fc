//! More requests than can be served: most are refused at once, as many as ever are served, and nothing accepted is lost.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use job_core::{Clock as _, ClockExt as _, Shutdown, SystemClock};
use job_server::{Config, Limits};

use crate::attacks::{is_campaign, note};
use crate::client::Connection;
use crate::hooked_store::Hooks;
use crate::server::{BODY, JSON, Server};

/// The store does this many things at once, and each takes this long: 500 a second.
const PLACES: usize = 10;
const WORK: Duration = Duration::from_millis(20);
const SATURATION: usize = 500;

/// What came of a time of load.
#[derive(Debug, Default)]
struct Figures {
    offered: usize,
    created: Vec<String>,
    accepted: Vec<Duration>,
    refused: Vec<Duration>,
    checks: Vec<Duration>,
    checks_failed: usize,
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Sends `rate` creates a second for `time`, over as many connections as two clients may have, and status checks beside.
async fn load(address: SocketAddr, factor: usize, time: Duration) -> Figures {
    let clock = SystemClock::new();
    let (begun, rate) = (clock.now(), SATURATION * factor);
    let tasks = Shutdown::new();
    let clients = 480;
    let mut running = Vec::new();
    for client in 0..clients {
        let clock = clock.clone();
        running.push(tasks.spawn(async move {
            let source = IpAddr::from([127, 0, 0, if client % 2 == 0 { 2 } else { 3 }]);
            let mut connection = Connection::open_from(source, address).await;
            let mut figures = Figures::default();
            for turn in 0.. {
                // Each client has its own moments in the common rhythm, whatever the answers.
                let place = u32::try_from(turn * clients + client).unwrap();
                let due = Duration::from_secs(1) * place / u32::try_from(rate).unwrap();
                if due >= time {
                    break;
                }
                clock.sleep(due.saturating_sub(clock.now().since(begun))).await;
                let id = format!("slow-{factor}-{place}");
                let sent = clock.now();
                let request = format!(
                    "PUT {} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: {}\r\n\r\n{BODY}",
                    Server::job_path(&id),
                    BODY.len()
                );
                connection.send(request).await;
                let answer = connection.answer(false).await.expect("an answer");
                let took = clock.now().since(sent);
                figures.offered += 1;
                match answer.status {
                    201 => {
                        figures.accepted.push(took);
                        figures.created.push(id);
                    }
                    503 => {
                        assert!(answer.header("retry-after").is_some(), "{answer:?}");
                        figures.refused.push(took);
                    }
                    _ => panic!("{answer:?}"),
                }
            }
            figures
        }));
    }
    let mut connection = Connection::open(address).await;
    let mut sum = Figures::default();
    while clock.now().since(begun) < time {
        for target in [Server::job_path("known/status"), "/health-check".to_owned()] {
            let sent = clock.now();
            connection.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
            let answer = connection.answer(false).await.expect("an answer");
            sum.checks.push(clock.now().since(sent));
            sum.checks_failed += usize::from(answer.status != 200);
        }
        clock.sleep(Duration::from_millis(5)).await;
    }
    for running in running {
        let figures = clock.timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
        sum.offered += figures.offered;
        sum.created.extend(figures.created);
        sum.accepted.extend(figures.accepted);
        sum.refused.extend(figures.refused);
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_five_times_what_it_can_do_it_does_as_much_as_ever() {
    let store = Hooks::store_with_creates(PLACES, WORK);
    let config = Config { roles: "api".parse().unwrap(), limits: Limits::default(), ..Config::default() };
    let server = Server::with(config, Arc::clone(&store)).await;
    server.create("known").await;
    let (factors, seconds): (&[usize], u64) = if is_campaign() { (&[1, 2, 5, 10], 20) } else { (&[1, 5], 2) };
    let time = Duration::from_secs(seconds);
    let mut at_saturation = 0;
    for factor in factors {
        let mut figures = load(server.address, *factor, time).await;
        let accepted = figures.created.len();
        note(&format!(
            "L1 {factor}x: offered {}/s, accepted {}/s (p99 {:?}), refused {}/s (p99 {:?}), {} status and health checks, {} failed (p99 {:?})",
            figures.offered / seconds as usize,
            accepted / seconds as usize,
            percentile(&mut figures.accepted, 99),
            figures.refused.len() / seconds as usize,
            percentile(&mut figures.refused, 99),
            figures.checks.len(),
            figures.checks_failed,
            percentile(&mut figures.checks, 99),
        ));
        assert_eq!(figures.checks_failed, 0, "status and health checks go on");
        // As below, the figure is for a quiet machine.
        let refused = percentile(&mut figures.refused, 99);
        assert!(!is_campaign() || refused < Duration::from_millis(20), "refused after {refused:?}");
        for id in &figures.created {
            assert_eq!(server.get_job(id).await.status, 200, "{id} was accepted and is lost");
        }
        if *factor == 1 {
            at_saturation = accepted;
        } else {
            // Beside other tests the clients take from the server what it would need; the figure is for a quiet machine.
            let tenths = if is_campaign() { 9 } else { 7 };
            assert!(accepted * 10 >= at_saturation * tenths, "{factor}x: {accepted} of {at_saturation}");
        }
    }
}
