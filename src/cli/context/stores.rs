//! Stores and queues of a command.

use std::io;
use std::sync::Arc;

use super::CommandContext;
use crate::cli::failure::{Exit, Failure};
use crate::cli::other_store::OtherStore;
use crate::config::{Channel, Driver};
use crate::dangling_link::DanglingLink;
use crate::demo_jobs;
use crate::job::Timestamp;
use crate::master;
use crate::queue::{OpenError, Queue};
use crate::store::model::Model;
use crate::store::{Store, StoreError};

impl CommandContext {
    /// Opens a channel for pushing; with the sync driver, pushes run the jobs of this binary.
    pub(crate) fn queue(&self, channel: &Channel) -> Result<Queue, Failure> {
        let mut registry = self.registry.clone();
        if self.program.has_demo_jobs && !channel.worker.demo_jobs {
            demo_jobs::switch_off(&mut registry);
        }
        let opened = self.block_on(crate::in_process::queue(&registry, self.config()?, &channel.name));
        let doing = format!("open channel \"{}\"", channel.name);
        opened.map_err(|error| match error {
            OpenError::Undeclared(error) => error.into(),
            OpenError::Store(error) => Failure::store(doing, error),
            error => Failure::new(Exit::Failed, doing).because(error),
        })
    }

    /// As [`CommandContext::queue`], for the commands that push. Without a configuration the store depends on the current directory:
    /// a note tells that a new one was created, which no master of another directory serves.
    pub(crate) fn queue_for_push(&self, channel: &Channel) -> Result<Queue, Failure> {
        let is_new = self.config()?.file.is_none() && Self::is_store_missing(channel);
        let queue = self.queue(channel)?;
        if let (true, Driver::Sqlite { path, .. }) = (is_new, &channel.driver) {
            self.note(&format!(
                "created the store \"{}\", because no configuration file was found",
                path.display()
            ));
        }
        Ok(queue)
    }

    /// Opens a channel's store.
    pub(crate) fn store(&self, channel: &Channel) -> Result<Arc<dyn Store>, Failure> {
        let doing = format!("open channel \"{}\"", channel.name);
        if channel.driver == Driver::Sync {
            return Err(Failure::new(Exit::Usage, doing).because(
                "its driver \"sync\" stores no jobs: queue:push runs a job at once and prints the result",
            ));
        }
        let opened = self.block_on(crate::store::open(&channel.driver, &channel.name));
        opened.map_err(|error| Failure::store(doing, error))
    }

    /// Whether a channel has no store yet, because nothing was pushed: its SQLite file does not exist.
    pub(crate) fn is_store_missing(channel: &Channel) -> bool {
        let Driver::Sqlite { path, .. } = &channel.driver else { return false };
        match std::fs::metadata(path) {
            Ok(found) => found.is_file() && found.len() == 0,
            // A link without a target is a mistake, which opening the store reports.
            Err(error) => error.kind() == io::ErrorKind::NotFound && DanglingLink::find(path).is_none(),
        }
    }

    /// Opens a channel's store for a command that adds nothing: a missing store is an empty one, and stays missing.
    pub(crate) fn existing_store(&self, channel: &Channel) -> Result<Arc<dyn Store>, Failure> {
        if Self::is_store_missing(channel) {
            Ok(Arc::new(Model::at(Timestamp(0))))
        } else {
            self.store(channel)
        }
    }

    /// Calls the store of a channel once, for a command that adds nothing. `doing` completes the phrase "could not ...".
    pub(crate) fn call_store<T>(
        &self,
        channel: &Channel,
        doing: impl Into<String>,
        call: impl AsyncFnOnce(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, Failure> {
        let store = self.existing_store(channel)?;
        self.block_on(call(&*store)).map_err(|error| Failure::store(doing, error))
    }

    /// Checks before a change of a channel's jobs that the master on this machine serves the same store: jobs in another one
    /// would wait for ever. `doing` completes the phrase "could not ...".
    pub(crate) fn check_store(&self, channel: &Channel, doing: &str) -> Result<(), Failure> {
        match OtherStore::of(channel, &master::presence(channel)) {
            Some(other) if other.refuses_changes() => Err(other.failure(doing)),
            other => {
                self.warn_of_other_store(other.as_ref());
                Ok(())
            }
        }
    }

    /// Warns before a look at a channel's jobs when the master on this machine serves another store.
    pub(crate) fn note_store(&self, channel: &Channel) {
        self.warn_of_other_store(OtherStore::of(channel, &master::presence(channel)).as_ref());
    }

    fn warn_of_other_store(&self, other: Option<&OtherStore>) {
        if let Some(other) = other {
            self.warn(&format!("{}: {}", other.clause(), other.remedy()));
        }
    }
}
