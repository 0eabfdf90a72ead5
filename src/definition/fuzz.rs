//! Whatever strangers write is read or refused: workflows, templates, filters, schemas.

use std::collections::BTreeSet;

use bounded_jq::with_large_stack;
use jsonschema::{PatternOptions, Retrieve, Uri};
use serde_json::Value as Tree;

use super::template::Names;
use super::testing::Data;
use super::{Filter, FilterLimits, InputSchema, Plan, Template};
use crate::fuzz::fuzz;
use crate::model::{Faults, Json, Pointer, StepStatus};

/// Parts an expression from its data.
const DIVIDER: &str = "\n---\n";
/// Bytes that a template may come to here.
const LIMIT: usize = 4096;
/// The value of a secret, which is in no sample and no token.
const SECRET: &str = "qX7-never-written";
/// Of so many filters that use their budget up, which takes a second, one does.
const SLOW_ONES: u32 = 16;

/// An expression and its data, where both are such.
pub(super) fn parts(bytes: &[u8]) -> Option<(&str, Json)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (expression, data) = text.split_once(DIVIDER).unwrap_or((text, "null"));
    Some((expression, Json::parse(data).ok()?))
}

pub(super) fn data(input: &Json) -> Data {
    Data::new(input.as_str())
        .completed("a", r#"{"items":[{"name":"n0"},{"name":"n1"}],"text":"héllo"}"#)
        .completed("my-step", "7")
        .ended("gone", StepStatus::Skipped, None)
        .secret("TOKEN", SECRET)
}

/// Runs on a thread with room, and lets panics of it be seen.
pub(super) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    with_large_stack(work).unwrap()
}

#[test]
fn any_bytes_as_a_workflow_are_a_plan_or_faults_with_their_places() {
    let tokens = [
        "\"steps\":",
        "\"dependsOn\":[\"a\"]",
        "\"when\":\"true\"",
        "\"check\":\"output.n > 0\"",
        "\"retry\":{\"maxAttempts\":2}",
        "\"compensate\":{\"kind\":\"sleep\",\"with\":{\"for\":1}}",
        "\"fallback\":{\"output\":1}",
        "\"kind\":\"signal\"",
        "\"kind\":\"approval\"",
        "\"10s\"",
        "\"{a.output.x}\"",
        "\"{input}\"",
        "\"breaker\":",
        "\"inputSchema\":{\"type\":\"object\"}",
    ];
    fuzz("workflow", &tokens, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
        let json = match Json::parse(text) {
            Ok(json) => json,
            Err(fault) => return fault.to_string(),
        };
        let faults = match Plan::parse(&json, &Pointer::root()) {
            Ok(plan) => {
                let again = Plan::parse(&Json::parse(&plan.text).unwrap(), &Pointer::root());
                let again = again.unwrap_or_else(|faults| panic!("read back: {faults:?}"));
                assert_eq!(format!("{plan:?}"), format!("{again:?}"));
                assert!(plan.weight() > plan.text.len());
                let kinds = plan.steps.iter().map(|step| step.action.kind());
                return kinds.collect::<BTreeSet<_>>().into_iter().collect();
            }
            Err(faults) => faults,
        };
        assert!((1..=100).contains(&faults.len()), "{faults:?}");
        // Numbers that no double holds are none to this parser.
        let tree = json.decode::<Tree>().ok();
        for fault in &faults {
            // A place that is missing lies in one that is there.
            let around = fault.pointer.rsplit_once('/').map_or("", |(around, _)| around);
            let found = tree.as_ref().is_none_or(|tree| tree.pointer(around).is_some());
            assert!(found && !fault.detail.is_empty(), "{fault:?}");
        }
        faults.iter().map(|fault| fault.detail.as_str()).min().unwrap_or_default().to_owned()
    });
}

#[test]
fn any_template_is_filled_in_within_its_limit_and_without_secrets() {
    let tokens = [
        "{input}",
        "{a.output.items[0].name}",
        "{my-step.output}",
        "{gone.status}",
        "{{",
        "}}",
        "{secrets.TOKEN}",
        "{thread.id}",
        "[\"x\"]",
        "{a.error}",
        "{input[",
    ];
    let steps = BTreeSet::from(["a", "my-step", "gone"]);
    fuzz("template", &tokens, |bytes| {
        let Some((text, input)) = parts(bytes) else { return "no parts".to_owned() };
        let Ok(text) = Json::parse(text) else { return "no JSON".to_owned() };
        let names = Names { steps: &steps, ancestors: None, secrets: false };
        let mut faults = Faults::default();
        let template = Template::compile(text.as_str(), &Pointer::root(), &names, &mut faults);
        if let Some(fault) = faults.into_vec().pop() {
            return fault.detail;
        }
        assert_eq!(template.uses_secrets().count(), 0);
        let large = template.render(&data(&input), 1 << 24);
        match template.render(&data(&input), LIMIT) {
            Ok(filled) => {
                assert!(filled.as_str().len() <= LIMIT);
                assert!(!filled.as_str().contains(SECRET));
                assert_eq!(large.as_ref(), Ok(&filled));
                // What is put in may nest below what is written around it.
                let read = serde_json::from_str::<&serde_json::value::RawValue>(filled.as_str());
                assert_eq!(read.map(serde_json::value::RawValue::get).ok(), Some(filled.as_str()));
                "filled".to_owned()
            }
            Err(unfilled) => unfilled.to_string(),
        }
    });
}

#[test]
fn any_filter_ends_with_a_value_in_its_limit_or_says_why_not() {
    let tokens = [
        "map(",
        "select(",
        "reduce .[] as $x (0; ",
        "foreach .[] as $x (0; ",
        "..",
        "|",
        "//",
        "def f: ",
        "recurse(",
        "limit(3; ",
        "try ",
        "catch .",
        "@base64",
        "@json \"\\(.)\"",
        "?//",
        "label $out | ",
        "break $out",
        "input",
        "$ENV",
        "test(\"a\")",
        "ltrimstr(",
        "range(9e9)",
        "as [$a, {b: $c}] | ",
        "path(",
        "getpath(",
        "|= ",
        "tojson",
        "fromjson",
        "splits(",
        "-1e1000",
    ];
    let limits = FilterLimits { max_output_bytes: LIMIT };
    fuzz("filter", &tokens, |bytes| {
        let Some((program, input)) = parts(bytes) else { return "no parts".to_owned() };
        let filter = match Filter::compile(program) {
            Ok(filter) => filter,
            Err(fault) => {
                assert!(!fault.contains("its evaluation failed"), "{fault}");
                return fault;
            }
        };
        let inline = filter.run_inline(&input, limits);
        if inline.is_none() && !crc32fast::hash(bytes).is_multiple_of(SLOW_ONES) {
            return "takes long".to_owned();
        }
        let full = filter.run(&input, limits, &std::sync::Arc::default());
        assert!(inline.is_none_or(|inline| inline == full), "told otherwise at once");
        match full {
            Ok(output) => {
                assert!(output.as_str().len() <= LIMIT);
                assert_eq!(Json::parse(output.as_str()).as_ref(), Ok(&output));
                "a value".to_owned()
            }
            Err(fault) => {
                let fault = fault.to_string();
                let broke = ["its evaluation failed", "the interpreter failed"];
                assert!(!broke.contains(&fault.as_str()), "{fault}");
                fault
            }
        }
    });
}

#[test]
fn any_schema_judges_an_input_as_the_plain_validator_does() {
    let tokens = [
        "\"$ref\":\"#\"",
        "\"$ref\":\"#/$defs/a\"",
        "\"$defs\":{\"a\":{}}",
        "\"allOf\":[{}]",
        "\"not\":{}",
        "\"pattern\":\"^(a+)+$\"",
        "\"const\":1.0",
        "\"enum\":[1,null]",
        "\"uniqueItems\":true",
        "\"multipleOf\":0.1",
        "\"unevaluatedProperties\":false",
        "\"patternProperties\":{\"\":{}}",
        "\"if\":{},\"then\":false",
        "\"prefixItems\":[{}]",
        "\"contains\":{}",
        "\"$id\":\"http://h/\"",
        "\"$dynamicRef\":\"#a\"",
        "\"format\":\"date\"",
        "\"propertyNames\":{\"maxLength\":1}",
        "\"$schema\":\"http://json-schema.org/draft-04/schema#\"",
        "\"minimum\":1e400",
        "\"required\":[\"a\"]",
        "\"dependentSchemas\":{\"a\":{}}",
    ];
    fuzz("schema", &tokens, |bytes| {
        let Some((text, input)) = parts(bytes) else { return "no parts".to_owned() };
        let Ok(text) = Json::parse(text) else { return "no JSON".to_owned() };
        let schema = match InputSchema::compile(&text) {
            Ok(schema) => schema,
            Err(fault) => {
                assert!(!fault.contains("its evaluation failed"), "{fault}");
                return fault;
            }
        };
        let (mut faults, mut inline) = (Faults::default(), Faults::default());
        schema.check(&input, &Pointer::root(), &mut faults);
        let faults = faults.into_vec();
        if schema.check_inline(&input, &Pointer::root(), &mut inline).is_err() {
            return "takes long".to_owned();
        }
        assert_eq!(faults, inline.into_vec());
        let plain: Tree = text.decode().unwrap();
        let Ok(value) = input.decode::<Tree>() else { return "a number out of range".to_owned() };
        let fits = apart(|| plain_validator(&plain).is_valid(&value));
        assert_eq!(fits, faults.is_empty(), "{faults:?}");
        faults.first().map_or_else(|| "fits".to_owned(), |fault| fault.detail.clone())
    });
}

fn plain_validator(schema: &Tree) -> jsonschema::Validator {
    struct Nowhere;
    impl Retrieve for Nowhere {
        fn retrieve(
            &self,
            uri: &Uri<String>,
        ) -> Result<Tree, Box<dyn std::error::Error + Send + Sync>> {
            Err(uri.to_string().into())
        }
    }
    let options = jsonschema::options().with_retriever(Nowhere);
    options.with_pattern_options(PatternOptions::regex()).build(schema).unwrap()
}
