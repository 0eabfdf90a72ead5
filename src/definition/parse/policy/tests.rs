use std::time::Duration;

use serde_json::json;

use crate::definition::parse::tests::{example, parse, plan};

#[test]
fn retry_merges_field_by_field() {
    let mut workflow = example();
    workflow["defaults"] = json!({"retry": {"initialInterval": "1m", "backoffFactor": 3}});
    workflow["steps"][0]["retry"] = json!({"maxAttempts": 7});
    let plan = plan(&workflow);
    let retry = &plan.steps[0].retry;
    assert_eq!(retry.max_attempts, 7);
    assert_eq!(retry.initial_interval, Duration::from_mins(1));
    assert_eq!(retry.max_interval, Duration::from_mins(1));
    assert!((retry.backoff_factor - 3.0).abs() < f64::EPSILON && retry.jitter);
    workflow["steps"][0]["retry"] = json!({"maxInterval": "1s"});
    let faults = parse(&workflow).map(|_| ()).unwrap_err();
    assert!(faults[0].starts_with("/workflow/steps/0/retry/initialInterval"), "{faults:?}");
}

#[test]
fn a_default_warning_that_a_shorter_timeout_overtakes_is_dropped() {
    let mut workflow = example();
    workflow["defaults"] = json!({"timeout": "1m", "warnAfter": "30s"});
    let plan = plan(&workflow);
    assert_eq!(plan.steps[0].warn_after, Some(Duration::from_secs(30)));
    workflow["steps"][2].as_object_mut().unwrap().remove("warnAfter");
    let plan = parse(&workflow).unwrap();
    assert_eq!(
        (plan.steps[2].timeout, plan.steps[2].warn_after),
        (Some(Duration::from_secs(10)), None)
    );
}

#[test]
fn a_default_heartbeat_timeout_is_for_steps_that_show_signs_of_life() {
    let mut workflow = example();
    workflow["defaults"] = json!({"heartbeatTimeout": "10s"});
    workflow["steps"][0]["heartbeatTimeout"] = json!("1s");
    let plan = plan(&workflow);
    let limits: Vec<_> = plan.steps.iter().map(|step| step.heartbeat_timeout).collect();
    let seconds = |count| Some(Duration::from_secs(count));
    // The third has a timeout of its own that is as short, so that the default never comes due.
    assert_eq!(limits, [seconds(1), None, None, seconds(10), None]);
    workflow["defaults"] = json!({"heartbeatTimeout": "30s", "timeout": "30s"});
    let faults = parse(&workflow).map(|_| ()).unwrap_err();
    let fault = "/workflow/defaults/heartbeatTimeout: heartbeatTimeout is shorter than timeout";
    assert_eq!(faults, [fault]);
}
