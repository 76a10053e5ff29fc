//! Percentages in exact integer arithmetic.

use std::fmt;

/// A percentage as a whole number of steps of 1/40,000,000 of a percent.
///
/// All arithmetic is on integers, so that a result never depends on the order in which its parts arrived. The step is
/// small enough that 32 levels of rounding down stay far below the two decimals that are shown, and large enough that
/// the sum over 2^31 siblings fits 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Percentage(u64);

impl Percentage {
    /// Nothing is done.
    pub const ZERO: Self = Self(0);
    /// Everything is done.
    pub const FULL: Self = Self(4_000_000_000);
    /// The most that a task with incomplete subtasks shows (REST contract §4.4).
    pub const INCOMPLETE_MAX: Self = Self(3_988_000_000);
    /// The most that a progress report counts (REST contract §4.5).
    pub const REPORTED_MAX: Self = Self(3_996_000_000);

    const STEPS_PER_HUNDREDTH: u64 = Self::FULL.0 / 10_000;

    /// The percentage of this many hundredths of a percent; more than 100 % is 100 %.
    #[must_use]
    pub const fn from_hundredths(hundredths: u16) -> Self {
        let hundredths = if hundredths > 10_000 { 10_000 } else { hundredths };
        Self(hundredths as u64 * Self::STEPS_PER_HUNDREDTH)
    }

    /// Reads a number from 0 to 100; finer than a hundredth is rounded.
    #[must_use]
    pub fn from_number(percent: f64) -> Option<Self> {
        if !(0.0..=100.0).contains(&percent) {
            return None;
        }
        let hundredths = (percent * 100.0).round() as u16;
        Some(Self::from_hundredths(hundredths))
    }

    /// From its stored form; more than 100 % is 100 %.
    #[must_use]
    pub const fn from_steps(steps: u64) -> Self {
        if steps > Self::FULL.0 { Self::FULL } else { Self(steps) }
    }

    /// Its stored form, 0 to 4,000,000,000.
    #[must_use]
    pub const fn steps(self) -> u64 {
        self.0
    }

    /// Rounded to hundredths of a percent, half up: 0 to 10,000. This is what a job shows.
    #[must_use]
    pub const fn hundredths(self) -> u16 {
        let rounded = (self.0 + Self::STEPS_PER_HUNDREDTH / 2) / Self::STEPS_PER_HUNDREDTH;
        rounded as u16
    }

    /// Rounded to two decimals, as a number from 0.0 to 100.0.
    #[must_use]
    pub fn rounded(self) -> f64 {
        f64::from(self.hundredths()) / 100.0
    }
}

impl fmt::Debug for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.rounded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_values_are_rounded_half_up() {
        for (steps, shown) in [
            (0, 0.0),
            (1_333_333_333, 33.33),
            (2_666_666_666, 66.67),
            (200_000, 0.01),
            (199_999, 0.0),
            (Percentage::INCOMPLETE_MAX.0, 99.7),
            (Percentage::REPORTED_MAX.0, 99.9),
            (Percentage::FULL.0, 100.0),
        ] {
            assert!((Percentage(steps).rounded() - shown).abs() < 1e-9, "{steps}");
        }
    }

    #[test]
    fn only_numbers_from_0_to_100_are_percentages() {
        assert_eq!(Percentage::from_number(40.0), Some(Percentage(1_600_000_000)));
        for bad in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Percentage::from_number(bad), None);
        }
    }
}
