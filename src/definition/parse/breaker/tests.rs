use std::time::Duration;

use serde_json::json;

use crate::definition::StepBreaker;
use crate::definition::parse::tests::{example, parse, plan};
use crate::model::BreakerPolicy;

#[test]
fn what_a_step_does_not_say_about_its_breaker_is_the_default() {
    let mut workflow = example();
    workflow["steps"][0]["breaker"] = json!({ "failureThreshold": 2 });
    workflow["steps"][3]["breaker"] = json!({ "key": "größe", "resetTimeout": "24h" });
    let plan = plan(&workflow);
    let seconds = Duration::from_secs;
    let breaker = |key: Option<&str>, failure_threshold, reset_timeout| StepBreaker {
        key: key.map(str::to_owned),
        policy: BreakerPolicy { failure_threshold, reset_timeout },
    };
    assert_eq!(plan.steps[0].breaker, breaker(None, 2, seconds(60)));
    assert_eq!(plan.steps[2].breaker, breaker(None, 5, seconds(60)));
    assert_eq!(plan.steps[3].breaker, breaker(Some("größe"), 5, seconds(86_400)));
}

#[test]
fn faults_of_a_breaker_are_named_at_once() {
    let bad = json!({ "key": "", "failureThreshold": 0, "resetTimeout": 0, "x": 1 });
    for (at, breaker, faults) in [
        (
            0,
            bad,
            &[
                "/x: unknown field",
                "/key: key has 1 to 200",
                "/failureThreshold: ",
                "/resetTimeout: ",
            ][..],
        ),
        (0, json!({ "key": "k".repeat(201) }), &["/key: "]),
        (0, json!({ "key": "a\nb" }), &["/key: "]),
        (
            0,
            json!({ "key": 1, "failureThreshold": 1001 }),
            &["/failureThreshold: ", "/key: key is"],
        ),
        (0, json!({ "failureThreshold": 1.5, "resetTimeout": "25h" }), &["/failure", "/reset"]),
        (0, json!(5), &[": breaker is an object"]),
        (1, json!({}), &[": a step of this kind does not leave the server"]),
        (4, json!({}), &[": a step of this kind does not leave the server"]),
    ] {
        let mut workflow = example();
        workflow["steps"][at]["breaker"] = breaker;
        let found = parse(&workflow).map(|_| ()).unwrap_err();
        assert_eq!(found.len(), faults.len(), "{found:#?}");
        for fault in faults {
            let wanted = format!("/workflow/steps/{at}/breaker{fault}");
            assert!(found.iter().any(|found| found.starts_with(&wanted)), "{wanted}\n{found:#?}");
        }
    }
}
