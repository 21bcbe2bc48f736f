//! Kept done jobs: a page of those that a command wants, from the store of a channel.

use std::time::Instant;

use crate::channel::{DoneRun, KeptRun};
use crate::store::{Cursor, MAX_BATCH, SearchLimits, Store, StoreError};

/// The done jobs to list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted<'a> {
    /// Only jobs of this name.
    pub(super) job: Option<&'a str>,
    /// Only jobs with this text in id or name.
    pub(super) text: Option<&'a str>,
}

impl Wanted<'_> {
    pub(super) fn admits(&self, run: &DoneRun) -> bool {
        let has = |text: &str| {
            run.id.to_string().contains(text) || run.job.to_lowercase().contains(&text.to_lowercase())
        };
        self.job.is_none_or(|job| run.job == job) && self.text.is_none_or(has)
    }
}

/// A page of kept jobs that a command wants.
#[derive(Debug, Default)]
pub(super) struct KeptFound {
    pub(super) runs: Vec<DoneRun>,
    pub(super) next: Option<Cursor>,
    /// Number of kept jobs that were read.
    pub(super) scanned: u64,
    /// Number of kept jobs of the channel.
    pub(super) total: u64,
}

/// The kept jobs that `wanted` admits, newest first, behind `after` and within the limits.
pub(super) async fn find(
    store: &dyn Store,
    wanted: Wanted<'_>,
    after: Option<Cursor>,
    limits: SearchLimits,
) -> Result<KeptFound, StoreError> {
    let begun = Instant::now();
    let mut found = KeptFound { next: after, ..KeptFound::default() };
    while found.runs.len() < limits.matches && found.scanned < limits.records && begun.elapsed() < limits.time
    {
        let missing = limits.matches - found.runs.len();
        let mut page = store.kept(found.next, MAX_BATCH).await?;
        let runs = |page: &[_]| page.iter().map(|view| KeptRun::of(view).run).collect::<Vec<_>>();
        let mut read = runs(&page.jobs);
        let last = read.iter().enumerate().filter(|(_, run)| wanted.admits(run)).nth(missing - 1);
        // Only the store can name the position behind a job: a page with more jobs than fit is read again, up to the last
        // one that fits.
        if let Some((last, _)) = last {
            page = store.kept(found.next, last + 1).await?;
            read = runs(&page.jobs);
        }
        found.scanned += read.len() as u64;
        found.runs.extend(read.into_iter().filter(|run| wanted.admits(run)).take(missing));
        (found.next, found.total) = (page.next, page.total);
        if page.next.is_none() {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::{NewJob, Payload, Timestamp};
    use crate::store::model::Model;
    use crate::store::{Destination, KeptJob, KeptLimits, OutputChange, Settlement, Turn};

    /// A store that has kept jobs with these names, in this order.
    async fn keeping(names: &[&str]) -> Model {
        let store = Model::at(Timestamp(1_790_000_000_000_000));
        let jobs: Vec<_> =
            names.iter().map(|name| NewJob::new(*name, Payload::parse("1").unwrap())).collect();
        let pushed = store.push(&jobs).await.unwrap();
        let owner = store.join().await.unwrap();
        let turn = |seq, settlements, want| Turn {
            owner: &owner,
            seq,
            settlements,
            releases: &[],
            want,
            max_bytes: usize::MAX,
            overdue: None,
            publish: None,
        };
        store.turn(turn(1, &[], names.len())).await.unwrap();
        let limits = KeptLimits { count: 99, age: Duration::from_secs(9) };
        let keep = |(name, id): (&&str, crate::job::JobId)| {
            let text = format!(r#"{{"id":{id},"job":"{name}","attempt":1,"at":1,"took_ms":1,"pid":null}}"#);
            let to = Destination::Kept(Box::new(KeptJob::new(text, limits).unwrap()));
            Settlement { id, unique: None, to, output: OutputChange::Keep }
        };
        let kept: Vec<_> = names.iter().zip(pushed.iter().map(|pushed| pushed.id())).map(keep).collect();
        store.turn(turn(2, &kept, 0)).await.unwrap();
        store
    }

    fn names(found: &KeptFound) -> Vec<&str> {
        found.runs.iter().map(|run| run.job.as_str()).collect()
    }

    #[tokio::test]
    async fn search_continues_behind_its_last_match() {
        let store = keeping(&["a1", "b", "a2", "a3", "b", "a4"]).await;
        let wanted = Wanted { job: None, text: Some("A") };
        let page = find(&store, wanted, None, SearchLimits::unbounded(2)).await.unwrap();
        assert_eq!((names(&page), page.scanned, page.total), (vec!["a4", "a3"], 3, 6));
        let page = find(&store, wanted, page.next, SearchLimits::unbounded(2)).await.unwrap();
        assert_eq!((names(&page), page.scanned, page.next), (vec!["a2", "a1"], 3, None));
        let wanted = Wanted { job: Some("b"), text: None };
        let page = find(&store, wanted, None, SearchLimits::unbounded(9)).await.unwrap();
        assert_eq!((names(&page), page.scanned, page.next), (vec!["b", "b"], 6, None));
        let none = SearchLimits { records: 0, ..SearchLimits::PAGE };
        assert_eq!(find(&store, wanted, None, none).await.unwrap().scanned, 0);
    }
}
