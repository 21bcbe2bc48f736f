//! The last looks at a master: they decide how often its channels are sampled.

use std::sync::Mutex;
use std::time::Duration;

use aint_queue_core::mutex::lock;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Time between two samples while a viewer looks.
const LOOKING: Duration = Duration::from_secs(1);
/// Time for which one look counts.
const LOOK_LASTS: Duration = Duration::from_secs(10);
/// Time between two samples while a scraper comes.
const SCRAPED: Duration = Duration::from_secs(5);
/// Time for which one scrape counts: several of the usual intervals.
const SCRAPE_LASTS: Duration = Duration::from_secs(180);

/// The last looks at a master.
///
/// A scrape reads the last values and takes no sample. While scrapes come, samples are taken as often as for alert rules, so that
/// the values are at most five seconds old; an idle master without viewers samples at `job_snapshot.interval`.
#[derive(Debug, Default)]
pub struct Attention {
    last: Mutex<LastLooks>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct LastLooks {
    looked: Option<Instant>,
    scraped: Option<Instant>,
}

impl Attention {
    /// Notes that a viewer looks at the values.
    pub fn looked(&self, now: Instant) {
        let is_news = self.note(now, |last| &mut last.looked, LOOK_LASTS);
        self.wake(is_news);
    }

    /// Notes that a scraper has read the values.
    pub fn scraped(&self, now: Instant) {
        let is_news = self.note(now, |last| &mut last.scraped, SCRAPE_LASTS);
        self.wake(is_news);
    }

    /// The time between two samples of a channel with this `job_snapshot.interval`.
    #[must_use]
    pub fn interval(&self, configured: Duration, now: Instant) -> Duration {
        let LastLooks { looked, scraped } = *lock(&self.last);
        let lasts = |last: Option<Instant>, time| last.is_some_and(|last| now.duration_since(last) < time);
        let wanted = if lasts(looked, LOOK_LASTS) {
            LOOKING
        } else if lasts(scraped, SCRAPE_LASTS) {
            SCRAPED
        } else {
            configured
        };
        wanted.min(configured)
    }

    /// Waits until a viewer or scraper begins to look.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Notes a look; whether none was in effect.
    fn note(&self, now: Instant, which: fn(&mut LastLooks) -> &mut Option<Instant>, lasts: Duration) -> bool {
        let mut last = lock(&self.last);
        let before = which(&mut last).replace(now);
        before.is_none_or(|before| now.duration_since(before) >= lasts)
    }

    fn wake(&self, is_news: bool) {
        if is_news {
            self.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURED: Duration = Duration::from_secs(300);

    #[test]
    fn samples_follow_looks_then_scrapes_then_the_configuration() {
        let (attention, start) = (Attention::default(), Instant::now());
        assert_eq!(attention.interval(CONFIGURED, start), CONFIGURED);
        attention.scraped(start);
        assert_eq!(attention.interval(CONFIGURED, start), SCRAPED);
        attention.looked(start);
        assert_eq!(attention.interval(CONFIGURED, start + LOOK_LASTS - SCRAPED), LOOKING);
        assert_eq!(attention.interval(CONFIGURED, start + LOOK_LASTS), SCRAPED);
        assert_eq!(attention.interval(CONFIGURED, start + SCRAPE_LASTS), CONFIGURED);
        let short = Duration::from_millis(500);
        assert_eq!(attention.interval(short, start), short, "never less often than configured");
    }

    #[tokio::test(start_paused = true)]
    async fn first_look_wakes_the_sampler_and_later_ones_do_not() {
        let attention = Attention::default();
        let now = Instant::now();
        let wait = attention.changed();
        tokio::pin!(wait);
        assert!(ready(&mut wait).await.is_none());
        attention.scraped(now);
        assert!(ready(&mut wait).await.is_some());
        let wait = attention.changed();
        tokio::pin!(wait);
        assert!(ready(&mut wait).await.is_none());
        attention.scraped(now + SCRAPED);
        assert!(ready(&mut wait).await.is_none());
    }

    /// The value of a future that is ready now.
    async fn ready<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::time::timeout(Duration::from_millis(1), future).await.ok()
    }
}
