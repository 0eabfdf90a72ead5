//! The flags of a search.

use jaq_core::Error;

use crate::value::Value;

/// The flags of an expression and of its search: a letter each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags<'a>(pub(super) &'a str);

impl<'a> Flags<'a> {
    /// The known flags: all matches (`g`), without empty ones (`n`), of either case (`i`), lines by
    /// themselves (`m`), a dot for any character (`s`), greed the other way round (`l`), white
    /// space ignored (`x`); and both `m` and `s` (`p`).
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
