//! Which language a text is in.

/// What was found out about a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DetectedLanguage {
    /// Its English name, such as `German`.
    pub(super) name: &'static str,
    /// ISO 639-3, such as `deu`.
    pub(super) code: &'static str,
    /// From 0 to 1.
    pub(super) confidence: f64,
}

impl DetectedLanguage {
    /// What was detected earlier; `None` for a code that means nothing here.
    pub(super) fn of_code(code: &str, confidence: f64) -> Option<Self> {
        let language = whatlang::Lang::from_code(code)?;
        Some(Self { name: english_name(language), code: language.code(), confidence })
    }
}

/// Detects the language by script and trigrams; `None` when the text has no letters to judge by.
pub(super) fn detect_language(text: &str) -> Option<DetectedLanguage> {
    let info = whatlang::detect(text)?;
    Some(DetectedLanguage {
        name: english_name(info.lang()),
        code: info.lang().code(),
        confidence: info.confidence(),
    })
}

fn english_name(language: whatlang::Lang) -> &'static str {
    match language {
        // The library says "Mandarin", which names a spoken language.
        whatlang::Lang::Cmn => "Chinese",
        other => other.eng_name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_enough() {
        for (text, code) in [
            ("Der Zug kommt heute leider etwas später an als gewöhnlich.", "deu"),
            ("The train will unfortunately arrive a little later than usual today.", "eng"),
            ("電車は今日、いつもより少し遅れて着くそうです。", "jpn"),
            ("Поезд сегодня придёт немного позже обычного, к сожалению.", "rus"),
        ] {
            assert_eq!(detect_language(text).map(|found| found.code), Some(code), "{text}");
        }
    }

    #[test]
    fn a_text_without_letters_has_no_language() {
        assert_eq!(detect_language("1234 !!! 5678"), None);
        assert_eq!(detect_language(""), None);
    }
}
