//! From a channel's `driver` settings to its store.

use std::sync::Arc;

use super::{Store, StoreError};
use crate::config::Driver;

/// Opens the store of one channel.
///
/// # Errors
/// When it cannot be reached or must not be used; the error names the place and the remedy.
pub async fn open(driver: &Driver, channel: &str) -> Result<Arc<dyn Store>, StoreError> {
    let _ = channel;
    Err(StoreError::Refused { place: driver.to_string(), detail: "not yet".into() })
}
