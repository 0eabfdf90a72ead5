//! Programs that are too long, or nested too deep, to be parsed.

/// The longest program, in bytes. It bounds the depth of the syntax tree as well.
pub(crate) const MAX_PROGRAM: usize = 16 * 1024;
/// The most brackets around one place of a program, and the most signs before one value.
const MAX_BRACKETS: usize = 256;
/// The most words of a program that enclose other terms: each takes stack until the enclosed terms
/// are parsed.
const MAX_WORDS: usize = 1_000;
/// The words that enclose other terms.
const NESTING: [&str; 7] = ["def", "if", "try", "reduce", "foreach", "label", "as"];

/// Refuses a program that is too long, or would nest too deep for the parser, before it is parsed.
/// The contents of strings count as well: nobody writes that many brackets or words there.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if text.len() > MAX_PROGRAM {
        return Err(format!("a jq program has at most {MAX_PROGRAM} bytes"));
    }
    let (mut depth, mut signs) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'-' => signs += 1,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => signs = 0,
        }
        if depth > MAX_BRACKETS || signs > MAX_BRACKETS {
            return Err(format!("a jq program is nested at most {MAX_BRACKETS} levels deep"));
        }
    }
    let words = text.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    if words.filter(|word| NESTING.contains(word)).count() > MAX_WORDS {
        let named = NESTING.join(", ");
        return Err(format!("a jq program has at most {MAX_WORDS} of the words {named}"));
    }
    Ok(())
}
