//! The channels that a command means.

use super::CommandContext;
use crate::cli::failure::{Exit, Failure};
use crate::cli::sanitize;
use crate::config::{Channel, Config, Driver, Handler};
use crate::job::JobId;

impl CommandContext {
    /// The channel of a command that takes exactly one.
    pub(crate) fn channel(&self) -> Result<&Channel, Failure> {
        let name = match self.globals.channels.as_slice() {
            [] => return self.usual_channel("name one with --channel"),
            [name] => name,
            several => {
                return Err(Failure::new(Exit::Usage, "choose the channel")
                    .because(format!("{} channels are named, but this command takes one", several.len()))
                    .hint("give --channel once"));
            }
        };
        Ok(self.config()?.channel(name)?)
    }

    /// The channel of a command that names none: the only declared one, else `default`.
    fn usual_channel(&self, hint: &str) -> Result<&Channel, Failure> {
        let channels = &self.config()?.channels;
        let only = channels.values().next().filter(|_| channels.len() == 1);
        if let Some(channel) = only.or_else(|| channels.get("default")) {
            return Ok(channel);
        }
        let names: Vec<_> = channels.keys().map(String::as_str).collect();
        Err(Failure::new(Exit::Usage, "choose the channel")
            .because(format!("none is named, and the configuration declares several: {}", names.join(", ")))
            .hint(hint))
    }

    /// The channels of a command that takes several: all declared ones, the named ones, or the usual one.
    pub(crate) fn channels(&self, all: bool) -> Result<Vec<&Channel>, Failure> {
        self.channels_by(all, Some("--all"))
    }

    /// As [`CommandContext::channels`], for a command whose option for all channels has another name, or that has none.
    pub(crate) fn channels_by(&self, all: bool, option: Option<&str>) -> Result<Vec<&Channel>, Failure> {
        let config = self.config()?;
        if all {
            // Channels of the sync driver have no stored jobs and no master.
            let kept: Vec<_> =
                config.channels.values().filter(|channel| channel.driver != Driver::Sync).collect();
            if kept.is_empty() {
                return Err(Failure::new(Exit::Usage, "find a channel")
                    .because("every declared channel uses the driver \"sync\", which stores no jobs"));
            }
            return Ok(kept);
        }
        let chosen = self.named(self.globals.channels.iter().map(String::as_str))?;
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        let hint = match option {
            Some(option) => format!("name channels with --channel, or take all with {option}"),
            None => "name channels with --channel".to_owned(),
        };
        Ok(vec![self.usual_channel(&hint)?])
    }

    /// The channels with these names, without duplicates.
    pub(crate) fn named<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Vec<&Channel>, Failure> {
        let mut chosen: Vec<&Channel> = Vec::new();
        for name in names {
            let channel = self.config()?.channel(name)?;
            if !chosen.iter().any(|known| known.name == channel.name) {
                chosen.push(channel);
            }
        }
        Ok(chosen)
    }

    /// The first channel that the command line names, declared or not.
    #[cfg(feature = "top")]
    pub(crate) fn first_name(&self) -> Option<&str> {
        self.globals.channels.first().map(String::as_str)
    }

    /// Whether the command line names a channel.
    pub(crate) fn names_channel(&self) -> bool {
        !self.globals.channels.is_empty()
    }

    /// The channel of a command about one job: the named one, else the usual one if it has the job, else the only other one that has
    /// it. Without any, the usual channel, where the command fails.
    pub(crate) fn channel_of(&self, id: JobId) -> Result<&Channel, Failure> {
        let usual = self.channel();
        if self.names_channel() || self.config()?.channels.len() == 1 {
            return usual;
        }
        if let Ok(usual) = &usual
            && self.has_job(usual, id)
        {
            return Ok(usual);
        }
        match self.other_channels_with(id, usual.as_ref().ok().copied()).as_slice() {
            [only] => Ok(only),
            _ => usual,
        }
    }

    /// The channels of a command about several jobs, each with its jobs. See [`CommandContext::channel_of`].
    pub(crate) fn channels_of(&self, ids: &[JobId]) -> Result<Vec<(&Channel, Vec<JobId>)>, Failure> {
        let mut found: Vec<(&Channel, Vec<JobId>)> = Vec::new();
        for id in ids {
            let channel = self.channel_of(*id)?;
            match found.iter_mut().find(|(known, _)| known.name == channel.name) {
                Some((_, jobs)) => jobs.push(*id),
                None => found.push((channel, vec![*id])),
            }
        }
        Ok(found)
    }

    /// Whether a channel has the job; a store that cannot be read counts as one without it.
    fn has_job(&self, channel: &Channel, id: JobId) -> bool {
        channel.driver != Driver::Sync
            && self
                .call_store(channel, "find the job", async |store| store.get(id).await)
                .is_ok_and(|job| job.is_some())
    }

    /// The declared channels other than `searched` that have the job.
    fn other_channels_with(&self, id: JobId, searched: Option<&Channel>) -> Vec<&Channel> {
        let Ok(config) = self.config() else { return Vec::new() };
        let is_other = |channel: &&Channel| searched.is_none_or(|searched| searched.name != channel.name);
        config.channels.values().filter(is_other).filter(|channel| self.has_job(channel, id)).collect()
    }

    /// The remedy for a command that did not find a job in its channel, when another one has the job.
    pub(crate) fn hint_of_channel(&self, id: JobId, searched: &Channel) -> Option<String> {
        let others = self.other_channels_with(id, Some(searched));
        let options: Vec<_> = others.iter().map(|channel| format!("--channel {}", channel.name)).collect();
        let (first, more) = options.split_first()?;
        let more: String = more.iter().map(|option| format!(" or {option}")).collect();
        Some(format!("another channel has job {id}: use {first}{more}"))
    }

    /// Fails for a channel of the sync driver, which has no jobs for a master to run.
    pub(crate) fn check_served(channel: &Channel, doing: &str) -> Result<(), Failure> {
        if channel.driver != Driver::Sync {
            return Ok(());
        }
        Err(Failure::new(Exit::Usage, doing).because(format!(
            "channel \"{}\" has no stored jobs: its driver \"sync\" runs jobs at the push",
            channel.name
        )))
    }

    /// Warns when a job has no handler in this binary although the channel runs jobs of the master's binary. A warning only,
    /// because the master may be another binary than the producer.
    pub(crate) fn warn_of_missing_handler(&self, channel: &Channel, name: &str) {
        let names: Vec<_> = self.registry.names().collect();
        if names.contains(&name) || names.is_empty() || channel.worker.handler != Handler::Registered {
            return;
        }
        self.warn(&format!(
            "this program has no handler for \"{}\" (registered: {}); the job fails as unknown_job unless another program \
             with a handler serves the channel",
            sanitize::line(name),
            names.join(", ")
        ));
    }

    /// Whether the jobs of this program are the demo jobs, and no channel of a configuration file runs them.
    pub(crate) fn are_demo_jobs_off(&self) -> bool {
        let is_off = |config: &Config| !config.channels.values().any(|channel| channel.worker.demo_jobs);
        self.program.has_demo_jobs
            && Config::find(self.globals.config.as_deref()).is_ok_and(|config| is_off(&config))
    }

    /// Whether this program has jobs that the channel may run. The demo jobs of the `aint-queue` binary count where they are on.
    fn has_handlers(&self, channel: &Channel) -> bool {
        let has_demo_jobs_only = self.program.has_demo_jobs;
        self.registry.names().next().is_some() && (!has_demo_jobs_only || channel.worker.demo_jobs)
    }

    /// Warns of a channel that this program is to serve and whose jobs nothing runs.
    pub(crate) fn warn_of_no_handlers(&self, channel: &Channel) {
        if channel.worker.handler == Handler::Registered && !self.has_handlers(channel) {
            self.warn(&format!(
                "channel \"{}\" has nothing to run jobs with, and each job will fail: set worker.command or worker.url, or \
                 worker.demo_jobs = true for a trial",
                channel.name
            ));
        }
    }
}
