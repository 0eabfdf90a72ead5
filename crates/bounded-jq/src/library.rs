//! The parts of the library that a program calls: a compiled filter holds only these.
//!
//! The whole library is some 100 KB once compiled, of which most programs need nothing: a thousand
//! small filters would weigh as much as a database.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jaq_core::load::parse::Def;
use jaq_core::native::Fun;

use super::kind::Kind;
use super::natives;
use super::survey::Survey;

/// A definition with the names that its body calls.
struct Entry {
    def: Def<&'static str>,
    calls: BTreeSet<String>,
    terms: usize,
}

/// All definitions, in their order, read once. The error gives the reason why there are none.
static ENTRIES: LazyLock<Result<Vec<Entry>, String>> = LazyLock::new(|| {
    let entry = |def: Def<&'static str>| {
        let survey = Survey::of(&def.body);
        let calls = survey.calls.iter().map(|name| (*name).to_owned()).collect();
        Entry { calls, terms: survey.terms, def }
    };
    Ok(natives::defs()?.into_iter().map(entry).collect())
});

/// The parts of the library that a program needs.
pub(super) struct Needed {
    /// The definitions, in the order of the library: a later one of a name hides an earlier one.
    pub(super) defs: Vec<Def<&'static str>>,
    /// The native functions.
    pub(super) funs: Vec<Fun<Kind>>,
    /// The number of terms in the definitions.
    pub(super) terms: usize,
}

/// Finds the parts of the library that a program needs which calls `calls`, including the parts
/// that these call in turn.
pub(super) fn needed(calls: &BTreeSet<&str>) -> Result<Needed, String> {
    let entries = ENTRIES.as_ref().map_err(Clone::clone)?;
    let mut names: BTreeSet<&str> = calls.clone();
    let mut open: Vec<&str> = calls.iter().copied().collect();
    while let Some(name) = open.pop() {
        for entry in entries.iter().filter(|entry| entry.def.name == name) {
            open.extend(entry.calls.iter().map(String::as_str).filter(|call| names.insert(*call)));
        }
    }
    let used = || entries.iter().filter(|entry| names.contains(entry.def.name));
    Ok(Needed {
        defs: used().map(|entry| entry.def.clone()).collect(),
        funs: natives::funs().filter(|(name, _, _)| names.contains(name)).collect(),
        terms: used().map(|entry| entry.terms).sum(),
    })
}
