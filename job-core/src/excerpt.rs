//! What an error repeats of what it is about.

/// The first `characters_max` characters, with a mark when there are more.
pub(crate) fn excerpt(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
