//! A test double for the guardian: a handle whose commands the test receives.

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::handle::{ChildId, Command, GuardianHandle};

/// A signal that a handle sends to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptedSignal {
    Terminate(ChildId),
    Kill(ChildId),
}

/// The receiving end of a handle without a guardian.
#[derive(Debug)]
pub(crate) struct ScriptedGuardian(UnboundedReceiver<Command>);

impl ScriptedGuardian {
    pub(crate) fn new() -> (GuardianHandle, Self) {
        let (commands, receiver) = unbounded_channel();
        (GuardianHandle::new(commands, None, std::sync::Arc::default()), Self(receiver))
    }

    /// The signals since the last call.
    pub(crate) fn signals(&mut self) -> Vec<ScriptedSignal> {
        let commands = std::iter::from_fn(|| self.0.try_recv().ok());
        let signals = commands.filter_map(|command| match command {
            Command::Terminate(child) => Some(ScriptedSignal::Terminate(child)),
            Command::Kill(child) => Some(ScriptedSignal::Kill(child)),
            _ => None,
        });
        signals.collect()
    }
}
