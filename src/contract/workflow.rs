//! A workflow as clients write it. It is kept as text, and `definition` reads it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Makes a type of an authored object, and the list of its members that the parser goes by.
macro_rules! authored {
    (
        $(#[$attribute:meta])*
        pub struct $Object:ident {
            $($(#[$about:meta])* $field:ident: $Type:ty,)+
        }
    ) => {
        #[derive(serde::Serialize, utoipa::ToSchema)]
        #[serde(rename_all = "camelCase")]
        $(#[$attribute])*
        pub struct $Object {
            $($(#[$about])* $field: $Type,)+
        }

        impl $Object {
            /// The names of its members.
            pub const MEMBERS: &'static [&'static str] = &[$($crate::contract::names::name!($field)),+];
        }
    };
}

pub(in crate::contract) use authored;

/// A workflow, or the name of a stored one.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum WorkflowOrName {
    /// `name` for the newest version, `name@3` for that one.
    Name(String),
    /// The workflow itself.
    Workflow(Box<WorkflowDefinition>),
}

authored! {
    /// What a thread executes: steps that depend on each other without a cycle.
    #[schema(as = Workflow)]
    #[serde(deny_unknown_fields)]
    pub struct WorkflowDefinition {
        /// Its name.
        name: String,
        /// What it is for.
        #[schema(nullable = false)]
        description: Option<String>,
        /// A JSON Schema that the input must satisfy.
        #[schema(value_type = Option<Object>, nullable = false)]
        input_schema: Option<BTreeMap<String, String>>,
        /// What steps that do not say otherwise use.
        #[schema(nullable = false)]
        defaults: Option<StepDefaults>,
        /// The steps; those without `dependsOn` start at once.
        steps: Vec<StepDefinition>,
        /// A template of the output; without it, the outputs of the steps nothing depends on.
        #[schema(nullable = false)]
        output: Option<serde_json::Value>,
        /// What happens to a thread when a step has used up its attempts: `fail` (the default), or
        /// `pause`, and a person is asked.
        #[schema(nullable = false)]
        on_failure: Option<String>,
        /// Bounds a thread of it from its start, with pauses: then its running steps are cancelled and it
        /// fails with `workflow_timeout`.
        #[schema(nullable = false)]
        timeout: Option<DurationText>,
        /// After how long nobody has decided what is asked about a thread of it, that is escalated: one
        /// event `intervention_escalated`. Never if absent; an approval may have its own.
        #[schema(nullable = false)]
        escalate_after: Option<DurationText>,
    }
}

authored! {
    /// Defaults of a workflow's steps.
    #[serde(deny_unknown_fields)]
    pub struct StepDefaults {
        /// When and how often failed attempts are made again.
        #[schema(nullable = false)]
        retry: Option<RetryOptions>,
        /// Bounds one attempt.
        #[schema(nullable = false)]
        timeout: Option<DurationText>,
        /// Emits `step_timeout_warning` once an attempt has run for this long.
        #[schema(nullable = false)]
        warn_after: Option<DurationText>,
        /// Fails an attempt that has shown no sign of life for this long: no output of a program, no
        /// byte of an answer. For kinds that work outside this server, and shorter than `timeout`.
        #[schema(nullable = false)]
        heartbeat_timeout: Option<DurationText>,
        /// Whether the thread goes on if a step fails.
        #[schema(nullable = false)]
        continue_on_error: Option<bool>,
    }
}

authored! {
    /// A step of a workflow.
    pub struct StepDefinition {
        /// Its id, unique in the workflow.
        #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
        id: String,
        /// What it does
        kind: String,
        /// How; what is allowed depends on the kind. Strings may hold templates such as
        /// `{input.repo}` and `{fetch.output}`.
        #[schema(value_type = Option<Object>, nullable = false)]
        with: Option<BTreeMap<String, String>>,
        /// Steps that must have ended before.
        #[schema(nullable = false)]
        depends_on: Option<Vec<String>>,
        /// A CEL condition; if it is false, the step is skipped.
        #[schema(nullable = false)]
        when: Option<String>,
        /// A CEL expression over `output` and what `when` sees, which decides about an output before the
        /// step completes: `"success"`, `"blocked"` (a person is asked) or `"failed"`, or true or false. Not
        /// for kinds that wait.
        #[schema(nullable = false)]
        check: Option<String>,
        /// When and how often failed attempts are made again.
        #[schema(nullable = false)]
        retry: Option<RetryOptions>,
        /// Bounds one attempt.
        #[schema(nullable = false)]
        timeout: Option<DurationText>,
        /// Emits `step_timeout_warning` once an attempt has run for this long.
        #[schema(nullable = false)]
        warn_after: Option<DurationText>,
        /// Fails an attempt that has shown no sign of life for this long: no output of a program, no
        /// byte of an answer. For kinds that work outside this server, and shorter than `timeout`.
        #[schema(nullable = false)]
        heartbeat_timeout: Option<DurationText>,
        /// Whether the thread goes on if this step fails.
        #[schema(nullable = false)]
        continue_on_error: Option<bool>,
        /// The circuit breaker before its attempts. For kinds that work outside this server.
        #[schema(nullable = false)]
        breaker: Option<Breaker>,
        /// What stands in for it once its attempts are used up.
        #[schema(nullable = false)]
        fallback: Option<StepFallback>,
        /// What undoes it, once it has completed, when its thread fails or is aborted with
        /// `{"compensate": true}`.
        #[schema(nullable = false)]
        compensate: Option<Box<CompensationStep>>,
    }
}

authored! {
    /// When a target is left alone, and for how long. Without it: one breaker per target (host and port,
    /// or kind and program), which opens after 5 failures in a row for 60 s.
    #[schema(as = CircuitBreaker)]
    #[serde(deny_unknown_fields)]
    pub struct Breaker {
        /// Steps that name the same key share a breaker; the target's own if absent.
        #[schema(nullable = false, min_length = 1, max_length = 200)]
        key: Option<String>,
        /// Failures in a row that open it; 5 if absent.
        #[schema(nullable = false, minimum = 1, maximum = 1000)]
        failure_threshold: Option<u32>,
        /// How long it stays open before one probe is let through; 60 s if absent, at most 24 h.
        #[schema(nullable = false)]
        reset_timeout: Option<DurationText>,
    }
}

/// An output that completes the step, or another step whose attempts follow.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum StepFallback {
    /// An output.
    Output(FallbackOutput),
    /// A step, without what places it among the others.
    Step(Box<FallbackStep>),
}

authored! {
    /// An output that stands in for a step.
    #[serde(deny_unknown_fields)]
    pub struct FallbackOutput {
        /// Any JSON; strings may hold templates, also of the step's own `error`.
        output: serde_json::Value,
    }
}

authored! {
    /// A step that stands in for another: with an idempotency key of its own, `{threadId}/{stepId}/fallback`.
    #[serde(deny_unknown_fields)]
    pub struct FallbackStep {
        /// What it does.
        kind: String,
        /// How; strings may hold templates, also of the step's own `error`.
        #[schema(value_type = Object)]
        with: BTreeMap<String, String>,
        /// When and how often its failed attempts are made again.
        #[schema(nullable = false)]
        retry: Option<RetryOptions>,
        /// Bounds one attempt.
        #[schema(nullable = false)]
        timeout: Option<DurationText>,
        /// Emits `step_timeout_warning` once an attempt has run for this long.
        #[schema(nullable = false)]
        warn_after: Option<DurationText>,
        /// Fails an attempt that has shown no sign of life for this long.
        #[schema(nullable = false)]
        heartbeat_timeout: Option<DurationText>,
        /// The circuit breaker before its attempts.
        #[schema(nullable = false)]
        breaker: Option<Breaker>,
        /// Decides about its outputs, as the `check` of a step does about that step's own.
        #[schema(nullable = false)]
        check: Option<String>,
    }
}

authored! {
    /// A step that undoes another: with an idempotency key of its own, `{threadId}/{stepId}/compensate`, and
    /// attempts that are numbered by themselves.
    #[serde(deny_unknown_fields)]
    pub struct CompensationStep {
        /// What it does: any kind but those that wait.
        kind: String,
        /// How; strings may hold templates, also of the step's own `output`.
        #[schema(value_type = Object)]
        with: BTreeMap<String, String>,
        /// When and how often its failed attempts are made again.
        #[schema(nullable = false)]
        retry: Option<RetryOptions>,
        /// Bounds one attempt.
        #[schema(nullable = false)]
        timeout: Option<DurationText>,
        /// Emits `step_timeout_warning` once an attempt has run for this long.
        #[schema(nullable = false)]
        warn_after: Option<DurationText>,
        /// Fails an attempt that has shown no sign of life for this long.
        #[schema(nullable = false)]
        heartbeat_timeout: Option<DurationText>,
        /// The circuit breaker before its attempts.
        #[schema(nullable = false)]
        breaker: Option<Breaker>,
    }
}

authored! {
    /// When and how often failed attempts are made again.
    #[schema(as = RetryPolicy)]
    #[serde(deny_unknown_fields)]
    pub struct RetryOptions {
        /// Attempts in all, the first included; 3 if absent.
        #[schema(nullable = false)]
        max_attempts: Option<u32>,
        /// The delay before the second attempt; 1 s if absent.
        #[schema(nullable = false)]
        initial_interval: Option<DurationText>,
        /// What each delay is multiplied by for the next; 2 if absent.
        #[schema(nullable = false)]
        backoff_factor: Option<f64>,
        /// The longest delay; 30 s if absent.
        #[schema(nullable = false)]
        max_interval: Option<DurationText>,
        /// Whether each delay is drawn from 50 % to 150 % of the computed one; true if absent.
        #[schema(nullable = false)]
        jitter: Option<bool>,
        /// Codes or categories that are tried again; every recoverable failure if absent.
        #[schema(nullable = false)]
        retry_on: Option<Vec<String>>,
    }
}

/// A duration: milliseconds, or a text such as `250ms`, `30s`, `2m` or `1h`.
#[derive(Serialize, ToSchema)]
#[schema(as = Duration)]
#[serde(untagged)]
pub enum DurationText {
    /// Milliseconds.
    Millis(u64),
    /// A number with its unit.
    Text(String),
}
