//! The parts of a template.

use crate::definition::reference::Reference;

/// A part of a template's JSON text.
#[derive(Debug)]
pub(super) enum Part {
    /// JSON text as it is.
    Raw(String),
    /// A value that a reference names, with its type.
    Value(Reference),
    /// A string with references inside.
    Text(Vec<Piece>),
    /// The whole scope.
    Scope,
}

/// A piece of a string with references inside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Reference(Reference),
}
