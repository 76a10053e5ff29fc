//! Medians with their spread, and the rows of a table.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn quantile(&self, quantile: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * quantile).round() as usize]
    }

    /// How much higher the mean of the last third is than that of the first.
    pub(crate) fn drift(&self) -> f64 {
        let third = self.0.len().div_ceil(3);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        mean(&self.0[self.0.len() - third..]) - mean(&self.0[..third])
    }

    /// The median, and the least and the greatest.
    pub(crate) fn shown(&self) -> String {
        let (low, high) = (self.quantile(0.0), self.quantile(1.0));
        format!("{} ({} - {})", number(self.median()), number(low), number(high))
    }
}

/// Rates of ours and of the yardstick in the same rounds.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) ours: Series,
    yardstick: Series,
    ratios: Series,
}

impl Compared {
    pub(crate) fn add(&mut self, units: usize, ours: Duration, yardstick: Duration) {
        self.ours.add(units as f64 / ours.as_secs_f64());
        self.yardstick.add(units as f64 / yardstick.as_secs_f64());
        self.ratios.add(yardstick.as_secs_f64() / ours.as_secs_f64());
    }

    /// `required` is the least ratio to the yardstick.
    pub(crate) fn show(&self, work: &str, yardstick: &str, required: f64) {
        row(
            work,
            &format!("{} /s", self.ours.shown()),
            &format!("{yardstick}: {} /s", self.yardstick.shown()),
            &self.ratios.shown(),
            &format!("{required}"),
            self.ratios.median() >= required,
        );
    }
}

pub(crate) fn heading() {
    println!("| work | measured | yardstick | ratio | required | |\n| --- | --- | --- | --- | --- | --- |");
}

pub(crate) fn row(work: &str, measured: &str, yardstick: &str, ratio: &str, required: &str, is_met: bool) {
    let verdict = if is_met { "met" } else { "missed" };
    println!("| {work} | {measured} | {yardstick} | {ratio} | {required} | {verdict} |");
}

fn number(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{:.1}k", v / 1_000.0),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    let result = work.await;
    (result, started.elapsed())
}
