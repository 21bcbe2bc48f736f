//! The rule for names of channels.

/// Whether `name` is a valid channel name: 1 to 64 of `A-Z a-z 0-9 _ . : -`.
#[must_use]
pub fn is_channel_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}
