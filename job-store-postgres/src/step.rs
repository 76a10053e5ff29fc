//! One call of the store as one step: a transaction, or a single statement, that is run again as a whole when it fails
//! for a passing reason.
//!
//! A transaction here is never sqlx's own. Version 0.9 may lend out a connection with a transaction left open when the
//! future that began one is dropped; ours closes the connection instead.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use job_core::{Clock, Error, ErrorKind, IdSource, RandomIds, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::connections::Connections;
use crate::silence::Backend;
use crate::{error, silence};

/// How often a step is run before its failure is the caller's.
const ATTEMPTS_MAX: u32 = 8;
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often a step may ask to begin again because it has learnt what to lock.
const RESTARTS_MAX: u32 = 100;
/// How many statements that each take all the time they may a step waits for, before it takes its connection to be dead.
const PATIENCE_STATEMENTS: u32 = 4;

/// Why a step did not get to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Job(#[from] Error),
    /// The step now knows more, and wants to begin again.
    #[error("the step is to begin again")]
    Again,
}

/// Whether a step needs a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Transaction,
    /// Statements that are each a transaction by themselves, most often a single one.
    Statement,
}

/// An expression that has the transaction of its statement committed without waiting for the disk. A crash of the server may
/// undo it, and whatever came after it, never anything before it: so it is right where that is the same as dying a moment
/// earlier. A dispatcher that dies before its lease or its settlement is stored publishes once more, as at-least-once
/// allows.
macro_rules! unforced {
    () => {
        "set_config('synchronous_commit', 'off', true)"
    };
}
pub(crate) use unforced;

/// What one call does. It may be run several times, and must not remember anything that a later run would count twice.
#[async_trait]
pub(crate) trait Step: Send {
    type Output: Send;
    const NAME: &'static str;
    const FORM: Form;
    /// Whether its statements may take as long as they like.
    const IS_LONG: bool = false;

    /// How the transaction begins. Statements that take nothing but numbers may come along, and save a round trip each.
    fn opening(&self) -> Cow<'static, str> {
        Cow::Borrowed("BEGIN")
    }

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Self::Output, Trouble>;
}

/// Runs steps.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) connections: &'a Arc<Connections>,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) retry_limit: Duration,
    pub(crate) statement_timeout: Duration,
}

impl Runner<'_> {
    pub(crate) async fn run<S: Step>(&self, mut step: S) -> Result<S::Output> {
        let started = self.clock.now();
        let (mut attempts, mut restarts) = (0, 0);
        loop {
            match self.attempt(&mut step).await {
                Ok(output) => return Ok(output),
                Err(Trouble::Again) if restarts < RESTARTS_MAX => restarts += 1,
                Err(Trouble::Again) => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "the store is too busy with the same jobs",
                    )
                    .with_operation(S::NAME));
                }
                Err(Trouble::Job(error)) => return Err(error.with_operation(S::NAME)),
                Err(Trouble::Database(cause)) => {
                    attempts += 1;
                    let elapsed = self.clock.now().since(started);
                    let is_over = attempts == ATTEMPTS_MAX || !error::is_passing(&cause);
                    if is_over || elapsed + self.known_wait(&cause) >= self.retry_limit {
                        return Err(error::from_database(cause).with_operation(S::NAME));
                    }
                    tracing::debug!(step = S::NAME, attempts, %cause, "a step is run again");
                    self.clock.sleep(pause(attempts)).await;
                }
            }
        }
    }

    /// How long the next attempt is sure to take if it fails like this one. Whoever called gives up at some time of its own, and
    /// is to hear of the cause before.
    fn known_wait(&self, cause: &sqlx::Error) -> Duration {
        match cause {
            sqlx::Error::PoolTimedOut => self.connections.patience(),
            _ => Duration::ZERO,
        }
    }

    /// One attempt, given up when the server has fallen silent.
    async fn attempt<S: Step>(&self, step: &mut S) -> Result<S::Output, Trouble> {
        let patience = patience(S::IS_LONG, self.statement_timeout);
        let backend = Backend::default();
        tokio::select! {
            biased;
            outcome = self.converse(step, &backend) => outcome,
            gone = silence::until_gone(self.connections.pool(), self.clock.as_ref(), patience, &backend) => {
                Err(gone.into())
            }
        }
    }

    async fn converse<S: Step>(&self, step: &mut S, backend: &Backend) -> Result<S::Output, Trouble> {
        let mut lent = self.connections.lend().await?;
        backend.is(lent.backend());
        if S::FORM == Form::Statement {
            let result = step.run(&mut lent).await;
            match &result {
                Ok(_) => lent.is_good(),
                Err(trouble) if is_of_the_session(trouble) => (),
                Err(_) => lent.is_doubtful(),
            }
            return result;
        }
        match begin(&mut lent, step).await {
            Ok(output) => {
                lent.execute("COMMIT").await?;
                lent.is_good();
                Ok(output)
            }
            // Dropped, it takes its session with it.
            Err(trouble) if is_of_the_session(&trouble) => Err(trouble),
            Err(trouble) => {
                // The trouble matters more than a failure to roll back, which costs only the connection.
                if lent.execute("ROLLBACK").await.is_ok() {
                    lent.is_doubtful();
                }
                Err(trouble)
            }
        }
    }
}

/// Everything between the beginning and the end of a transaction, an opening that does some of the work included.
async fn begin<S: Step>(connection: &mut PgConnection, step: &mut S) -> Result<S::Output, Trouble> {
    // Checked: an opening is made of fixed text and of numbers.
    connection.execute(sqlx::raw_sql(AssertSqlSafe(step.opening()))).await?;
    step.run(connection).await
}

/// How long an attempt may take. To PostgreSQL a time-out of zero is none.
fn patience(is_long: bool, statement_timeout: Duration) -> Duration {
    if is_long || statement_timeout.is_zero() {
        return Duration::MAX;
    }
    statement_timeout.saturating_mul(PATIENCE_STATEMENTS)
}

/// Doubles, and lies at random between half and all of that, so that two that met do not meet again.
fn pause(attempts: u32) -> Duration {
    let full = PAUSE_MIN.saturating_mul(1 << (attempts - 1).min(16)).min(PAUSE_MAX);
    let random = RandomIds.next().as_u128() as u32;
    full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Whether another session might not have the trouble.
fn is_of_the_session(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Database(cause) if error::is_read_only(cause) || error::is_lost(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_without_a_time_out_are_waited_for() {
        let second = Duration::from_secs(1);
        assert_eq!(patience(false, second), 4 * second);
        for (is_long, timeout) in [(true, second), (false, Duration::ZERO), (false, Duration::MAX)] {
            assert_eq!(patience(is_long, timeout), Duration::MAX, "{is_long} {timeout:?}");
        }
    }

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        for attempts in 1..=20 {
            let pause = pause(attempts);
            assert!(pause >= PAUSE_MIN / 2 && pause <= PAUSE_MAX, "{attempts}: {pause:?}");
        }
        assert!(pause(20) >= PAUSE_MAX / 2);
    }
}
