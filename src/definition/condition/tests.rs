use proptest::prelude::*;

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
        "input.all(x, !(2 in input))".to_owned(),
        "size(input.map(x, pick.output + pick.output)) > 0".to_owned(),
        "(input + input + input).all(x, input.all(y, true))".to_owned(),
        "input.all(x, input == input)".to_owned(),
        "input.all(x, !(input != input))".to_owned(),
        "input.all(x, [input, input] == [input, input])".to_owned(),
        "input.all(x, {'a': input} == {'a': input})".to_owned(),
        "input.all(x, pick.output == pick.output)".to_owned(),
        "input.all(x, pick.output <= pick.output)".to_owned(),
        "input.all(x, !pick.output.contains('xxxxxxy'))".to_owned(),
        "input.all(x, size(pick.output) > 0)".to_owned(),
        "input.all(x, pick.output.startsWith(pick.output))".to_owned(),
        "input.all(x, {pick.output: 1}[pick.output] == 1)".to_owned(),
        "input.all(x, bytes(pick.output) == bytes(pick.output))".to_owned(),
        "input.all(x, size(input + input) > 0)".to_owned(),
        "input.all(x, max(input) == 1)".to_owned(),
        "input.map(x, input.map(y, [x, y])).size() > 0".to_owned(),
        "input.exists(x, input.filter(y, y == 1).size() == 0)".to_owned(),
        "input.exists_one(x, input.exists_one(y, false))".to_owned(),
        "!input.exists(x, (x > 'a') || false)".to_owned(),
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
            let answer = condition.evaluate(&data);
            let costly = text.starts_with("input.all(x, ") || text.contains("map(");
            let spent = answer.as_ref().is_err_and(|why| why.contains("budget"));
            assert!(spent || !costly, "{text}: {answer:?}");
        }
    }
    assert_eq!(compile("input.all(x, x > 0)").evaluate(&data), Ok(true));
    assert_eq!(compile("size(input.map(x, x + 1)) == 100000").evaluate(&data), Ok(true));
    assert!(compile(&nested(2)).evaluate(&data).is_err());
}

#[test]
fn a_budget_that_is_used_up_is_no_error_that_an_expression_could_pass_over() {
    let list = format!("[{}]", vec!["1"; 100_000].join(","));
    let endless = "input.all(x, input.all(y, true))";
    for text in [
        format!("({endless}) || true"),
        format!("!(({endless}) && false)"),
        format!("[1, 2].exists(z, {endless} || z == 2)"),
        format!("[1].all(z, false && {endless} || {endless})"),
    ] {
        let answer = compile(&text).evaluate(&Data::new(&list));
        assert!(answer.unwrap_err().contains("budget"), "{text}");
    }
}

#[test]
fn keys_of_a_map_are_paid_for_by_their_length() {
    let long = "k".repeat(100_000);
    let input = format!(r#"{{"a":"{long}a","b":"{long}b","c":{{"{long}":1}}}}"#);
    let data = Data::new(&input);
    for text in [
        "{input.a: 1, input.b: 2} != {}",
        "input.a in {'x': 1}",
        "{'x': 1}[input.a] == 1",
        "input.c == {input.a: 1}",
    ] {
        let condition = compile(text);
        let small = u64::try_from(long.len() / 10).unwrap();
        assert_eq!(condition.within(small, &data, None).unwrap_err(), Stop::Spent, "{text}");
    }
}

#[test]
fn ordinary_data_of_a_megabyte_are_within_the_budget() {
    let item = |n: usize| {
        let text = "some words that describe it at length, as descriptions do";
        format!(r#"{{"id":{n},"price":{n}.5,"name":"item {n}","about":"{text}"}}"#)
    };
    let items: Vec<_> = (0..10_000).map(item).collect();
    let data = Data::new(&format!(r#"{{"items":[{}],"limit":-1}}"#, items.join(",")));
    for text in [
        "input.items.all(x, x.price > 0 && x.name != '')",
        "input.items.all(x, x.price > input.limit && x.about.contains('describe'))",
        "size(input.items.filter(x, x.id % 2 == 0).map(x, x.name)) == 5000",
        "input.items[9999].id == 9999 && input.limit == -1",
        "!input.items.exists(x, x.name in ['nobody', 'nothing'])",
    ] {
        assert_eq!(compile(text).evaluate(&data), Ok(true), "{text}");
    }
}

#[test]
fn numbers_are_worth_the_same_however_they_are_written() {
    let data = Data::new(r#"{"i":3,"f":3.0,"big":9007199254740993,"u":18446744073709551615}"#);
    for text in [
        "input.i == input.f && input.i == 3.0 && input.f == 3 && 3 == 3u",
        "input.i in [3.0] && input.f in [3]",
        "input.i * 1.5 == 4.5 && input.f + 1 == 4 && input.f / 2 == 1.5",
        "input.big == 9007199254740993 && input.big != 9007199254740992.0",
        "input.big > 9007199254740992.0 && input.u > input.i",
        "{3: 'a'}[input.f] == 'a' && [1, 2, 3, 4][input.f] == 4",
        "input.i % 2 == 1 && 7 / 2 == 3 && -7 / 2 == -3",
        "int('12') == 12 && double('1.5') == 1.5 && string(2.5) == '2.5' && uint(3) == 3u",
        "min(2, 1.5) == 1.5 && max([1, 2.5, 2]) == 2.5",
    ] {
        assert_eq!(compile(text).evaluate(&data), Ok(true), "{text}");
    }
    for text in ["9223372036854775807 + 1 > 0", "1 % 0 == 0", "int('x') == 1", "'a' * 2 == 'aa'"] {
        assert!(compile(text).evaluate(&data).is_err(), "{text}");
    }
}

#[test]
fn what_one_side_decides_needs_no_answer_of_the_other() {
    for (text, holds) in [
        ("input.nosuch == 1 || true", true),
        ("input.nosuch == 1 && false", false),
        ("[0, 1].exists(x, 1 / x == 1)", true),
        ("[0, 1].all(x, 1 / x == 2)", false),
        ("has(input.o) ? input.o.k == null : false", true),
        ("[1, 2, 3].map(x, x > 1, x * 10) == [20, 30]", true),
        ("{'a': 1, 'b': 2}.all(k, k in ['a', 'b'])", true),
        ("[1, 1, 2].exists_one(x, x == 2)", true),
        ("{'a': 1}.a == 1 && 'a' in {'a': 1} && !('z' in {'a': 1})", true),
        ("type(1.5) == double && type('') == string && type([]) == list", true),
    ] {
        assert_eq!(compile(text).evaluate(&data()), Ok(holds), "{text}");
    }
    for text in [
        "input.nosuch == 1 || false",
        "input.nosuch == 1 && true",
        "1 && true",
        "[0].all(x, 1 / x == 1)",
    ] {
        assert!(compile(text).evaluate(&data()).is_err(), "{text}");
    }
}

#[test]
fn conditions_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Condition>();
}

fn any_expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("input".to_owned()),
        Just("input.a".to_owned()),
        Just("input.list".to_owned()),
        Just("x".to_owned()),
        Just("1".to_owned()),
        Just("'ab'".to_owned()),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operators = prop::sample::select(vec!["==", "!=", "<", "+", "&&", "||", "in", "*"]);
        let macros = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        let functions = prop::sample::select(vec!["size", "string", "bytes", "type", "max"]);
        prop_oneof![
            (inner.clone(), operators, inner.clone())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), macros, inner.clone())
                .prop_map(|(a, of, b)| format!("[{a}, {a}].{of}(x, {b})")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("input.list.all(x, {a} == {b})")),
            (functions, inner.clone()).prop_map(|(of, a)| format!("{of}({a})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("(true ? {a} : {b})")),
        ]
    })
}

proptest! {
    #[test]
    fn no_expression_takes_more_than_its_budget(
        text in any_expression(),
        list in prop::collection::vec(0..9_u8, 0..200),
    ) {
        let data = Data::new(&format!(r#"{{"a":"{}","list":{list:?}}}"#, "y".repeat(300)));
        let text = format!("[1].map(x, {text})");
        let Ok(condition) = Condition::compile(&text, &visible()) else { return Ok(()) };
        // A used-up budget ends the evaluation, however small the budget; a larger one changes no
        // answer.
        let answers = [5, 500, 50_000, BUDGET].map(|budget| condition.within(budget, &data, None));
        let told: Vec<_> = answers.iter().filter(|answer| !matches!(answer, Err(Stop::Spent))).collect();
        for pair in told.windows(2) {
            prop_assert_eq!(format!("{:?}", pair[0]), format!("{:?}", pair[1]));
        }
    }
}

#[test]
fn of_endless_faults_the_first_are_written() {
    struct Endless;
    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("fault ")?;
            }
        }
    }
    assert_eq!(shorten(&start(&Endless)).chars().count(), MAX_DETAIL + 1);
    assert_eq!(start(&"one fault"), "one fault");
}

#[test]
fn names_that_are_not_known_are_reported_once_and_not_all() {
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("x{number}")).collect();
        Condition::compile(&format!("[{}, x0]", names.join(",")), &visible()).unwrap_err().len()
    };
    assert_eq!([names(3), names(20), names(500)], [3, 20, 20]);
}

#[test]
fn the_steps_as_a_whole_may_be_named_again_and_again() {
    let condition = compile("steps.size() + steps.size() + [steps, steps].size() == 8");
    assert_eq!(condition.evaluate(&data()), Ok(true));
}
