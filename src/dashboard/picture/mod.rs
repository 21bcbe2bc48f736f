//! Pictures: the values of all channels at one time, for every visitor who looks within the next second.

mod camera;
mod channel;
mod state;

pub(super) use camera::Camera;
pub(super) use channel::{ChannelPicture, FiringAlert, Picture};
pub(super) use state::ChannelState;
