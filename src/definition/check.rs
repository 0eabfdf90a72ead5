//! `check`: a CEL expression that decides what an output is worth before its step completes.
//!
//! It sees what a `when` sees and, as `output`, the output itself. Compiled and bounded as conditions
//! are. Called by `machine`, which records the verdict as what becomes of the attempt.

use std::collections::BTreeSet;

use super::condition::Value;
use super::{Condition, Scope};
use crate::model::Json;

/// The verdict of a check on an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The step completes with it.
    Success,
    /// A person has to look at it.
    Blocked,
    /// The attempt has failed.
    Failed,
}

/// A compiled check.
#[derive(Debug)]
pub struct Check(Condition);

impl Check {
    /// Compiles an expression; the errors say what is wrong with it. `visible` are the ids of the
    /// steps it may name.
    pub(super) fn compile(text: &str, visible: &BTreeSet<&str>) -> Result<Self, Vec<String>> {
        Condition::compile_over_output(text, visible).map(Self)
    }

    /// The most work that it can make over so many bytes of data, roughly.
    pub fn effort(&self, bytes: usize) -> u64 {
        self.0.effort(bytes)
    }

    /// About how many bytes it takes in memory.
    pub(super) const fn weight(&self) -> usize {
        self.0.weight()
    }

    /// The verdict on an output; the error says why there is none.
    pub fn verdict(&self, scope: &dyn Scope, output: &Json) -> Result<Verdict, String> {
        let wanted = "a check is \"success\", \"blocked\" or \"failed\", or true or false";
        let answer = self.0.answer(scope, Some(output))?;
        if let Value::Bool(is_fine) = answer {
            return Ok(if is_fine { Verdict::Success } else { Verdict::Failed });
        }
        let Value::Text(word) = &answer else {
            return Err(format!("{wanted}, not {}", answer.type_name()));
        };
        match &**word {
            "success" => Ok(Verdict::Success),
            "blocked" => Ok(Verdict::Blocked),
            "failed" => Ok(Verdict::Failed),
            _ => Err(format!("{wanted}, not another text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::testing::{Data, json};

    fn visible() -> BTreeSet<&'static str> {
        BTreeSet::from(["pick", "output"])
    }

    fn data() -> Data {
        Data::new(r#"{"least":3}"#).completed("pick", "[1,2]").completed("output", "7")
    }

    #[track_caller]
    fn verdict(text: &str, output: &str) -> Result<Verdict, String> {
        let check = Check::compile(text, &visible());
        check.unwrap_or_else(|faults| panic!("{text}: {faults:?}")).verdict(&data(), &json(output))
    }

    #[test]
    fn a_check_sees_the_output_and_what_a_condition_sees() {
        let three = "output.score >= 0.9 ? 'success' : output.score >= 0.5 ? 'blocked' : 'failed'";
        for (text, output, wanted) in [
            (three, r#"{"score":0.95}"#, Verdict::Success),
            (three, r#"{"score":0.7}"#, Verdict::Blocked),
            (three, r#"{"score":0.1}"#, Verdict::Failed),
            ("output.n > input.least", r#"{"n":4}"#, Verdict::Success),
            ("output.n > input.least", r#"{"n":3}"#, Verdict::Failed),
            (
                "size(output) == size(pick.output) && pick.status == 'completed'",
                "[0,0]",
                Verdict::Success,
            ),
            ("output.all(x, x in pick.output)", "[1,3]", Verdict::Failed),
            ("thread.id == 't-1' && output == null", "null", Verdict::Success),
            // A step of that name is found among the steps.
            ("output + steps['output'].output == 8", "1", Verdict::Success),
        ] {
            assert_eq!(verdict(text, output), Ok(wanted), "{text} of {output}");
        }
    }

    #[test]
    fn what_is_no_outcome_is_an_error() {
        for (text, part) in [
            ("output.nosuch", "No such key"),
            ("output", "not map"),
            ("'maybe'", "not another text"),
            ("null", "not null"),
            ("1", "not int"),
        ] {
            let fault = verdict(text, "{}").unwrap_err();
            assert!(fault.to_lowercase().contains(&part.to_lowercase()), "{text}: {fault}");
        }
    }

    #[test]
    fn wrong_checks_say_what_is_wrong_and_conditions_do_not_know_the_output() {
        for (text, part) in [
            ("output >", "not a CEL expression"),
            ("nosuch.output", "\"nosuch\" is not known here: there are input, thread, output"),
            ("steps['nosuch'].output", "does not depend on \"nosuch\""),
            ("pick.error == null", "output and status"),
        ] {
            let faults = Check::compile(text, &visible()).unwrap_err().join("; ");
            assert!(faults.contains(part), "{text}: {faults}");
        }
        let alone = BTreeSet::new();
        assert!(Check::compile("output.x.y == 1", &alone).is_ok());
        assert!(Condition::compile("output.x == 1", &alone).is_err());
    }

    #[test]
    fn a_check_takes_no_longer_than_a_condition() {
        let list = format!("[{}]", vec!["1"; 3_000].join(","));
        let fault = verdict("output.all(x, output.all(y, x == y))", &list).unwrap_err();
        assert!(fault.contains("budget"), "{fault}");
    }
}
