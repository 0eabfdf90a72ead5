//! The flags of a search.

use jaq_core::Error;

use crate::definition::filter::value::Value;

/// How an expression is meant and used: a letter for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags<'a>(pub(super) &'a str);

impl<'a> Flags<'a> {
    /// All matches, without empty ones, of either case, lines by themselves, any sign for a dot, greed
    /// the other way round, white space ignored; and lines with any sign for a dot.
    const KNOWN: &'static str = "gnimslxp";

    pub(super) fn read(text: &'a str) -> Result<Self, Error<Value>> {
        match text.chars().find(|flag| !Self::KNOWN.contains(*flag)) {
            Some(other) => Err(Error::str(format_args!("invalid regex flag: {other}"))),
            None => Ok(Self(text)),
        }
    }

    pub(super) fn has(self, flag: char) -> bool {
        self.0.contains(flag)
    }
}
