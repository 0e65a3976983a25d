//! What a misspelled word was probably meant to be.

/// Longer words than this are no misspelled names; comparing takes time and memory by the product of the lengths.
const LONGEST_WORD: usize = 256;

/// The candidate closest to `word`, if one is close enough to be what was meant.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let length = lower.chars().count();
    if length > LONGEST_WORD {
        return None;
    }
    let distance = |candidate: &'a str| {
        let (candidate_length, most) = (candidate.chars().count(), 1 + candidate.chars().count() / 4);
        if candidate_length.abs_diff(length) > most {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
        (distance <= most).then_some((distance, candidate))
    };
    candidates.into_iter().filter_map(distance).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_close_or_absent() {
        assert_eq!(did_you_mean("bakend", ["backend", "frontend"]), Some("backend"));
        assert_eq!(did_you_mean("zzz", ["backend"]), None);
        assert_eq!(did_you_mean("BAKEND", ["backend-of-somebody-else", "backend"]), Some("backend"));
    }

    /// Would need terabytes if it were compared letter by letter.
    #[test]
    fn long_words_are_not_compared() {
        let long = "a".repeat(1_000_000);
        let similar = format!("{long}b");
        assert_eq!(did_you_mean(&long, [similar.as_str(), "a"]), None);
        assert_eq!(did_you_mean("a", [long.as_str()]), None);
    }
}
