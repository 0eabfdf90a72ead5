//! A text that is looked for, and how much of it a given text ends with.

/// A form of a secret.
pub(super) struct Needle {
    /// The form, in lower case.
    pub(super) text: Vec<u8>,
    /// The name of the secret.
    pub(super) name: String,
    /// The failure function (Knuth, Morris and Pratt): for each number of bytes that agree, the
    /// number that still agree once the next byte does not. So a text is read once, also where the
    /// needle repeats itself.
    falls: Vec<usize>,
}

impl Needle {
    pub(super) fn new(text: Vec<u8>, name: String) -> Self {
        let mut needle = Self { falls: Vec::with_capacity(text.len()), text, name };
        let mut agree = 0;
        for at in 0..needle.text.len() {
            if at > 0 {
                agree = needle.text.get(at).map_or(0, |byte| needle.follow(agree, *byte));
            }
            needle.falls.push(agree);
        }
        needle
    }

    /// Returns how many bytes at the end of a text are the beginning of the needle, which is
    /// longer.
    pub(super) fn begun(&self, text: &[u8]) -> usize {
        let near = text.len().saturating_sub(self.text.len().saturating_sub(1));
        let tail = text.get(near..).unwrap_or_default();
        tail.iter().fold(0, |agree, byte| self.follow(agree, byte.to_ascii_lowercase()))
    }

    /// Returns how many bytes agree after the next one, if `agree` do before it.
    fn follow(&self, mut agree: usize, byte: u8) -> usize {
        while self.text.get(agree) != Some(&byte) {
            match agree.checked_sub(1) {
                Some(last) => agree = self.falls.get(last).copied().unwrap_or(0),
                None => return 0,
            }
        }
        agree + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_at_the_end_of_a_text_is_found() {
        for (needle, text, begun) in [
            ("aabaab", "xxAABAA", 5),
            ("aabaab", "aabaab", 3),
            ("aabaac", "aabaab", 3),
            ("aaaa", "baaaaaa", 3),
            ("abc", "", 0),
            ("a", "a", 0),
            ("abc", "abd", 0),
        ] {
            let found = Needle::new(needle.into(), String::new()).begun(text.as_bytes());
            assert_eq!(found, begun, "{needle} in {text}");
        }
    }

    #[test]
    fn a_needle_that_repeats_itself_is_looked_for_in_one_pass() {
        let needle = Needle::new(vec![b'a'; 1 << 20], String::new());
        let mut text = vec![b'a'; 1 << 20];
        text.push(b'b');
        assert_eq!((needle.begun(&text), needle.begun(&vec![b'a'; 1 << 20])), (0, (1 << 20) - 1));
    }
}
