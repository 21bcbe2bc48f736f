//! Room for processes: what the pool does while the system has no descriptors, processes or memory for another one. Pure.
//!
//! A start that the system refuses for lack of room says nothing about the program, so it is no failed boot, and the channel
//! is not degraded. Until the outage is over one start is tried at a time: after a growing delay, and whenever a process has
//! ended.

use std::time::Duration;

use nix::errno::Errno;
use tokio::time::Instant;

/// The delay after the first refused start.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// An outage is over when no start was refused for this long. Near the limit, starts are refused and succeed in turn.
const CALM: Duration = Duration::from_secs(30);

/// Whether an error of the system means that there is no room now.
pub(super) fn is_no_room(errno: i32) -> bool {
    let errno = Errno::from_raw(errno);
    matches!(
        errno,
        Errno::EMFILE | Errno::ENFILE | Errno::EAGAIN | Errno::ENOMEM | Errno::ENOBUFS | Errno::ETOOMANYREFS
    )
}

/// The room for processes.
#[derive(Debug, Default)]
pub(super) struct Room {
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    why: String,
    last_refusal: Instant,
    retry_at: Instant,
    delay: Duration,
    refused: u64,
    is_reported: bool,
}

impl Room {
    /// The system has refused to start a process.
    pub(super) fn refused(&mut self, why: &str, now: Instant) {
        match &mut self.outage {
            None => {
                self.outage = Some(Outage {
                    why: why.to_owned(),
                    last_refusal: now,
                    retry_at: now + FIRST_DELAY,
                    delay: FIRST_DELAY,
                    refused: 1,
                    is_reported: false,
                });
            }
            Some(outage) => {
                outage.refused += 1;
                outage.last_refusal = now;
                // Starts that were requested together and are refused together are one refusal.
                if outage.retry_at <= now {
                    outage.delay = (outage.delay * 2).min(MAX_DELAY);
                    outage.retry_at = now + outage.delay;
                }
            }
        }
    }

    /// The error of an outage that is not in the log yet; the caller logs it.
    pub(super) fn report(&mut self) -> Option<&str> {
        let outage = self.outage.as_mut().filter(|outage| !outage.is_reported)?;
        outage.is_reported = true;
        Some(&outage.why)
    }

    /// A process has ended, and its place is free.
    pub(super) fn freed(&mut self, now: Instant) {
        if let Some(outage) = &mut self.outage {
            (outage.retry_at, outage.delay) = (now, FIRST_DELAY);
        }
    }

    /// Most processes that may be started now; `starting` are not confirmed yet.
    pub(super) fn starts(&self, starting: usize, now: Instant) -> usize {
        match &self.outage {
            None => usize::MAX,
            Some(outage) if outage.retry_at > now => 0,
            Some(_) => 1usize.saturating_sub(starting),
        }
    }

    /// Ends an outage in which no start was refused of late; returns the number of refused starts.
    pub(super) fn recovered(&mut self, now: Instant) -> Option<u64> {
        let outage = self.outage.take_if(|outage| now.duration_since(outage.last_refusal) >= CALM)?;
        Some(outage.refused)
    }

    /// The error of the first refused start of the outage.
    pub(super) fn cause(&self) -> Option<&str> {
        self.outage.as_ref().map(|outage| outage.why.as_str())
    }

    /// When the next start may be tried, or the outage ends.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let outage = self.outage.as_ref()?;
        Some(if outage.retry_at > now { outage.retry_at } else { outage.last_refusal + CALM })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_tried_one_at_a_time_until_the_outage_ends() {
        let (mut room, start) = (Room::default(), Instant::now());
        assert_eq!(room.starts(7, start), usize::MAX);
        room.refused("no descriptors", start);
        assert_eq!(room.report(), Some("no descriptors"));
        room.refused("no descriptors", start);
        assert_eq!(room.report(), None);
        assert_eq!((room.starts(0, start), room.cause()), (0, Some("no descriptors")));
        let retry = start + FIRST_DELAY;
        assert_eq!((room.starts(0, retry), room.starts(1, retry)), (1, 0));
        room.refused("no descriptors", retry);
        assert_eq!(room.starts(0, retry + FIRST_DELAY), 0, "the delay grows");
        room.freed(retry);
        assert_eq!(room.starts(0, retry), 1, "a place is free");
        assert_eq!(room.recovered(retry + CALM - FIRST_DELAY), None);
        assert_eq!(room.next_deadline(retry), Some(retry + CALM));
        assert_eq!(room.recovered(retry + CALM), Some(3));
        assert_eq!((room.starts(9, retry + CALM), room.cause()), (usize::MAX, None));
    }

    #[test]
    fn delay_stays_below_its_limit() {
        let (mut room, mut now) = (Room::default(), Instant::now());
        for _ in 0..20 {
            room.refused("no room", now);
            now = room.next_deadline(now).unwrap();
        }
        room.refused("no room", now);
        assert_eq!(room.next_deadline(now), Some(now + MAX_DELAY));
    }

    #[test]
    fn errors_of_the_program_are_not_for_lack_of_room() {
        assert!(
            [Errno::EMFILE, Errno::ENFILE, Errno::EAGAIN, Errno::ENOMEM]
                .iter()
                .all(|e| is_no_room(*e as i32))
        );
        assert!(
            ![Errno::ENOENT, Errno::EACCES, Errno::ENOEXEC, Errno::E2BIG]
                .iter()
                .any(|e| is_no_room(*e as i32))
        );
    }
}
