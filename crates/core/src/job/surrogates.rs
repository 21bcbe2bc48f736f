//! Halves of characters in JSON text.
//!
//! JavaScript cuts texts between the two halves of an emoji and writes the half as `\ud83d`. JSON allows the escape, and most
//! JSON readers refuse it, so it is replaced where text enters.

/// Replaces each escape of half a character by that of U+FFFD, `\ufffd`, which has the same length.
#[must_use]
pub fn mend_surrogates(text: String) -> String {
    if !text.contains("\\u") {
        return text;
    }
    let mut bytes = text.into_bytes();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        at += found;
        at += match (escaped_unit(&bytes, at), escaped_unit(&bytes, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                bytes[at + 2..at + 6].copy_from_slice(b"fffd");
                6
            }
            // The escaped byte may be a backslash itself.
            _ => 2,
        };
    }
    String::from_utf8(bytes).expect("hexadecimal digits replace hexadecimal digits")
}

/// The UTF-16 unit of an escape at this place, if there is one.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
    u16::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halves_of_characters_are_replaced() {
        for (text, mended) in [
            (r#""plain é""#, r#""plain é""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\uD83D\uDE00 \u00e9""#, r#""\uD83D\uDE00 \u00e9""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDE00x\uD83D""#, r#""\ufffdx\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\n""#, r#""\ufffd\n""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#"{"\ude00":1}"#, r#"{"\ufffd":1}"#),
            (r"\ud83", r"\ud83"),
            (r"\u+123", r"\u+123"),
            ("\\", "\\"),
        ] {
            assert_eq!(mend_surrogates(text.to_owned()), mended, "{text}");
        }
    }
}
