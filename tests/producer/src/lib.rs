//! The crate as producers build it, without a feature. `tests/features.sh` runs these tests.

#![cfg(test)]

use aint_queue::testing::TestQueue;
use aint_queue::{App, Config, Context, Job, JobError};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Even(u32);

impl Job for Even {
    const NAME: &'static str = "even";

    fn handle(self, _: &Context) -> Result<(), JobError> {
        if self.0.is_multiple_of(2) { Ok(()) } else { Err(JobError::never(format!("{} is odd", self.0))) }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn config(driver: &str) -> Config {
    // Producers accept keys that only a master uses.
    let text = format!(
        "[channels.default.driver]\ntype = \"{driver}\"\n[channels.other.worker]\ntype = \"coroutine\"\n\
         url = \"https://a.example/\"\nsecret = \"whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u\"\n"
    );
    Config::parse(&text, "aint-queue.toml").unwrap()
}

#[test]
fn sync_driver_and_test_queue_need_no_server() {
    block_on(async {
        let queue = App::new().job::<Even>().queue(&config("sync"), "default").await.unwrap();
        queue.push(&Even(2)).await.unwrap();
        let error = queue.push(&Even(3)).await.unwrap_err().to_string();
        assert!(error.ends_with("was run here and failed (final): 3 is odd"), "{error}");

        let testing = TestQueue::new();
        testing.queue().push_many(&[Even(1), Even(2)]).await.unwrap();
        assert_eq!(testing.pushed::<Even>(), [Even(1), Even(2)]);
        let report = testing.app(App::new().job::<Even>()).drain().await;
        assert_eq!((report.done, report.failed), (1, 1));
    });
}

#[test]
fn redis_channel_names_missing_feature() {
    let error = block_on(aint_queue::Queue::open(&config("redis"), "default")).unwrap_err().to_string();
    let expected =
        "this program was built without the redis driver: enable the feature \"redis\" of aint-queue";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn sqlite_channel_names_missing_feature() {
    let error = block_on(aint_queue::Queue::open(&config("sqlite"), "default")).unwrap_err().to_string();
    let expected =
        "this program was built without the sqlite driver: enable the feature \"sqlite\" of aint-queue";
    assert!(error.ends_with(expected), "{error}");
}
