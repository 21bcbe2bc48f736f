//! SQLite: a file in a private directory, and a second connection in the role of another program.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aint_queue::job::JobId;
use aint_queue::store::sqlite::SqliteStore;
use aint_queue::store::{Owner, Store};
use async_trait::async_trait;
use rusqlite::{Connection, Params};
use tempfile::TempDir;

use crate::fixture::{CHANNEL, Driver};

struct OnDisk {
    dir: TempDir,
}

pub async fn start() -> Box<dyn Driver> {
    Box::new(OnDisk { dir: tempfile::tempdir().unwrap() })
}

impl OnDisk {
    fn path(&self) -> PathBuf {
        self.dir.path().join("store.db")
    }

    /// Changes exactly one row without the driver.
    fn execute_sql(&self, sql: &str, params: impl Params) {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(connection.execute(sql, params).unwrap(), 1, "{sql}");
    }
}

#[async_trait]
impl Driver for OnDisk {
    async fn open(&self, channel: &str) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.path(), channel).unwrap())
    }

    async fn expire_lease(&self, channel: &str, owner: &Owner) {
        let sql = "UPDATE owners SET deadline = 0
            WHERE name = ?1 AND channel = (SELECT id FROM channels WHERE name = ?2)";
        self.execute_sql(sql, [owner.as_str(), channel]);
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn step_clock(&self, micros: i64) {
        SqliteStore::open(&self.path(), CHANNEL).unwrap().step_clock(micros);
    }

    async fn corrupt_record(&self, _: &str, id: JobId, text: &str) {
        let sql = "UPDATE records SET meta = ?2, payload = ?2 WHERE id = ?1";
        self.execute_sql(sql, rusqlite::params![id.0.cast_signed(), text]);
    }

    async fn delete_record(&self, _: &str, id: JobId) {
        self.execute_sql("DELETE FROM records WHERE id = ?1", [id.0.cast_signed()]);
    }

    async fn forget_last_id(&self, _: &str) {
        self.execute_sql("UPDATE store SET last_id = 0", []);
    }
}
