//! The order of waiting: ranks that grow from the front to the back, in a band for each priority.
//!
//! The bands lie so far apart that no number of pushes brings them together; within one, ranks start at its middle.

use super::error::SqliteError;
use super::transaction::Tx;
use crate::job::Priority;

/// The distance between the middles of two bands.
const BAND: i64 = 1 << 61;

/// A priority as stored; its band's middle in units of [`BAND`].
pub(super) fn number(priority: Priority) -> i64 {
    index(priority) as i64 - 1
}

/// A priority from where it was stored; what no one of us wrote is normal.
pub(super) fn priority(number: i64) -> Priority {
    Priority::ALL.into_iter().find(|priority| self::number(*priority) == number).unwrap_or_default()
}

fn index(priority: Priority) -> usize {
    priority as usize
}

/// The first rank of a band and the last.
fn band(priority: Priority) -> (i64, i64) {
    let middle = number(priority) * BAND;
    (middle - BAND / 2, middle + BAND / 2 - 1)
}

/// The free ranks at both ends of each priority in a waiting lane, looked up when they are first asked for.
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

    /// The next rank behind everything of this priority.
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

    /// The first of `count` ranks in a row before everything of this priority.
    pub(super) fn fronts(&mut self, tx: &Tx<'_>, priority: Priority, count: i64) -> Result<i64, SqliteError> {
        let front = match self.fronts[index(priority)] {
            Some(front) => front,
            None => {
                let (first, last) = band(priority);
                let found = tx.number(
                    "SELECT rank FROM jobs WHERE lane = ?1 AND rank BETWEEN ?2 AND ?3 ORDER BY rank LIMIT 1",
                    [self.waiting, first, last],
                )?;
                // Where nothing is yet, what comes to the back comes behind these, whichever is written first.
                found.unwrap_or_else(|| *self.backs[index(priority)].get_or_insert(number(priority) * BAND))
            }
        };
        self.fronts[index(priority)] = Some(front - count);
        Ok(front - count)
    }
}

/// Ranks in front for a batch of jobs that keep their order there.
#[derive(Debug)]
pub(super) struct Fronts([i64; 3]);

impl Fronts {
    /// Room for one job of each of these priorities.
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

    /// The rank of the next job of this priority.
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
