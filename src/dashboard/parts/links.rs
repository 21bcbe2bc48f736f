//! Paths of pages about channels.

/// The sign before a name that browsers would take for a step within the path.
const DOTS_MARK: char = '~';

/// The path of the page of a channel.
pub(in crate::engine::dashboard) fn channel_path(name: &str) -> String {
    match name {
        "." | ".." => format!("/channels/{DOTS_MARK}{name}"),
        name => format!("/channels/{name}"),
    }
}

/// The name of the channel in a part of a path.
pub(in crate::engine::dashboard) fn named(part: &str) -> &str {
    part.strip_prefix(DOTS_MARK).unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_dots_is_no_step_within_the_path() {
        for (name, path) in [("mail", "/channels/mail"), (".", "/channels/~."), ("..", "/channels/~..")] {
            assert_eq!(channel_path(name), path);
            assert_eq!(named(path.rsplit('/').next().unwrap()), name);
        }
    }
}
