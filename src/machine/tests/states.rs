//! The tables of states at the head of `machine` are those that the code has.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

use super::random::{Turn, input, turns, workflow};
use super::theatre::{Stage, plan, thread};
use crate::machine::{Actor, DecisionContext, Fork, ThreadState, decide, fork};
use crate::model::{Event, Json, StepStatus};

/// The number of histories: enough for the rarest transition, a few seconds in a debug build.
const HISTORIES: usize = 4_000;

/// A transition: the states before and after it, and the kind of its event.
type Transition = (String, String, String);

#[derive(Default)]
struct Seen {
    steps: BTreeSet<Transition>,
    threads: BTreeSet<Transition>,
}

#[test]
fn the_tables_of_states_name_every_transition_and_no_other() {
    let mut seen = Seen::default();
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let all = (workflow(), input(), turns());
    for number in 0..HISTORIES {
        let (workflow, input, turns) = all.new_tree(&mut runner).unwrap().current();
        seen.history(number, (&workflow, &input), &turns);
    }
    let page = include_str!("../mod.rs");
    agree(&listed(page, "# States of a step"), &seen.steps);
    agree(&listed(page, "# States of a thread"), &seen.threads);
}

#[track_caller]
fn agree(listed: &BTreeSet<Transition>, seen: &BTreeSet<Transition>) {
    let lines = |some: std::collections::btree_set::Difference<'_, Transition>| {
        some.map(|(from, event, to)| format!("| {from} | {event} | {to} |")).collect::<Vec<_>>()
    };
    let unlisted = lines(seen.difference(listed));
    let unseen = lines(listed.difference(seen));
    assert!(unlisted.is_empty() && unseen.is_empty(), "unlisted {unlisted:#?}, unseen {unseen:#?}");
}

impl Seen {
    fn history(&mut self, number: usize, (workflow, input): (&Value, &Value), turns: &[Turn]) {
        let mut stage = Stage::of(plan(workflow), input);
        for turn in turns {
            let Some(command) = turn.command(&mut stage) else { continue };
            let Ok(decided) = decide(&mut stage.state, command, stage.context) else { continue };
            stage.journal.extend(decided.events);
        }
        let plan = Arc::clone(&stage.state.plan);
        let mut folded = ThreadState::first(thread(), plan, &stage.journal[0]).unwrap();
        // Somewhere in between, or at its end, a fork goes its own way.
        let forked_at = number % stage.journal.len();
        for (at, event) in stage.journal.iter().enumerate() {
            if at > 0 {
                self.fold(&mut folded, event);
            }
            if at == forked_at {
                self.forked(&folded, stage.context);
            }
        }
    }

    /// Forks a thread as it is, and with another output of a completed step.
    fn forked(&mut self, state: &ThreadState, context: DecisionContext) {
        let completed = state.steps.find(|step| step.status() == StepStatus::Completed);
        let edits = completed.map(|step| (step, Json::null()));
        for edits in [None, edits] {
            let (mut before, mut after) = (state.clone(), state.clone());
            let edits = edits.into_iter().collect();
            let change = Fork { edits, input: None, actor: Actor::default() };
            for event in fork(&mut after, change, context).unwrap_or_default() {
                self.fold(&mut before, &event);
            }
        }
    }

    fn fold(&mut self, state: &mut ThreadState, event: &Event) {
        let before = state.clone();
        state.apply(event);
        let kind = event.body.kind().to_owned();
        let add = |all: &mut BTreeSet<Transition>, from: &str, to: &str| {
            if from != to {
                all.insert((from.to_owned(), kind.clone(), to.to_owned()));
            }
        };
        add(&mut self.threads, before.status.as_str(), state.status.as_str());
        for (was, is) in before.steps.iter().zip(&state.steps) {
            add(&mut self.steps, was.status().as_str(), is.status().as_str());
        }
    }
}

/// Reads the table below a heading: each row names the states before, the events and the state
/// after.
fn listed(page: &str, heading: &str) -> BTreeSet<Transition> {
    let rows = page.lines().skip_while(|line| !line.contains(heading));
    let rows = rows.skip_while(|line| !line.contains("---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with("//! |"));
    rows.flat_map(|row| {
        let cells: Vec<Vec<String>> = row.split('|').skip(1).map(words).collect();
        let [from, events, to, ..] = cells.as_slice() else {
            panic!("a row has three cells: {row}")
        };
        let (from, events, to) = (from.clone(), events.clone(), to.clone());
        from.into_iter().flat_map(move |from| {
            let to = to.clone();
            events.clone().into_iter().flat_map(move |event| {
                let from = from.clone();
                to.clone().into_iter().map(move |to| (from.clone(), event.clone(), to))
            })
        })
    })
    .collect()
}

fn words(cell: &str) -> Vec<String> {
    let words = cell.split(',').map(|word| word.trim().trim_matches('`'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
