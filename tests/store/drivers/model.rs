//! The model: one [`Model`] per channel, with a clock moved by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aint_queue::job::{JobId, Timestamp};
use aint_queue::store::model::Model;
use aint_queue::store::{Owner, Store};
use async_trait::async_trait;

use crate::fixture::Driver;

/// Start of the model's clock, a day in 2026.
const BEGIN: Timestamp = Timestamp(1_790_000_000_000_000);

#[derive(Default)]
struct InMemory {
    channels: Mutex<BTreeMap<String, Model>>,
}

pub async fn start() -> Box<dyn Driver> {
    Box::<InMemory>::default()
}

impl InMemory {
    fn channel(&self, name: &str) -> Model {
        let mut channels = self.channels.lock().unwrap();
        channels.entry(name.to_owned()).or_insert_with(|| Model::at(BEGIN)).clone()
    }
}

#[async_trait]
impl Driver for InMemory {
    async fn open(&self, channel: &str) -> Arc<dyn Store> {
        Arc::new(self.channel(channel))
    }

    async fn expire_lease(&self, channel: &str, owner: &Owner) {
        self.channel(channel).expire_lease(owner);
    }

    async fn pass(&self, time: Duration) {
        for model in self.channels.lock().unwrap().values() {
            // A zero wait takes a little time, as on a real clock.
            model.advance(time.max(Duration::from_micros(1)));
        }
    }

    async fn step_clock(&self, micros: i64) {
        for model in self.channels.lock().unwrap().values() {
            let by = Duration::from_micros(micros.unsigned_abs());
            if micros < 0 { model.set_back(by) } else { model.advance(by) }
        }
    }

    async fn corrupt_record(&self, channel: &str, id: JobId, text: &str) {
        self.channel(channel).corrupt_record(id, text);
    }

    async fn delete_record(&self, channel: &str, id: JobId) {
        self.channel(channel).delete_record(id);
    }

    async fn forget_last_id(&self, channel: &str) {
        self.channel(channel).forget_last_id();
    }
}
