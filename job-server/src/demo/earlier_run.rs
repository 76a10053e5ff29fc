//! What an earlier demo left in a store that outlives it.
#![expect(clippy::print_stdout, reason = "the demo speaks to whoever started it")]

use anyhow::Context as _;
use job_core::Timestamp;
use serde_json::Value;

use super::client::{Client, Created};
use super::observed_job::ObservedJob;

/// How a demo begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// All its jobs are new.
    Anew,
    /// It goes on with jobs of an earlier demo, which was killed.
    GoesOn,
}

/// Submits jobs in this order. Those of an earlier demo that is not over are gone on with, if they are the same; others are
/// deleted, and what they left is cleared away by `forget`, before the new ones start.
pub(super) async fn begin(
    client: &Client,
    jobs: &[(&'static str, Value)],
    now: Timestamp,
    forget: impl FnOnce() -> std::io::Result<()>,
) -> anyhow::Result<Beginning> {
    let unfinished = look(client, jobs, now).await?;
    if unfinished && submit(client, jobs).await? {
        println!("Going on with the jobs of a demo that was killed");
        return Ok(Beginning::GoesOn);
    }
    for (id, _) in jobs {
        client.delete(id).await?;
    }
    forget().context("what an earlier demo left cannot be cleared away")?;
    anyhow::ensure!(submit(client, jobs).await?, "the jobs of an earlier demo cannot be replaced");
    Ok(Beginning::Anew)
}

/// Whether there are jobs of which any is not over.
async fn look(client: &Client, jobs: &[(&'static str, Value)], now: Timestamp) -> anyhow::Result<bool> {
    let (mut found, mut over) = (0, 0);
    for (id, _) in jobs {
        if let Some(answer) = client.find(id).await? {
            let mut job = ObservedJob::new(id, now);
            job.observe(answer, now);
            found += 1;
            over += usize::from(job.is_over(now));
        }
    }
    Ok(found > 0 && over < jobs.len())
}

/// Whether all are there now, as they are meant.
async fn submit(client: &Client, jobs: &[(&'static str, Value)]) -> anyhow::Result<bool> {
    for (id, body) in jobs {
        let created =
            client.create(id, body).await.with_context(|| format!("job {id} could not be submitted"))?;
        if created == Created::Differs {
            return Ok(false);
        }
    }
    Ok(true)
}
