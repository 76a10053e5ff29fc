//! Lending connections out.
//!
//! The driver's pool asks every connection that comes back whether it is still alive, a round trip for each call, and a
//! sixth of the time that storing a job takes. A connection that has just answered need not be asked, and is kept warm
//! here instead; the pool has it back, and looks after it, when it has rested or has been out for a while.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use job_core::{Clock, ClockExt, Shutdown, Timestamp};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::options::PostgresOptions;
use crate::{connect, silence};

/// A connection that answered less than this ago is good.
pub(crate) const REST: Duration = Duration::from_secs(1);
/// The pool closes connections that have grown old, so it has to see each of them now and then.
const OUT_MAX: Duration = Duration::from_secs(10);

/// Connections to the database, no more than there may be at a time.
#[derive(Debug)]
pub(crate) struct Connections {
    pool: PgPool,
    clock: Arc<dyn Clock>,
    /// One for each connection that there may be. Who has one finds a warm connection, or one that the pool can give.
    places: Arc<Semaphore>,
    patience: Duration,
    /// Those that rest, the longest first; none once the store is closed.
    warm: Mutex<Option<VecDeque<Warm>>>,
}

#[derive(Debug)]
struct Warm {
    connection: PoolConnection<Postgres>,
    out: Out,
    rests_since: Timestamp,
}

/// A connection as the pool gave it out.
#[derive(Debug, Clone, Copy)]
struct Out {
    since: Timestamp,
    /// The server's process at its other end.
    backend: i32,
}

impl Connections {
    /// Opens none yet.
    pub(crate) fn new(options: &PostgresOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            pool: connect::pool(options, Arc::clone(&clock)),
            clock,
            places: Arc::new(Semaphore::new(options.pool_size as usize)),
            patience: options.acquire_timeout,
            warm: Mutex::new(Some(VecDeque::new())),
        }
    }

    /// How long somebody waits for a connection.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How many there are, and how many of these rest.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let warm = self.with_warm(|warm| warm.as_ref().map_or(0, VecDeque::len));
        let (size, idle) = (self.pool.size(), self.pool.num_idle() + warm);
        (size, u32::try_from(idle).unwrap_or(u32::MAX).min(size))
    }

    /// Waits for a connection, in turn with others who do.
    pub(crate) async fn lend(self: &Arc<Self>) -> Result<Lent, sqlx::Error> {
        let place = self.place().await?;
        let lender = Arc::clone(self);
        let mut lent = Lent { connection: None, out: None, ending: Ending::Unknown, lender, _place: place };
        // The one that was used last, so that the others can rest.
        if let Some(warm) = self.with_warm(|warm| warm.as_mut()?.pop_back()) {
            let rests = self.clock.now().since(warm.rests_since);
            (lent.connection, lent.out) = (Some(warm.connection), Some(warm.out));
            if rests < REST || silence::ping(&mut lent, &*self.clock).await.is_ok() {
                return Ok(lent);
            }
            lent.close();
        }
        lent.connection = Some(self.pool.acquire().await?);
        let backend = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *lent).await?;
        lent.out = Some(Out { since: self.clock.now(), backend });
        Ok(lent)
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, sqlx::Error> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let place = self.clock.timeout(self.patience, Arc::clone(&self.places).acquire_owned()).await;
        place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)
    }

    fn keep_warm(&self, connection: PoolConnection<Postgres>, out: Out) {
        let now = self.clock.now();
        let cold = self.with_warm(|warm| {
            let Some(warm) = warm.as_mut().filter(|_| now.since(out.since) < OUT_MAX) else {
                return Some(connection);
            };
            warm.push_back(Warm { connection, out, rests_since: now });
            let longest = warm.pop_front_if(|warm| now.since(warm.rests_since) >= REST);
            longest.map(|warm| warm.connection)
        });
        cold.into_iter().for_each(|connection| self.give_back(connection));
    }

    /// Has the pool try every connection that rests, as when another one was found dead.
    fn cool_all(&self) {
        let all = self.with_warm(|warm| warm.as_mut().map(std::mem::take).unwrap_or_default());
        all.into_iter().for_each(|warm| self.give_back(warm.connection));
    }

    /// What the pool does when a connection is dropped, but not for ever: it pings it first, and one that never answers
    /// would keep its place among those that there may be.
    fn give_back(&self, mut connection: PoolConnection<Postgres>) {
        let (clock, giving_back) = (Arc::clone(&self.clock), connection.return_to_pool());
        Shutdown::new().spawn(async move { clock.timeout(silence::PING, giving_back).await });
    }

    /// Closes all connections, once what they do is done.
    pub(crate) async fn close(&self) {
        self.places.close();
        let warm = self.with_warm(Option::take);
        warm.into_iter().flatten().for_each(|warm| self.give_back(warm.connection));
        self.pool.close().await;
    }

    fn with_warm<T>(&self, use_it: impl FnOnce(&mut Option<VecDeque<Warm>>) -> T) -> T {
        use_it(&mut self.warm.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is known about a connection when nobody needs it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nobody knows what the server has heard, so the connection is closed, and the server rolls back.
    Unknown,
    /// Nothing is left of what was done, but something went wrong.
    Doubtful,
    Good,
}

/// A connection while something is done with it. Dropped before it is said how that ended, it is closed.
pub(crate) struct Lent {
    /// There once it is lent, until it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    out: Option<Out>,
    ending: Ending,
    lender: Arc<Connections>,
    /// Given up last, when the connection can be found by whoever waits for it.
    _place: OwnedSemaphorePermit,
}

impl Lent {
    /// The server's process at the other end.
    pub(crate) fn backend(&self) -> i32 {
        self.out.map_or(0, |out| out.backend)
    }

    /// What was done succeeded, and is over.
    pub(crate) fn is_good(&mut self) {
        self.ending = Ending::Good;
    }

    /// What was done failed, and is over.
    pub(crate) fn is_doubtful(&mut self) {
        self.ending = Ending::Doubtful;
    }

    /// Nobody is to use it any more, nor others before they have been tried.
    fn close(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.close_on_drop();
            self.lender.cool_all();
        }
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("a connection until it is dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a connection until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        match (self.ending, self.out) {
            (Ending::Good, Some(out)) => {
                self.connection
                    .take()
                    .into_iter()
                    .for_each(|connection| self.lender.keep_warm(connection, out));
            }
            (Ending::Doubtful, _) => {
                self.connection.take().into_iter().for_each(|connection| self.lender.give_back(connection));
            }
            _ => self.close(),
        }
    }
}

/// As when a pool is dropped, connections are cut off: there may be no runtime any more to say farewell in.
impl Drop for Connections {
    fn drop(&mut self) {
        let warm = self.with_warm(Option::take);
        warm.into_iter().flatten().for_each(|warm| drop(warm.connection.leak()));
    }
}
