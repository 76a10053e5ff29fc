//! What the benchmarks share: rounds, medians and spread.
//!
//! A benchmark here is a program that measures a few whole workloads, each several times in turn, and prints medians
//! with their spread: these machines are noisy, and a ratio within one run says more than a number.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]

mod series;

pub use series::{Series, number};

use std::time::{Duration, Instant};

/// Times of several rounds of one workload.
#[derive(Debug, Clone)]
pub struct Measured {
    name: String,
    units: u64,
    rounds: Vec<Duration>,
}

impl Measured {
    /// Units per second in the median round.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.units as f64 / self.median().as_secs_f64()
    }

    /// The median round.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.rounds[self.rounds.len() / 2]
    }

    /// Prints units per second: median, slowest and fastest round.
    pub fn print(&self) {
        let rate = |round: Duration| self.units as f64 / round.as_secs_f64();
        let (fastest, slowest) = (self.rounds[0], self.rounds[self.rounds.len() - 1]);
        println!(
            "{:<58} {:>14.0} /s   ({:.0} to {:.0}; {:.1?} a round)",
            self.name,
            self.per_second(),
            rate(slowest),
            rate(fastest),
            self.median()
        );
    }
}

/// Runs `work` for `rounds` rounds, each on a fresh `setup`, and prints the result. `units` is what one round does.
pub fn measure<S>(
    name: &str,
    units: u64,
    rounds: usize,
    setup: impl Fn() -> S,
    mut work: impl FnMut(&mut S),
) -> Measured {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let mut state = setup();
            let start = Instant::now();
            work(&mut state);
            start.elapsed()
        })
        .collect();
    times.sort();
    let measured = Measured { name: name.to_owned(), units, rounds: times };
    measured.print();
    measured
}

/// A shuffle that is the same in every run.
pub fn shuffle<T>(items: &mut [T]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(i, (state % (i as u64 + 1)) as usize);
    }
}

/// What some work comes to, and how long it takes.
pub async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    let result = work.await;
    (result, started.elapsed())
}
