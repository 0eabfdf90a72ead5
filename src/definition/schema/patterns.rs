//! Estimates the cost of a regular expression for each byte of text, from the way it is written.

/// The bytes that all compiled patterns of a schema may take.
pub(super) const MAX_TOTAL: usize = 64 * 1024 * 1024;
/// The size of the largest compiled pattern, in bytes, while there are few: a counted repetition
/// can ask for gigabytes.
const LARGEST: usize = 1024 * 1024;
/// The least size that each pattern may take, in bytes, however many there are.
const LEAST: usize = 128 * 1024;
/// The longest pattern, in bytes: beyond any that a person writes.
const MAX_TEXT: usize = 16 * 1024;
/// The cost of checking a format, in states.
pub(super) const FORMAT: u64 = 64;
/// The states of a class of characters by its properties, which is large.
const PROPERTY: u64 = 100;

/// Returns the bytes that each of this many patterns may take.
pub(super) fn size_limit(patterns: usize) -> usize {
    (MAX_TOTAL / patterns.max(1)).clamp(LEAST, LARGEST)
}

/// Returns the most states that a pattern has: characters, each as often as it may be repeated.
pub(super) fn states(pattern: &str) -> Result<u64, String> {
    if pattern.len() > MAX_TEXT {
        return Err(format!("a pattern has at most {MAX_TEXT} bytes"));
    }
    // The sum of each open group, and its last part.
    let mut groups: Vec<(u64, u64)> = vec![(0, 0)];
    let mut rest = pattern.chars().peekable();
    while let Some(char) = rest.next() {
        let (sum, last) = groups.pop().unwrap_or_default();
        let (sum, last) = match char {
            '(' => {
                groups.push((sum.saturating_add(last), 0));
                groups.push((0, 0));
                continue;
            }
            ')' if !groups.is_empty() => {
                let (outer, _) = groups.pop().unwrap_or_default();
                (outer, sum.saturating_add(last).max(1))
            }
            '{' => {
                let mut bounds = String::new();
                while let Some(inner) = rest.next_if(|c| c.is_ascii_digit() || *c == ',') {
                    bounds.push(inner);
                }
                let times = bounds.split(',').filter_map(|n| n.parse::<u64>().ok()).max();
                (sum, last.saturating_mul(times.unwrap_or(1).max(1)))
            }
            '\\' => {
                let class = rest.next();
                let wide = matches!(class, Some('p' | 'P' | 'w' | 'W'));
                (sum.saturating_add(last), if wide { PROPERTY } else { 2 })
            }
            '*' | '+' | '?' | '|' | '}' => (sum, last),
            _ => (sum.saturating_add(last), 1),
        };
        groups.push((sum, last));
    }
    let all = groups
        .into_iter()
        .fold(0_u64, |all, (sum, last)| all.saturating_add(sum).saturating_add(last));
    Ok(all.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_grow_with_what_is_repeated() {
        for (pattern, least, most) in [
            ("", 1, 1),
            ("^abc$", 4, 6),
            ("^[a-z0-9]+$", 5, 12),
            (r"^\d{4}-\d{2}$", 10, 20),
            ("a{1000}", 1_000, 1_001),
            ("(a{100}){100}", 10_000, 10_200),
            ("((((a{9}){9}){9}){9})", 6_561, 7_000),
            ("x{", 1, 3),
            (")", 1, 3),
            (r"\p{L}{50}", 100, 6_000),
        ] {
            let found = states(pattern).unwrap();
            assert!((least..=most).contains(&found), "{pattern}: {found}");
        }
        assert!(states(&"a".repeat(20_000)).is_err());
    }

    #[test]
    fn patterns_share_what_there_is() {
        assert_eq!(size_limit(0), LARGEST);
        assert_eq!(size_limit(64), LARGEST);
        assert_eq!(size_limit(512), LEAST);
    }
}
