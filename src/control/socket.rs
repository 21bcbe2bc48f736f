//! The address of a control socket.

use std::path::PathBuf;

use crate::trust;

/// A control socket, and the user whose master may serve it.
#[derive(Clone, Debug)]
pub struct ControlSocket {
    /// The path.
    pub path: PathBuf,
    /// The owner of the lock file.
    pub owner: Option<u32>,
}

impl ControlSocket {
    /// Whether a process of this user may be the master: this user, root and, for root, the owner of the lock file, which a
    /// look at the lock has checked.
    #[must_use]
    pub fn trusts(&self, uid: u32) -> bool {
        trust::is_trusted_user(uid)
            || trust::is_insisted()
            || (trust::effective_user() == 0 && self.owner == Some(uid))
    }
}
