//! The graph that `dependsOn` makes: ancestors of each step, and cycles.

use std::collections::BTreeMap;

use crate::contract::Value;
use crate::model::{Faults, Pointer};

/// The graph of a workflow's steps, by position.
pub(super) struct Graph {
    /// The dependencies of each step: the position, and the place of the entry in `dependsOn`.
    needs: Vec<Vec<(usize, Pointer)>>,
    /// For each step, one bit per step: whether it is an ancestor.
    ancestors: Vec<Vec<u64>>,
}

/// One step as far as the graph is concerned.
pub(super) struct Vertex<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) depends_on: Vec<Value<'a>>,
    /// Where its `dependsOn` stands.
    pub(super) at: Pointer,
}

impl Graph {
    /// Reads the `dependsOn` of all steps; `positions` is where each id stands.
    pub(super) fn build(
        vertices: &[Vertex<'_>],
        positions: &BTreeMap<&str, usize>,
        faults: &mut Faults,
    ) -> Self {
        let needs: Vec<_> = vertices.iter().map(|vertex| read(vertex, positions, faults)).collect();
        let words = vertices.len().div_ceil(64);
        let mut graph = Self { ancestors: vec![vec![0; words]; needs.len()], needs };
        let stuck = graph.settle();
        graph.report_cycles(&stuck, vertices, faults);
        graph
    }

    /// The positions of the steps that the one at `position` depends on.
    pub(super) fn depends_on(&self, position: usize) -> impl Iterator<Item = usize> {
        self.needs.get(position).into_iter().flatten().map(|(need, _)| *need)
    }

    /// Whether the step at `ancestor` always ends before the one at `position` starts. True for
    /// everything beyond a cycle: there the cycle is the fault.
    pub(super) fn is_ancestor(&self, ancestor: usize, position: usize) -> bool {
        let word = self.ancestors.get(position).and_then(|words| words.get(ancestor / 64));
        word.is_some_and(|word| word >> (ancestor % 64) & 1 == 1)
    }

    /// Fills in the ancestors in topological order (Kahn); the steps that are in a cycle or
    /// beyond one are left, and returned.
    fn settle(&mut self) -> Vec<bool> {
        let mut waits: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut dependents = vec![Vec::new(); self.needs.len()];
        for (position, needs) in self.needs.iter().enumerate() {
            for (need, _) in needs {
                if let Some(list) = dependents.get_mut(*need) {
                    list.push(position);
                }
            }
        }
        let mut stuck = vec![true; self.needs.len()];
        let mut ready: Vec<usize> =
            (0..waits.len()).filter(|at| waits.get(*at) == Some(&0)).collect();
        while let Some(done) = ready.pop() {
            if let Some(flag) = stuck.get_mut(done) {
                *flag = false;
            }
            let mut inherited = self.ancestors.get(done).cloned().unwrap_or_default();
            if let Some(word) = inherited.get_mut(done / 64) {
                *word |= 1 << (done % 64);
            }
            for dependent in dependents.get(done).into_iter().flatten().copied() {
                if let Some(words) = self.ancestors.get_mut(dependent) {
                    words.iter_mut().zip(&inherited).for_each(|(word, more)| *word |= more);
                }
                if let Some(count) = waits.get_mut(dependent) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(dependent);
                    }
                }
            }
        }
        for (words, stuck) in self.ancestors.iter_mut().zip(&stuck) {
            if *stuck {
                words.fill(u64::MAX);
            }
        }
        stuck
    }

    /// Names each cycle once: walks from dependency to dependency until it comes round.
    fn report_cycles(&self, stuck: &[bool], vertices: &[Vertex<'_>], faults: &mut Faults) {
        let is_stuck = |at: usize| stuck.get(at).copied().unwrap_or(false);
        let mut walked = vec![false; stuck.len()];
        for start in (0..stuck.len()).filter(|at| is_stuck(*at)) {
            let mut way: Vec<(usize, &Pointer)> = Vec::new();
            let mut at = start;
            while walked.get(at) == Some(&false) {
                if let Some(flag) = walked.get_mut(at) {
                    *flag = true;
                }
                let mut needs = self.needs.get(at).into_iter().flatten();
                let Some((next, entry)) = needs.find(|(need, _)| is_stuck(*need)) else { break };
                way.push((at, entry));
                at = *next;
            }
            let Some(first) = way.iter().position(|(position, _)| *position == at) else {
                continue;
            };
            let cycle = way.get(first..).unwrap_or_default();
            let name = |at: usize| vertices.get(at).and_then(|vertex| vertex.id).unwrap_or("?");
            let mut names: Vec<&str> = cycle.iter().map(|(position, _)| name(*position)).collect();
            names.push(name(at));
            if let Some((_, entry)) = cycle.first() {
                faults.add(entry, format!("a cycle: {}", names.join(" needs ")));
            }
        }
    }
}

fn read(
    vertex: &Vertex<'_>,
    positions: &BTreeMap<&str, usize>,
    faults: &mut Faults,
) -> Vec<(usize, Pointer)> {
    let mut needs: Vec<(usize, Pointer)> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (index, entry) in vertex.depends_on.iter().enumerate() {
        let at = vertex.at.index(index);
        let Some(id) = entry.text() else {
            faults.add(&at, format!("a step's id is a string, not {}", entry.type_name()));
            continue;
        };
        let position = positions.get(&*id);
        if vertex.id == Some(&*id) {
            faults.add(&at, format!("step {id:?} depends on itself"));
        } else if !seen.insert(id.clone()) {
            faults.add(&at, format!("step {id:?} stands here twice"));
        } else if let Some(position) = position {
            needs.push((*position, at));
        } else {
            faults.add(&at, format!("there is no step {id:?}"));
        }
    }
    needs
}
