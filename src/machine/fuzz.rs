//! Fuzz tests: any bytes from a store are a thread that can go on, or are reported as damaged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Command, DecisionContext, EncodedSnapshot, ThreadState, decide, snapshot};
use crate::definition::Plan;
use crate::fuzz::fuzz;
use crate::model::{Event, Json, Pointer, ThreadId, Timeouts, hex};
use sha2::{Digest as _, Sha256};

/// The number of plans kept at most: most mutations come after the first line, which is the plan.
const MAX_PLANS: usize = 1000;

/// The inputs of a decision beside the command.
fn context(state: &ThreadState) -> DecisionContext {
    DecisionContext {
        now: state.updated_at,
        unit: 0.5,
        max_event: 1 << 16,
        max_thread: 1 << 30,
        may_start: true,
        timeouts: Timeouts::AS_WRITTEN,
    }
}

fn thread() -> ThreadId {
    ThreadId::parse("t").unwrap()
}

/// Plans by their text: reading one takes longer than all the rest.
#[derive(Default)]
struct Plans(RefCell<BTreeMap<String, Option<Arc<Plan>>>>);

impl Plans {
    /// Splits a text into the plan in its first line, and the rest.
    fn split<'a>(&self, bytes: &'a [u8]) -> Option<(Arc<Plan>, &'a str)> {
        let (workflow, rest) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        let mut plans = self.0.borrow_mut();
        if plans.len() > MAX_PLANS {
            plans.clear();
        }
        let read = || Plan::parse(&Json::parse(workflow).ok()?, &Pointer::root()).ok();
        let plan = plans.entry(workflow.to_owned()).or_insert_with(|| read().map(Arc::new));
        Some((plan.clone()?, rest))
    }
}

/// Asserts that a state which passed every check can be shown, kept, and decided about.
fn goes_on(mut state: ThreadState) -> String {
    let (text, sha256) = snapshot::encode(&state);
    let encoded = EncodedSnapshot::open(&text, &sha256).unwrap();
    let restored = encoded.restore(&state.thread_id, Arc::clone(&state.plan)).unwrap();
    assert_eq!(format!("{restored:?}"), format!("{state:?}"));
    assert!(snapshot::estimate(&state) > 0);
    let shown = serde_json::to_string(&state.document(None)).unwrap();
    assert!(shown.len() > 2);
    let context = context(&state);
    match decide(&mut state, Command::Advance, context) {
        Ok(decided) => format!("{} {}", state.status.as_str(), decided.events.len().min(3)),
        Err(rejection) => rejection.sentence("advanced"),
    }
}

#[test]
fn any_journal_folds_and_what_is_sound_goes_on() {
    let plans = Plans::default();
    fuzz("journal", &[], |bytes| {
        let Some((plan, journal)) = plans.split(bytes) else { return "no plan".to_owned() };
        let mut events = journal.lines().map(Event::decode);
        let Some(Ok(first)) = events.next() else { return "no first event".to_owned() };
        let Some(mut state) = ThreadState::first(thread(), plan, &first) else {
            return "no start".to_owned();
        };
        for event in events {
            match event {
                Ok(event) => state.apply(&event),
                Err(fault) => return fault.to_string(),
            }
        }
        match state.validate() {
            Ok(()) => goes_on(state),
            Err(found) => found.to_string(),
        }
    });
}

#[test]
fn any_snapshot_is_a_state_that_goes_on_or_skipped() {
    let tokens = ["\"version\":5", "\"version\":6", "null", "\"completed\"", "0", "[]", "true"];
    let plans = Plans::default();
    fuzz("snapshot", &tokens, |bytes| {
        let Some((plan, text)) = plans.split(bytes) else { return "no plan".to_owned() };
        assert!(EncodedSnapshot::open(text, "").is_err(), "a checksum that does not match");
        let sha256 = hex(&Sha256::digest(text.as_bytes()));
        let state = EncodedSnapshot::open(text, &sha256)
            .and_then(|encoded| encoded.restore(&thread(), plan));
        match state {
            Ok(state) => goes_on(state),
            Err(fault) => fault.to_string(),
        }
    });
}
