//! Searches a text in another one, in time that grows with both lengths and not with their product.

use crate::meter::{hold_slot, lend, spend_bytes};

/// The number of times that the library's search goes through the part before it begins.
const PREPARED: usize = 4;

/// Spends the fuel for looking through `text` once.
pub(crate) fn spend_on(text: &str, part: &str) {
    if part.len() <= text.len() {
        spend_bytes(text.len());
        spend_bytes(part.len().saturating_mul(PREPARED));
    }
}

/// Returns whether `text` contains `part`.
pub(crate) fn contains(text: &str, part: &str) -> bool {
    spend_on(text, part);
    part.len() <= text.len() && text.contains(part)
}

/// Returns where `part` begins in `text`, in characters. Matches may overlap. An empty part has no
/// place.
pub(super) fn places(text: &str, part: &str) -> Vec<usize> {
    let mut found = Vec::new();
    if part.is_empty() || part.len() > text.len() {
        return found;
    }
    spend_on(text, part);
    let _table = lend(part.len() * size_of::<usize>());
    let (part_bytes, borders) = (part.as_bytes(), borders(part.as_bytes()));
    let part_chars = part.chars().count();
    // The algorithm of Knuth, Morris and Pratt: the length of the part's prefix that ends at each
    // byte.
    let (mut matched, mut chars) = (0_usize, 0_usize);
    for (at, byte) in text.bytes().enumerate() {
        chars += usize::from(text.is_char_boundary(at));
        matched = extend(part_bytes, &borders, matched, byte);
        if matched == part_bytes.len() {
            hold_slot();
            found.push(chars - part_chars);
        }
    }
    found
}

/// Returns, for each length of a prefix of `part`, the length of the longest shorter prefix that
/// ends there too.
fn borders(part: &[u8]) -> Vec<usize> {
    let mut borders = Vec::with_capacity(part.len() + 1);
    borders.extend([0, 0]);
    for byte in part.iter().skip(1) {
        let longest = borders.last().copied().unwrap_or_default();
        borders.push(extend(part, &borders, longest, *byte));
    }
    borders
}

/// Returns the length of the prefix of `part` that ends with `byte`, where a prefix of `matched`
/// bytes ended before.
fn extend(part: &[u8], borders: &[usize], mut matched: usize, byte: u8) -> usize {
    loop {
        if part.get(matched) == Some(&byte) {
            return matched + 1;
        }
        if matched == 0 {
            return 0;
        }
        matched = borders.get(matched).copied().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_that_a_look_at_each_one_finds() {
        let texts =
            ["", "a", "aa", "aaa", "aba", "abab", "aab", "ü", "äü", "üä", "üüäüüäüü", "aüaüa", "b"];
        for text in ["aaaaaaa", "abababab", "aabaabaaab", "üüäüüäüüäü", "aüaüaüa", "", "ü"]
        {
            for part in texts {
                let starts = text.char_indices().enumerate();
                let here = starts.filter(|(_, (at, _))| {
                    !part.is_empty() && text.get(*at..).unwrap().starts_with(part)
                });
                let expected: Vec<usize> = here.map(|(nth, _)| nth).collect();
                assert_eq!(places(text, part), expected, "{part} in {text}");
            }
        }
    }
}
