//! Values shared by all handlers of an application, by type.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

type Shared = Arc<dyn Any + Send + Sync>;
type BoxError = Box<dyn Error + Send + Sync>;
type Make = Arc<dyn Fn() -> Result<Shared, BoxError> + Send + Sync>;

/// Shared values, by type. Cheap to clone.
#[derive(Clone, Default)]
#[doc(hidden)]
pub struct AppState(Arc<HashMap<TypeId, Shared>>);

impl AppState {
    #[doc(hidden)]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({} types)", self.0.len())
    }
}

/// Factories of the shared values; a process that runs jobs calls them once.
#[derive(Clone, Default)]
pub(crate) struct AppStateFactories(Vec<(TypeId, &'static str, Make)>);

impl AppStateFactories {
    /// Adds a value.
    pub(crate) fn add<T: Send + Sync + 'static>(&mut self, value: T) {
        let shared: Shared = Arc::new(value);
        self.put::<T>(Arc::new(move || Ok(Arc::clone(&shared))));
    }

    /// Adds a factory, called only in a process that runs jobs.
    pub(crate) fn add_with<T, E>(&mut self, make: impl Fn() -> Result<T, E> + Send + Sync + 'static)
    where
        T: Send + Sync + 'static,
        E: Into<BoxError>,
    {
        self.put::<T>(Arc::new(move || Ok(Arc::new(make().map_err(Into::into)?) as Shared)));
    }

    /// Replaces an earlier value of the same type.
    fn put<T: 'static>(&mut self, make: Make) {
        self.0.retain(|(id, ..)| *id != TypeId::of::<T>());
        self.0.push((TypeId::of::<T>(), type_name::<T>(), make));
    }

    /// Calls all factories; the error names the type of the failed one.
    pub(crate) fn make(&self) -> Result<AppState, (&'static str, BoxError)> {
        let one = |(id, name, make): &(TypeId, &'static str, Make)| match make() {
            Ok(shared) => Ok((*id, shared)),
            Err(error) => Err((*name, error)),
        };
        Ok(AppState(Arc::new(self.0.iter().map(one).collect::<Result<_, _>>()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_found_by_type_and_last_wins() {
        let mut states = AppStateFactories::default();
        states.add(1_u8);
        states.add(2_u8);
        states.add_with(|| Ok::<_, BoxError>("text".to_owned()));
        let state = states.make().unwrap();
        assert_eq!(state.get::<u8>(), Some(&2));
        assert_eq!(state.get::<String>().map(String::as_str), Some("text"));
        assert_eq!(state.get::<u16>(), None);
    }

    #[test]
    fn failing_state_constructor_is_named() {
        let mut states = AppStateFactories::default();
        states.add_with(|| Err::<u8, _>("no database"));
        let (name, error) = states.make().unwrap_err();
        assert_eq!((name, error.to_string().as_str()), ("u8", "no database"));
    }
}
