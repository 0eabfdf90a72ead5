use super::*;
use crate::definition::testing::Data;
use crate::model::StepStatus;

fn visible() -> BTreeSet<&'static str> {
    BTreeSet::from(["pick", "my-step", "gone"])
}

fn data() -> Data {
    Data::new(
        r#"{"n":3,"f":1.5,"big":18446744073709551615,"s":"abc","list":[1,2,3],"o":{"k":null}}"#,
    )
    .completed("pick", r#"[{"title":"x"},{"title":"y"}]"#)
    .completed("my-step", r#"{"body":{"ok":true}}"#)
    .ended("gone", StepStatus::Skipped, None)
}

#[track_caller]
fn compile(text: &str) -> Condition {
    Condition::compile(text, &visible()).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
}

#[test]
fn conditions_hold_or_do_not() {
    for (text, holds) in [
        ("size(pick.output) > 0", true),
        ("size(pick.output) == 3", false),
        ("pick.output[0].title == 'x'", true),
        ("pick.output.exists(p, p.title == 'y')", true),
        ("pick.output.all(p, p.title == 'y')", false),
        ("pick.output.map(p, p.title) == ['x', 'y']", true),
        ("size(pick.output.filter(p, p.title != 'x')) == 1", true),
        ("pick.status == 'completed'", true),
        ("steps['my-step'].output.body.ok", true),
        ("steps['my-step'].status == 'completed' && steps['gone'].output == null", true),
        ("steps.pick.status == 'completed'", true),
        ("gone.output == null && gone.status == 'skipped'", true),
        ("input.n > 2 && input.n < 4", true),
        ("input.n == 3", true),
        ("input.n + 1 == 4", true),
        ("input.f > 1.0", true),
        ("input.f < 2.0", true),
        ("input.big > 0u", true),
        ("input.s.startsWith('a') && input.s.contains('b')", true),
        ("2 in input.list", true),
        ("input.list.all(x, x in input.list)", true),
        ("has(input.o) && !has(input.nosuch)", true),
        ("has(input.o.k)", true),
        ("thread.id == 't-1'", true),
        ("input.n > 2 ? true : false", true),
        ("true", true),
        ("type(input.n) == int", true),
        ("input.list.map(x, input.list.map(y, x * y))[2][2] == 9", true),
    ] {
        assert_eq!(compile(text).evaluate(&data()), Ok(holds), "{text}");
    }
}

#[test]
fn what_has_no_answer_is_an_error() {
    for text in [
        "input.n",
        "input.nosuch > 1",
        "pick.output[9].title == 'x'",
        "input.s > 1",
        "gone.output.x",
        "1 / 0 == 1",
    ] {
        assert!(compile(text).evaluate(&data()).is_err(), "{text}");
    }
}

#[test]
fn wrong_conditions_say_what_is_wrong() {
    for (text, part) in [
        ("", "not a CEL expression"),
        ("1 +", "not a CEL expression"),
        ("nosuch.output == 1", "\"nosuch\" is not known here"),
        ("steps['nosuch'].output == 1", "does not depend on \"nosuch\""),
        ("my-step.output == 1", "write steps['my-step']"),
        ("pick.outptu == 1", "output and status"),
        ("thread.name == 'x'", "only thread.id"),
        ("secrets.TOKEN == 'x'", "\"secrets\" is not known here"),
        ("input.list.all(x, y > 0)", "\"y\" is not known here"),
    ] {
        let faults = Condition::compile(text, &visible()).unwrap_err().join("; ");
        assert!(faults.contains(part), "{text}: {faults}");
    }
}

#[test]
fn no_condition_takes_long() {
    let list = format!("[{}]", vec!["1"; 100_000].join(","));
    let data = Data::new(&list).completed("pick", &format!("\"{}\"", "x".repeat(1_000_000)));
    let nested = |levels: usize| {
        (0..levels).fold("true".to_owned(), |inner, level| format!("input.all(v{level}, {inner})"))
    };
    for text in [
        nested(2),
        nested(3),
        nested(10),
        "input.all(x, x in input)".to_owned(),
        "size(input.map(x, pick.output + pick.output)) > 0".to_owned(),
        "(input + input + input).all(x, input.all(y, true))".to_owned(),
        format!("{}true", "!".repeat(4000)),
        format!("{}1{} == 1", "(".repeat(2000), ")".repeat(2000)),
        format!("{} > 0", vec!["1"; 2000].join("+")),
        format!("{} > 0", vec!["1"; 60].join("+")),
        format!("{}true", "!(!".repeat(15) + &"(".repeat(10)) + &")".repeat(25),
        format!("{}1{} > 0", "[".repeat(40), "][0]".repeat(40)),
        vec!["true"; 600].join(" && "),
        format!("{} == 1", vec!["input"; 500].join("[0] + ")),
        "x".repeat(5000),
    ] {
        if let Ok(condition) = Condition::compile(&text, &visible()) {
            let _answer = condition.evaluate(&data);
        }
    }
    assert_eq!(compile("input.all(x, x > 0)").evaluate(&data), Ok(true));
    assert!(compile(&nested(2)).evaluate(&data).is_err());
}

#[test]
fn conditions_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Condition>();
}
