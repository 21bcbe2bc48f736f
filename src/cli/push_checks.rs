//! Checks shared by the two forms of `queue:push`: a job on the command line, and jobs of a file.

use std::io;

use super::{CommandContext, sanitize};
use crate::config::{Channel, Handler};

/// A warning when a job has no handler in this binary although the channel runs jobs of the master's binary. A warning only,
/// because the master may be another binary than the producer.
pub(super) fn missing_handler_warning(
    context: &CommandContext,
    channel: &Channel,
    name: &str,
) -> Option<String> {
    let names: Vec<_> = context.registry().names().collect();
    let known = names.contains(&name) || names.is_empty() || channel.worker.handler != Handler::Registered;
    (!known).then(|| {
        format!(
            "this program has no handler for \"{}\" (registered: {}); the job fails as unknown_job unless another program \
             with a handler serves the channel",
            sanitize::line(name),
            names.join(", ")
        )
    })
}

/// Error of an input that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot be read")]
pub(super) struct UnreadableInput {
    pub(super) name: String,
    #[source]
    pub(super) source: io::Error,
}
