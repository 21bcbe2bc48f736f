//! The channels that the jobs of a channel may push into (`worker.may_push`).

use std::collections::BTreeSet;
use std::sync::Arc;

/// The channels that the jobs of a channel may push into; all by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushDestinations(Option<Arc<BTreeSet<String>>>);

impl PushDestinations {
    /// These channels alone.
    #[must_use]
    pub fn only(names: impl IntoIterator<Item = String>) -> Self {
        Self(Some(Arc::new(names.into_iter().collect())))
    }

    /// The names of the channels; `None` for all.
    #[must_use]
    pub fn names(&self) -> Option<&BTreeSet<String>> {
        self.0.as_deref()
    }

    /// Whether a job of the channel `own` may push into `destination`.
    ///
    /// # Errors
    /// A refusal for the job, with the key to change.
    pub fn check(&self, own: &str, destination: &str) -> Result<(), String> {
        match self.names() {
            Some(names) if !names.contains(destination) => Err(format!(
                "jobs of channel \"{own}\" may not push into channel \"{}\": name it in channels.{own}.worker.may_push to allow it",
                destination.escape_debug()
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_channels_are_allowed() {
        assert_eq!(PushDestinations::default().check("a", "b"), Ok(()));
        let some = PushDestinations::only(["b".to_owned()]);
        assert_eq!(some.check("a", "b"), Ok(()));
        let refusal = some.check("a", "a").unwrap_err();
        assert!(refusal.contains("may not push into channel \"a\": name it in channels.a.worker.may_push"));
        assert!(PushDestinations::only([]).check("a", "b").is_err());
    }
}
