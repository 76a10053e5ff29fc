//! Numbers of jobs and outbox entries, taken from the database in blocks, so that a statement that stores a job with
//! everything about it knows the number beforehand.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use job_core::Result;
use sqlx::PgConnection;

use crate::step::{Form, Runner, Step, Trouble};

/// How many numbers one value of the sequence stands for; never to be changed.
const BLOCK: i64 = 1024;

#[derive(Debug, Default)]
pub(crate) struct Numbers {
    free: Mutex<Range<i64>>,
}

impl Numbers {
    /// Numbers that nobody else has or will have.
    pub(crate) async fn take(&self, runner: &Runner<'_>, count: usize) -> Result<Vec<i64>> {
        let mut numbers = Vec::with_capacity(count);
        {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.extend(free.by_ref().take(count));
        }
        let missing = count - numbers.len();
        if missing == 0 {
            return Ok(numbers);
        }
        let blocks = runner.run(NextBlocks(missing.div_ceil(BLOCK as usize) as i32)).await?;
        let mut fresh: Vec<Range<i64>> =
            blocks.into_iter().map(|block| block * BLOCK..(block + 1) * BLOCK).collect();
        numbers.extend(fresh.iter_mut().flatten().take(missing));
        // What a concurrent call has left is dropped: numbers are plentiful.
        if let Some(rest) = fresh.pop() {
            *self.free.lock().unwrap_or_else(PoisonError::into_inner) = rest;
        }
        Ok(numbers)
    }
}

struct NextBlocks(i32);

#[async_trait]
impl Step for NextBlocks {
    type Output = Vec<i64>;
    const NAME: &'static str = "store::number";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Vec<i64>, Trouble> {
        Ok(sqlx::query_scalar("SELECT nextval('job_number_block') FROM generate_series(1, $1)")
            .bind(self.0)
            .fetch_all(connection)
            .await?)
    }
}
