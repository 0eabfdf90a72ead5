//! The names of members: the fields of the contract's types as JSON has them.

/// The length of a field's name in JSON.
pub(in crate::contract) const fn length(field: &str) -> usize {
    let (bytes, mut at, mut length) = (field.as_bytes(), 0, 0);
    while at < bytes.len() {
        #[expect(clippy::indexing_slicing, reason = "`get` is no const function; `at` is below")]
        if bytes[at] != b'_' {
            length += 1;
        }
        at += 1;
    }
    length
}

/// A field's name in JSON, of that length: `thread_id` is `threadId`.
#[expect(
    clippy::indexing_slicing,
    reason = "`get` is no const function; evaluated while compiling"
)]
pub(in crate::contract) const fn camel<const LENGTH: usize>(field: &str) -> [u8; LENGTH] {
    let (bytes, mut at, mut next) = (field.as_bytes(), 0, 0);
    let mut name = [0; LENGTH];
    while at < bytes.len() {
        if bytes[at] != b'_' {
            let begins = at > 0 && bytes[at - 1] == b'_';
            name[next] = if begins { bytes[at].to_ascii_uppercase() } else { bytes[at] };
            next += 1;
        }
        at += 1;
    }
    name
}

/// The name of a field in JSON.
macro_rules! name {
    ($field:ident) => {{
        use $crate::contract::names::{camel, length};
        const FIELD: &str = stringify!($field);
        const NAME: [u8; length(FIELD)] = camel(FIELD);
        match std::str::from_utf8(&NAME) {
            Ok(name) => name,
            Err(_) => FIELD,
        }
    }};
}
pub(in crate::contract) use name;

#[cfg(test)]
mod tests {
    #[test]
    fn the_names_of_members_are_those_that_serde_writes() {
        assert_eq!(name!(at), "at");
        assert_eq!(name!(thread_id), "threadId");
        assert_eq!(name!(continue_on_error), "continueOnError");
    }
}
