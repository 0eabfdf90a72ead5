//! Steps by their place in a plan.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// The place of a step in its plan. Only [`Steps`] makes one, so that it names a step of the plan it
/// came from; what another plan holds is looked up by the step's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIx(usize);

impl StepIx {
    /// How many steps the workflow names before it.
    pub const fn get(self) -> usize {
        self.0
    }
}

/// One thing for each step of a plan, in the order in which the workflow names the steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Steps<T>(Vec<T>);

impl<T> Steps<T> {
    /// Takes what belongs to the steps, in their order.
    pub const fn new(all: Vec<T>) -> Self {
        Self(all)
    }

    /// How many steps there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none; a plan has at least one.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What belongs to the steps, in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }

    /// The places of all steps.
    pub fn places(&self) -> impl DoubleEndedIterator<Item = StepIx> + use<T> {
        (0..self.0.len()).map(StepIx)
    }

    /// What belongs to each step, with its place.
    pub fn placed(&self) -> impl DoubleEndedIterator<Item = (StepIx, &T)> {
        self.0.iter().enumerate().map(|(at, one)| (StepIx(at), one))
    }

    /// The first step of which this is true.
    pub fn find(&self, wanted: impl FnMut(&T) -> bool) -> Option<StepIx> {
        self.0.iter().position(wanted).map(StepIx)
    }
}

impl<T> Default for Steps<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Index<StepIx> for Steps<T> {
    type Output = T;

    #[expect(clippy::indexing_slicing, reason = "a place is made from the length of the same plan")]
    fn index(&self, StepIx(at): StepIx) -> &T {
        &self.0[at]
    }
}

impl<T> IndexMut<StepIx> for Steps<T> {
    #[expect(clippy::indexing_slicing, reason = "a place is made from the length of the same plan")]
    fn index_mut(&mut self, StepIx(at): StepIx) -> &mut T {
        &mut self.0[at]
    }
}

impl<'a, T> IntoIterator for &'a Steps<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Steps<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut()
    }
}

#[cfg(test)]
impl<T> Index<usize> for Steps<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.0[at]
    }
}

#[cfg(test)]
impl<T> IndexMut<usize> for Steps<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.0[at]
    }
}

/// Tests name steps by number.
#[cfg(test)]
impl From<usize> for StepIx {
    fn from(at: usize) -> Self {
        Self(at)
    }
}
