//! How many words a text has, in any script.

use unicode_segmentation::UnicodeSegmentation as _;

/// Thai, Lao, Burmese and Khmer are written without spaces, and the segmentation rules that need no dictionary cut them
/// into clusters; this many make a word, on average.
const CLUSTERS_PER_WORD: usize = 3;

/// Counts the words of a text by Unicode's segmentation rules (UAX #29).
///
/// Chinese characters and hiragana count one each, as word processors count them; words of the scripts that need a
/// dictionary are estimated.
pub(super) fn count_words(text: &str) -> usize {
    let mut words = 0;
    let mut clusters = 0;
    for segment in text.unicode_words() {
        if segment.chars().next().is_some_and(needs_dictionary) {
            clusters += 1;
        } else {
            words += 1;
        }
    }
    words + usize::div_ceil(clusters, CLUSTERS_PER_WORD)
}

const fn needs_dictionary(character: char) -> bool {
    matches!(character, '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punctuation_and_spaces_are_no_words() {
        assert_eq!(count_words("  One, two -- three!\n\n (four) … "), 4);
        assert_eq!(count_words(""), 0);
        assert_eq!(count_words("*** !!! ***"), 0);
    }

    #[test]
    fn apostrophes_decimals_and_marks_stay_inside_a_word() {
        assert_eq!(count_words("l'heure isn't 3.14 café naïve"), 5);
        assert_eq!(count_words("गर्मियों की छुट्टियों में"), 4);
    }

    #[test]
    fn scripts_without_spaces_are_counted_all_the_same() {
        assert_eq!(count_words("外婆包饺子。"), 5);
        assert_eq!(count_words("雨の日、カタカナ"), 4, "a katakana run is one word");
        // Four words: "I like Thai food".
        let thai = count_words("ฉันชอบอาหารไทย");
        assert!((3..=5).contains(&thai), "{thai}");
        assert_eq!(count_words("배가 완성되면 마을"), 3);
    }
}
