//! The rows of a table.

use std::time::Duration;

use job_benches::Series;

/// Rates of ours and of the yardstick in the same rounds.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) ours: Series,
    yardstick: Series,
    ratios: Series,
}

impl Compared {
    pub(crate) fn add(&mut self, units: usize, ours: Duration, yardstick: Duration) {
        self.ours.add_rate(units, ours);
        self.yardstick.add_rate(units, yardstick);
        self.ratios.add(yardstick.as_secs_f64() / ours.as_secs_f64());
    }

    /// `required` is the least ratio to the yardstick.
    pub(crate) fn show(&self, work: &str, yardstick: &str, required: f64) {
        self.print(work, yardstick, &format!("{required}"), verdict(self.ratios.median() >= required));
    }

    /// Where no ratio is required.
    pub(crate) fn tell(&self, work: &str, yardstick: &str) {
        self.print(work, yardstick, "", "");
    }

    fn print(&self, work: &str, yardstick: &str, required: &str, verdict: &str) {
        let (ours, beside) = (self.ours.shown(), self.yardstick.shown());
        let ratio = self.ratios.shown();
        println!("| {work} | {ours} /s | {yardstick}: {beside} /s | {ratio} | {required} | {verdict} |");
    }
}

pub(crate) fn heading() {
    println!("| work | measured | yardstick | ratio | required | |\n| --- | --- | --- | --- | --- | --- |");
}

pub(crate) fn row(work: &str, measured: &str, yardstick: &str, ratio: &str, required: &str, is_met: bool) {
    let verdict = verdict(is_met);
    println!("| {work} | {measured} | {yardstick} | {ratio} | {required} | {verdict} |");
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
