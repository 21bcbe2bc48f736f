//! The scale of values: round ticks, linear or logarithmic.

use super::unit::Unit;

/// Maps values to heights between 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    /// The value at the top.
    pub(crate) top: f64,
    /// Whether the scale is logarithmic.
    pub(crate) log: bool,
    /// Values with a line and a label, ascending.
    pub(crate) ticks: Vec<f64>,
}

/// Distances between the ticks of durations of a second and more.
const DURATION_STEPS: [f64; 18] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0,
    21_600.0, 43_200.0, 86_400.0,
];
const WANTED_TICKS: f64 = 4.0;
/// Ticks of a logarithmic scale beside zero.
const MOST_DECADES: usize = 4;

impl Scale {
    /// A scale from zero to a round value at or above `max`.
    pub(crate) fn new(unit: Unit, max: f64, log: bool) -> Self {
        if log { Self::logarithmic(max) } else { Self::linear(unit, max) }
    }

    fn linear(unit: Unit, max: f64) -> Self {
        let max = if max > 0.0 { max } else { empty_top(unit) };
        let step = step(unit, max / WANTED_TICKS);
        // A share of the step above a tick is an error of floats, no reason for one more tick.
        let count = (max / step - 1e-9).ceil().max(1.0);
        let ticks = (0..=count as u32).map(|tick| f64::from(tick) * step).collect();
        Self { top: count * step, log: false, ticks }
    }

    fn logarithmic(max: f64) -> Self {
        let decades = (max.max(10.0).log10() - 1e-9).ceil() as usize;
        let every = decades.div_ceil(MOST_DECADES).max(1);
        let powers = (0..=decades).rev().step_by(every).map(|power| 10_f64.powi(power as i32));
        let mut ticks: Vec<f64> = powers.chain([0.0]).collect();
        ticks.reverse();
        Self { top: 10_f64.powi(decades as i32), log: true, ticks }
    }

    /// Height of a value: 0 at the bottom, 1 at the top.
    pub(crate) fn height(&self, value: f64) -> f64 {
        let height = if self.log { value.ln_1p() / self.top.ln_1p() } else { value / self.top };
        height.clamp(0.0, 1.0)
    }
}

/// The top of a scale when every value is zero.
fn empty_top(unit: Unit) -> f64 {
    match unit {
        Unit::Count | Unit::PerSecond => 4.0,
        Unit::Seconds => 1.0,
        Unit::Bytes => 1_048_576.0,
    }
}

/// The round distance at or above `least`.
fn step(unit: Unit, least: f64) -> f64 {
    match unit {
        Unit::Count => one_two_five(least).max(1.0),
        Unit::PerSecond => one_two_five(least),
        Unit::Seconds if least <= 0.5 => one_two_five(least),
        Unit::Seconds => DURATION_STEPS
            .into_iter()
            .find(|step| *step >= least)
            .unwrap_or_else(|| one_two_five(least / 86_400.0) * 86_400.0),
        Unit::Bytes => least.max(1.0).log2().ceil().exp2(),
    }
}

fn one_two_five(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::{Scale, Unit};

    fn labels(unit: Unit, max: f64, log: bool) -> String {
        let scale = Scale::new(unit, max, log);
        assert_eq!(scale.ticks.last(), Some(&scale.top));
        scale.ticks.iter().map(|tick| unit.short(*tick)).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(Unit::Count, 1_180.0, false), "0 | 500 | 1,000 | 1,500");
        assert_eq!(labels(Unit::Count, 1.0, false), "0 | 1");
        assert_eq!(labels(Unit::Count, 0.0, false), "0 | 1 | 2 | 3 | 4");
        assert_eq!(labels(Unit::Count, 1e12, false), "0 | 500G | 1T");
        assert_eq!(labels(Unit::PerSecond, 0.3, false), "0 | 0.1 | 0.2 | 0.3");
        assert_eq!(labels(Unit::Seconds, 0.512, false), "0 s | 200 ms | 400 ms | 600 ms");
        assert_eq!(labels(Unit::Seconds, 150.0, false), "0 s | 1 min | 2 min | 3 min");
        assert_eq!(labels(Unit::Seconds, 1_000_000.0, false), "0 s | 5 d | 10 d | 15 d");
        assert_eq!(labels(Unit::Bytes, 300e6, false), "0 B | 128 MiB | 256 MiB | 384 MiB");
    }

    #[test]
    fn decades_have_ticks_and_zero_has_a_place() {
        assert_eq!(labels(Unit::Count, 1_180.0, true), "0 | 1 | 10 | 100 | 1,000 | 10k");
        assert_eq!(labels(Unit::Count, 0.0, true), "0 | 1 | 10");
        assert_eq!(labels(Unit::Count, 1e12, true), "0 | 1 | 1,000 | 1M | 1G | 1T");
        let scale = Scale::new(Unit::Count, 999.0, true);
        assert_eq!(scale.height(0.0), 0.0);
        assert_eq!(scale.height(1_000.0), 1.0);
    }

    #[test]
    fn every_size_has_few_ticks() {
        for unit in [Unit::Count, Unit::PerSecond, Unit::Seconds, Unit::Bytes] {
            for exponent in -90..=180 {
                let max = 10_f64.powf(f64::from(exponent) / 10.0);
                for log in [false, true] {
                    let scale = Scale::new(unit, max, log);
                    assert!((2..=7).contains(&scale.ticks.len()), "{unit:?} {max}: {:?}", scale.ticks);
                    assert!(scale.top >= max * (1.0 - 1e-6), "{unit:?} {max}: {}", scale.top);
                }
            }
        }
    }
}
