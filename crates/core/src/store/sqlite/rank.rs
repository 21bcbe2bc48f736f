//! Ranks of waiting jobs: ascending from front to back, in one band per priority.
//!
//! The bands are too far apart for any number of pushes to join them; ranks start in the middle of a band.

use super::error::SqliteError;
use super::transaction::Tx;
use crate::job::Priority;

/// Distance between the middles of two bands.
const BAND: i64 = 1 << 61;

/// The stored form of a priority: the middle of its band in units of [`BAND`].
pub(super) fn number(priority: Priority) -> i64 {
    index(priority) as i64 - 1
}

/// The priority of a stored number; a foreign number means normal.
pub(super) fn priority(number: i64) -> Priority {
    Priority::ALL.into_iter().find(|priority| self::number(*priority) == number).unwrap_or_default()
}

fn index(priority: Priority) -> usize {
    priority as usize
}

/// First and last rank of a band.
pub(super) fn band(priority: Priority) -> (i64, i64) {
    let middle = number(priority) * BAND;
    (middle - BAND / 2, middle + BAND / 2 - 1)
}

/// The free ranks at both ends of each priority in a waiting bucket, looked up on first use.
#[derive(Debug)]
pub(super) struct WaitingEnds {
    waiting: i64,
    fronts: [Option<i64>; 3],
    backs: [Option<i64>; 3],
}

impl WaitingEnds {
    pub(super) fn of(waiting: i64) -> Self {
        Self { waiting, fronts: [None; 3], backs: [None; 3] }
    }

    /// The next rank behind all jobs of this priority.
    pub(super) fn back(&mut self, tx: &Tx<'_>, priority: Priority) -> Result<i64, SqliteError> {
        let back = match self.backs[index(priority)] {
            Some(back) => back,
            None => {
                let (first, last) = band(priority);
                let found = tx.number(
                    "SELECT rank FROM jobs WHERE lane = ?1 AND rank BETWEEN ?2 AND ?3 ORDER BY rank DESC LIMIT 1",
                    [self.waiting, first, last],
                )?;
                found.map_or(number(priority) * BAND, |rank| rank + 1)
            }
        };
        self.backs[index(priority)] = Some(back + 1);
        Ok(back)
    }

    /// The first of `count` consecutive ranks before all jobs of this priority.
    pub(super) fn fronts(&mut self, tx: &Tx<'_>, priority: Priority, count: i64) -> Result<i64, SqliteError> {
        let front = match self.fronts[index(priority)] {
            Some(front) => front,
            None => {
                let (first, last) = band(priority);
                let found = tx.number(
                    "SELECT rank FROM jobs WHERE lane = ?1 AND rank BETWEEN ?2 AND ?3 ORDER BY rank LIMIT 1",
                    [self.waiting, first, last],
                )?;
                // In an empty band the first rank at the back also bounds the fronts, in either order of calls.
                found.unwrap_or_else(|| *self.backs[index(priority)].get_or_insert(number(priority) * BAND))
            }
        };
        self.fronts[index(priority)] = Some(front - count);
        Ok(front - count)
    }
}

/// Reserved front ranks for a batch of jobs that keep their order.
#[derive(Debug)]
pub(super) struct Fronts([i64; 3]);

impl Fronts {
    /// Reserves one rank per job of these priorities.
    pub(super) fn of(
        tx: &Tx<'_>,
        ends: &mut WaitingEnds,
        jobs: impl Iterator<Item = Priority>,
    ) -> Result<Self, SqliteError> {
        let mut counts = [0; 3];
        jobs.for_each(|priority| counts[index(priority)] += 1);
        let mut next = [0; 3];
        for priority in Priority::ALL {
            let count = counts[index(priority)];
            if count > 0 {
                next[index(priority)] = ends.fronts(tx, priority, count)?;
            }
        }
        Ok(Self(next))
    }

    /// The next reserved rank of this priority.
    pub(super) fn next(&mut self, priority: Priority) -> i64 {
        let next = &mut self.0[index(priority)];
        *next += 1;
        *next - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_bands_are_disjoint_and_in_range() {
        let [high, normal, low] = Priority::ALL.map(band);
        assert_eq!((high.1 + 1, normal.1 + 1), (normal.0, low.0));
        assert!(high.0 < high.1 && low.1 < i64::MAX && normal.0 < 0 && normal.1 > 0);
        for stored in Priority::ALL {
            assert_eq!(priority(number(stored)), stored);
        }
        assert_eq!([priority(7), priority(i64::MIN)], [Priority::Normal; 2]);
    }
}
