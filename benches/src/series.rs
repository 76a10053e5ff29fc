//! Medians with their spread.

use std::time::Duration;

/// Measured values of one kind.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// One value more.
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// How many there were in a second.
    pub fn add_rate(&mut self, count: usize, took: Duration) {
        self.add(count as f64 / took.as_secs_f64());
    }

    /// The value in the middle.
    ///
    /// # Panics
    /// Without a value, as everything that follows.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value that this share of all are not above.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * quantile).round() as usize]
    }

    /// How much higher the mean of the last third is than that of the first.
    #[must_use]
    pub fn drift(&self) -> f64 {
        let third = self.0.len().div_ceil(3);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        mean(&self.0[self.0.len() - third..]) - mean(&self.0[..third])
    }

    /// The median, and the least and the greatest.
    #[must_use]
    pub fn shown(&self) -> String {
        let (low, high) = (self.quantile(0.0), self.quantile(1.0));
        format!("{} ({} - {})", number(self.median()), number(low), number(high))
    }
}

/// A number with as many digits as mean something.
#[must_use]
pub fn number(value: f64) -> String {
    match value {
        v if v >= 10_000.0 => format!("{:.1}k", v / 1_000.0),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}
