//! The memory of a server while reports wait for it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use job_benches::Series;
use job_core::queue::TaskQueue as _;
use job_core::store::JobStore as _;
use job_core::{JobService, JobStatus};

use crate::reports::{JOB, messages};
use crate::setup::{Bench, job, key};
use crate::table::row;

const TRACKING: &str = "jobtracking-in";
const SAMPLE: Duration = Duration::from_millis(200);
const REQUIRED_MIB: f64 = 150.0;
/// Flat: what it may grow by from the first third of a wait to its last.
const DRIFT_MIB: f64 = 5.0;
const LIMIT: Duration = Duration::from_secs(180);

/// The server as it is released, of the same sources as this program.
pub(crate) fn build_server() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--release", "--quiet", "-p", "job-server"]).status()?;
    ensure!(built.success(), "job-server cannot be built");
    // This program lies in `deps`, beside which cargo puts the binaries.
    let here = std::env::current_exe()?;
    let server = here.parent().and_then(Path::parent).context("no directory of binaries")?.join("job-server");
    ensure!(server.exists(), "there is no {}", server.display());
    Ok(server)
}

pub(crate) async fn run(bench: &Bench, program: &Path) -> Result<()> {
    let tasks = bench.size(1_000_000, 100_000);
    let wait = Duration::from_secs(bench.size(60, 10) as u64);
    let fresh = bench.fresh().await?;
    JobService::new(Arc::clone(&fresh.store) as _).create(job(JOB, "unused")).await?;
    fresh.settle_down().await?;
    let queue = bench.queue().await?;
    queue.declare(TRACKING).await?;
    let server = Server::start(program, fresh.database.url(), &bench.rabbit.url())?;
    let idle = server.sample_for(Duration::from_secs(3)).await?;

    // Nobody records anything: all of them wait, but for those that the prefetch lets out.
    bench.postgres.pause()?;
    bench.bare.publish(messages(TRACKING, tasks).map(|body| (TRACKING.to_owned(), body))).await?;
    let waiting = server.sample_for(wait).await;
    bench.postgres.unpause()?;
    let waiting = waiting?;

    let mut draining = Series::default();
    let begun = Instant::now();
    while fresh.store.statuses(&[key(JOB)]).await? != [Some(JobStatus::Completed)] {
        ensure!(begun.elapsed() < LIMIT, "the reports are not recorded");
        draining.add(server.resident_mib()?);
        tokio::time::sleep(SAMPLE).await;
    }
    let took = begun.elapsed();
    let peak = server.mib("VmHWM:")?;
    let drift = waiting.drift();
    row(
        &format!("RSS of the server while {tasks} reports wait {} s", wait.as_secs()),
        &format!(
            "idle {:.1} MiB, waiting {} MiB, drift {drift:+.1}; draining in {:.0} s {} MiB; peak {peak:.1}",
            idle.median(),
            waiting.shown(),
            took.as_secs_f64(),
            draining.shown()
        ),
        "",
        "",
        "150 MiB, flat",
        peak < REQUIRED_MIB && drift < DRIFT_MIB,
    );
    drop(server);
    queue.close().await;
    bench.delete(&[TRACKING.to_owned()]).await
}

/// A running server; ended with this value.
struct Server(Child);

impl Server {
    /// Returns when it serves.
    fn start(program: &Path, store: &str, queue: &str) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env_clear()
            .env("JOB_SERVICE_STORE", store)
            .env("JOB_SERVICE_QUEUE", queue)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = child.stderr.take().context("its log is piped")?;
        let server = Self(child);
        let mut lines = BufReader::new(log).lines();
        let listens = |line: &str| line.contains("the API is at");
        lines
            .by_ref()
            .map_while(std::io::Result::ok)
            .find(|line| listens(line))
            .context("it did not start")?;
        // A pipe that nobody reads would stop it; it ends with the process.
        job_core::Shutdown::new().spawn_blocking(move || lines.map_while(std::io::Result::ok).for_each(drop));
        Ok(server)
    }

    fn resident_mib(&self) -> Result<f64> {
        self.mib("VmRSS:")
    }

    fn mib(&self, field: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    async fn sample_for(&self, wait: Duration) -> Result<Series> {
        let begun = Instant::now();
        let mut series = Series::default();
        while begun.elapsed() < wait {
            series.add(self.resident_mib()?);
            tokio::time::sleep(SAMPLE).await;
        }
        Ok(series)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
