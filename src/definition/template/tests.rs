use proptest::prelude::*;

use super::*;
use crate::definition::testing::{Data, json};
use crate::model::{Category, Failure, StepStatus};

fn steps() -> BTreeSet<&'static str> {
    BTreeSet::from(["a", "my-step", "gone", "broken", "agent", "later"])
}

fn compile(text: &str) -> Result<Template, Vec<String>> {
    let (steps, mut ancestors) = (steps(), steps());
    ancestors.remove("later");
    let names = Names { steps: &steps, ancestors: Some(&ancestors), secrets: true };
    let mut faults = Faults::default();
    let template =
        Template::compile(json(text).as_str(), &Pointer::root().key("with"), &names, &mut faults);
    let faults: Vec<_> =
        faults.into_vec().into_iter().map(|f| format!("{}: {}", f.pointer, f.detail)).collect();
    if faults.is_empty() { Ok(template) } else { Err(faults) }
}

fn data() -> Data {
    let failure = Failure::recoverable("http_status", Category::External, "HTTP 500 {input}");
    Data::new(
        r#"{"repo":"o/r","n":12345678901234567890,"z":-0,"s":"a \"b\" {input.repo} \u0000","list":[1,{"x":[true,null]}],"o":{"z":1.10,"a":2},"key.with dots":5,"dup":1,"dup":2}"#,
    )
    .completed("a", r#"{"items":[{"name":"n0"}],"text":"héllo","none":null}"#)
    .completed("my-step", "7")
    .ended("gone", StepStatus::Skipped, None)
    .ended("broken", StepStatus::Failed, Some(failure))
    .completed("agent", "{}")
    .secret("TOKEN", "s3\"cret")
}

#[track_caller]
fn render(text: &str) -> Result<String, String> {
    let template = compile(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    template
        .render(&data(), 1 << 23)
        .map(|json| json.as_str().to_owned())
        .map_err(|absent| absent.to_string())
}

#[test]
fn a_string_that_is_one_reference_keeps_type_and_text() {
    for (template, value) in [
        ("{input.n}", "12345678901234567890"),
        ("{input.z}", "-0"),
        ("{input.repo}", r#""o/r""#),
        ("{input.s}", r#""a \"b\" {input.repo} \u0000""#),
        ("{input.o}", r#"{"z":1.10,"a":2}"#),
        ("{input.list[1].x[0]}", "true"),
        ("{input.list[1].x[1]}", "null"),
        ("{input.dup}", "2"),
        (r#"{input["key.with dots"]}"#, "5"),
        ("{a.output.items[0].name}", r#""n0""#),
        ("{a.output.none}", "null"),
        ("{a.status}", r#""completed""#),
        ("{my-step.output}", "7"),
        ("{gone.output}", "null"),
        ("{gone.status}", r#""skipped""#),
        ("{gone.error}", "null"),
        ("{broken.output}", "null"),
        ("{broken.error.code}", r#""http_status""#),
        ("{broken.error.recoverable}", "true"),
        ("{agent.sessionId}", r#""session-7""#),
        ("{a.sessionId}", "null"),
        ("{thread.id}", r#""t-1""#),
        ("{secrets.TOKEN}", r#""s3\"cret""#),
    ] {
        let quoted = Json::string(template);
        assert_eq!(render(quoted.as_str()).as_deref(), Ok(value), "{template}");
    }
}

#[test]
fn inside_a_longer_string_text_is_text_and_the_rest_is_json() {
    for (template, text) in [
        ("http://host/{input.repo}", "http://host/o/r"),
        ("{input.repo}{input.repo}", "o/ro/r"),
        (" {input.n}", " 12345678901234567890"),
        ("x={input.o}", "x={\"z\":1.10,\"a\":2}"),
        ("x={gone.output}", "x=null"),
        ("{broken.error.message}!", "HTTP 500 {input}!"),
        ("Bearer {secrets.TOKEN}", "Bearer s3\"cret"),
        ("{input.s}.", "a \"b\" {input.repo} \0."),
    ] {
        let quoted = Json::string(template);
        assert_eq!(
            render(quoted.as_str()),
            Ok(Json::string(text).as_str().to_owned()),
            "{template}"
        );
    }
}

#[test]
fn doubled_braces_are_braces_and_other_braces_are_left_alone() {
    for (template, text) in [
        ("{{input.repo}}", "{input.repo}"),
        ("{{}}", "{}"),
        ("{{{input.repo}}}", "{o/r}"),
        ("{title}", "{title}"),
        ("{a}", "{a}"),
        ("{item} {item.x} {index} {steps.a.output}", "{item} {item.x} {index} {steps.a.output}"),
        ("{}", "{}"),
        ("{", "{"),
        ("}", "}"),
        ("{ input.repo }", "{ input.repo }"),
        ("{input.}", "{input.}"),
        ("{input..x}", "{input..x}"),
        ("{input[x]}", "{input[x]}"),
        ("{input[-1]}", "{input[-1]}"),
        ("{input", "{input"),
        ("{foo.bar}", "{foo.bar}"),
        (r#"{"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":{"b":{"c":1}}}"#, r#"{"a":{"b":{"c":1}}}"#),
        (r#"{"a":{"b":{input.n}}}"#, r#"{"a":{"b":12345678901234567890}}"#),
        (r#"{"a":"{input.repo}"}"#, r#"{"a":"o/r"}"#),
        ("function f() { return {x: 1}; }", "function f() { return {x: 1}; }"),
        ("if (a) { b({input.n}) }", "if (a) { b(12345678901234567890) }"),
    ] {
        let quoted = Json::string(template);
        assert_eq!(
            render(quoted.as_str()),
            Ok(Json::string(text).as_str().to_owned()),
            "{template}"
        );
    }
}

#[test]
fn keys_are_no_templates_and_literals_stay_byte_for_byte() {
    let text = r#"{"{input.repo}":[1e5,-0,"\u0041\/é","{{"],"b":{"c":"{input.n}"}}"#;
    let rendered = r#"{"{input.repo}":[1e5,-0,"\u0041\/é","{"],"b":{"c":12345678901234567890}}"#;
    assert_eq!(render(text).as_deref(), Ok(rendered));
}

#[test]
fn what_is_absent_is_named_and_never_shown() {
    for (template, named) in [
        ("{input.nosuch}", "{input.nosuch} is not there"),
        ("{input.list[9]}", "{input.list[9]} is not there"),
        ("{input.repo.x}", "{input.repo.x} is not there"),
        ("{input.list.x} ", "{input.list.x} is not there"),
        ("{gone.output.x}", "{gone.output.x} is not there"),
        ("{a.error.message}", "{a.error.message} is not there"),
        ("{secrets.NONE}", "{secrets.NONE} is not there"),
        ("{secrets.TOKEN} {secrets.NONE}", "{secrets.NONE} is not there"),
    ] {
        let quoted = Json::string(template);
        assert_eq!(render(quoted.as_str()), Err(named.to_owned()), "{template}");
    }
}

#[test]
fn wrong_references_are_faults_with_their_place() {
    for (template, fault) in [
        (r#""{nosuch.output}""#, "/with: {nosuch.output}: there is no step \"nosuch\""),
        (
            r#"{"a/b":["{nosuch.status}"]}"#,
            "/with/a~1b/0: {nosuch.status}: there is no step \"nosuch\"",
        ),
        (
            r#""{later.output.x}""#,
            "/with: {later.output.x}: this step does not depend on \"later\"",
        ),
    ] {
        assert_eq!(compile(template).unwrap_err(), [fault]);
    }
    for template in
        ["{thread.name}", "{a.outptu}", "{a.status.x}", "{secrets.A.b}", "{secrets.a-b}"]
    {
        assert!(compile(Json::string(template).as_str()).is_err(), "{template}");
    }
}

#[test]
fn secrets_are_known_and_refused_where_the_result_is_journalled() {
    let used = compile(r#"["{secrets.B} {secrets.A}","{secrets.B}"]"#).unwrap();
    assert_eq!(used.uses_secrets().collect::<Vec<_>>(), ["A", "B"]);
    let (steps, mut faults) = (steps(), Faults::default());
    let names = Names { steps: &steps, ancestors: None, secrets: false };
    let _template = Template::compile(r#""{secrets.A}""#, &Pointer::root(), &names, &mut faults);
    assert_eq!(faults.len(), 1);
}

#[test]
fn the_whole_scope_has_input_thread_and_steps() {
    let scope = Data::new("[1]").completed("a", "-0").ended("b", StepStatus::Skipped, None);
    let rendered = Template::whole_scope().render(&scope, 1 << 20).unwrap();
    let expected = r#"{"input":[1],"thread":{"id":"t-1"},"steps":{"a":{"status":"completed","output":-0},"b":{"status":"skipped","output":null}}}"#;
    assert_eq!(rendered.as_str(), expected);
}

#[test]
fn braces_without_end_are_read_in_linear_time() {
    let text = Json::string(&"{\"".repeat(500_000));
    assert_eq!(render(text.as_str()).as_deref(), Ok(text.as_str()));
}

#[test]
fn what_is_filled_in_never_outgrows_its_limit() {
    let scope = Data::new(&format!("\"{}\"", "y".repeat(900)))
        .completed("a", &format!("[\"{}\"]", "\\u0001".repeat(150)));
    for (template, limit, fits) in [
        (Json::string(&"{input}".repeat(5_000)), 10_000, false),
        (Json::string(&"{input}".repeat(11)), 10_000, true),
        (Json::string(&"{input}".repeat(11)), 9_901, false),
        (Json::string("{input}"), 902, true),
        (Json::string("{input}"), 901, false),
        (json(&format!("[{}]", vec!["\"{input}\""; 5_000].join(","))), 10_000, false),
        (json(r#"{"x":["{a.output}","{input}"]}"#), 2_000, true),
        (json(r#"{"x":["{a.output}","{input}"]}"#), 1_000, false),
        // As JSON, each of these characters takes six bytes.
        (Json::string("-{a.output[0]}"), 903, true),
        (Json::string("-{a.output[0]}"), 902, false),
    ] {
        let rendered = compile(template.as_str()).unwrap().render(&scope, limit);
        let wanted = if fits { None } else { Some(Unfilled::TooLarge(limit)) };
        assert_eq!(rendered.err(), wanted, "{:.60} within {limit}", template.as_str());
    }
    let whole = Template::whole_scope();
    assert_eq!(whole.render(&scope, 1_000), Err(Unfilled::TooLarge(1_000)));
    assert!(whole.render(&scope, 2_000).is_ok());
}

#[test]
fn what_is_named_often_is_read_twice() {
    let many: Vec<_> = (0..20_000).map(|at| format!("\"k{at}\":[{at}]")).collect();
    let scope = Data::new(&format!("{{\"o\":{{{}}}}}", many.join(",")));
    let named: Vec<_> = (0..20_000).map(|at| format!("{{input.o.k{at}[0]}}")).collect();
    let sums = compile(Json::string(&named.join("+")).as_str()).unwrap().render(&scope, 1 << 20);
    assert!(sums.unwrap().as_str().ends_with("+19998+19999\""));
}

#[test]
fn references_that_make_too_much_work_are_given_up() {
    let failure = Failure::recoverable("x", Category::External, "m".repeat(50_000));
    let scope = Data::new("null").ended("broken", StepStatus::Failed, Some(failure));
    for (times, told) in [(20, true), (400, false)] {
        let template = Json::string(&"{broken.error.code}".repeat(times));
        let rendered = compile(template.as_str()).unwrap().render(&scope, 1 << 20);
        assert_eq!(rendered.err(), (!told).then_some(Unfilled::TooLong), "{times}");
    }
}

#[test]
fn once_the_allowance_is_used_not_even_one_reference_is_followed() {
    let template = compile(r#""{input.repo}""#).unwrap();
    crate::definition::within(crate::definition::Allowance::LOOK, || {
        assert!(template.render(&data(), 1 << 20).is_ok());
        crate::definition::allowance::fill(usize::MAX);
        assert_eq!(template.render(&data(), 1 << 20).err(), Some(Unfilled::TooLong));
    });
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[{}a-c.\\[\\]0\"input]{0,24}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn compiling_and_rendering_never_panic(value in any_json()) {
        if let Ok(template) = compile(&value.to_string()) {
            let _rendered = template.render(&data(), 1 << 20);
        }
    }

    #[test]
    fn nothing_outgrows_its_limit(value in any_json(), limit in 0_usize..200) {
        if let Ok(template) = compile(&value.to_string())
            && let Ok(rendered) = template.render(&data(), limit)
        {
            prop_assert!(rendered.as_str().len() <= limit);
        }
    }

    #[test]
    fn literals_render_to_their_own_text(value in any_json()) {
        let text = strip(value).to_string();
        prop_assert_eq!(render(&text), Ok(text));
    }
}

/// Returns the value without braces in its strings.
fn strip(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(text.replace(['{', '}'], "")),
        Value::Array(items) => items.into_iter().map(strip).collect(),
        Value::Object(members) => members.into_iter().map(|(k, v)| (k, strip(v))).collect(),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_)) => scalar,
    }
}

#[test]
fn long_names_around_a_long_list_are_compiled_in_one_pass() {
    let (key, items) = (format!("{{\"{}\":", "k".repeat(20_000)), vec!["1"; 300_000].join(","));
    let text = format!("{}[{items}]{}", key.repeat(100), "}".repeat(100));
    let template = compile(&text).unwrap();
    assert!(matches!(template.parts.as_slice(), [Part::Raw(raw)] if *raw == text));
    let nested = format!("{}{items}{}", "[".repeat(110), "]".repeat(110));
    assert_eq!(render(&nested).unwrap(), nested);
    let wrong = vec!["\"{nope.output}\""; 100_000].join(",");
    let faults = compile(&format!("{}[{wrong}]{}", key.repeat(100), "}".repeat(100))).unwrap_err();
    assert!((30..=100).contains(&faults.len()), "{}", faults.len());
}

#[test]
fn a_fault_names_its_place_whatever_stands_around_it() {
    let text = r#"{"a,b":[1,{"c:d":"x"},["{{","{nope.output}"]],"e":{"{nope.output}":"y","~/\"":["{later.output}"]}}"#;
    let faults = compile(text).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("/with/a,b/2/1: "), "{faults:?}");
    assert!(faults[1].starts_with("/with/e/~0~1\"/0: "), "{faults:?}");
}
