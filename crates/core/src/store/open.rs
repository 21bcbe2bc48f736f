//! Opens the store of a channel's `driver` settings.

use std::sync::Arc;

#[cfg(feature = "redis")]
use super::redis::RedisStore;
#[cfg(feature = "sqlite")]
use super::sqlite::{self, SqliteStore};
use super::{Store, StoreError};
use crate::config::Driver;

/// Opens the store of one channel.
///
/// # Errors
/// When the store is unreachable or unusable; the error names the place and the remedy.
pub async fn open(driver: &Driver, channel: &str) -> Result<Arc<dyn Store>, StoreError> {
    match driver {
        Driver::Sync => Err(StoreError::Refused {
            place: format!("the sync channel \"{channel}\""),
            detail: "the sync driver has no store: its jobs run in the pushing process; push with App::queue, which knows the handlers"
                .to_owned(),
        }),
        #[cfg(feature = "redis")]
        Driver::Redis(redis) => Ok(Arc::new(RedisStore::connect(redis, channel).await?)),
        #[cfg(feature = "sqlite")]
        Driver::Sqlite { path, named } => {
            // Opening waits for the disk and for file locks, which would block other tasks of this thread.
            let (path, channel) = (path.clone(), channel.to_owned());
            let options = sqlite::Options { named: *named, ..sqlite::Options::default() };
            let open = move || SqliteStore::open_with(&path, &channel, options);
            let opened = tokio::task::spawn_blocking(open).await;
            Ok(Arc::new(opened.expect("opening a file does not panic")?))
        }
        #[cfg(not(feature = "redis"))]
        Driver::Redis(_) => Err(not_built_in("redis")),
        #[cfg(not(feature = "sqlite"))]
        Driver::Sqlite { .. } => Err(not_built_in("sqlite")),
    }
}

#[cfg(not(all(feature = "redis", feature = "sqlite")))]
fn not_built_in(driver: &str) -> StoreError {
    StoreError::Refused {
        place: driver.to_owned(),
        detail: format!(
            "this program was built without the {driver} driver: enable the feature \"{driver}\" of aint-queue"
        ),
    }
}
