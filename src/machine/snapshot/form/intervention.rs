//! The members that tell what was asked of people: like `form`, by whose rules they go.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::values::{Time, moment, step_id, time};
use crate::machine::Intervention;
use crate::machine::snapshot::SnapshotFault;
use crate::model::{InterventionKind, InterventionOpened, InterventionResolved, Timestamp};

/// What is asked, and what was decided.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InterventionForm<'a> {
    approvers: Vec<Cow<'a, str>>,
    at: Time,
    choices: Vec<Cow<'a, str>>,
    digest: Option<Cow<'a, str>>,
    escalated_at: Option<Time>,
    escalates_at: Option<Time>,
    expires_at: Option<Time>,
    id: Cow<'a, str>,
    kind: InterventionKind,
    not_by: Option<Cow<'a, str>>,
    on_timeout: Option<Cow<'a, str>>,
    prompt: Cow<'a, str>,
    resolved: Option<ResolutionForm<'a>>,
    steps: Vec<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResolutionForm<'a> {
    at: Time,
    by: Cow<'a, str>,
    choice: Cow<'a, str>,
    comment: Option<Cow<'a, str>>,
    digest: Option<Cow<'a, str>>,
    on_behalf_of: Option<Cow<'a, str>>,
}

impl<'a> ResolutionForm<'a> {
    pub(super) fn of((resolved, at): &'a (InterventionResolved, Timestamp)) -> Self {
        // The id is that of the intervention.
        let InterventionResolved { id: _, choice, by, on_behalf_of, comment, digest } = resolved;
        Self {
            at: time(*at),
            by: by.as_str().into(),
            choice: choice.as_str().into(),
            comment: comment.as_deref().map(Cow::from),
            digest: digest.as_deref().map(Cow::from),
            on_behalf_of: on_behalf_of.as_deref().map(Cow::from),
        }
    }

    pub(super) fn into_state(self, id: &str) -> (InterventionResolved, Timestamp) {
        let resolved = InterventionResolved {
            id: id.to_owned(),
            choice: self.choice.into_owned(),
            by: self.by.into_owned(),
            on_behalf_of: self.on_behalf_of.map(Cow::into_owned),
            comment: self.comment.map(Cow::into_owned),
            digest: self.digest.map(Cow::into_owned),
        };
        (resolved, moment(self.at))
    }
}

impl<'a> InterventionForm<'a> {
    pub(super) fn of(intervention: &'a Intervention) -> Self {
        let Intervention { opened, at, escalated, resolved } = intervention;
        let InterventionOpened {
            id,
            kind,
            steps,
            prompt,
            choices,
            digest,
            expires_at,
            on_timeout,
            escalates_at,
            approvers,
            not_by,
        } = opened;
        Self {
            approvers: approvers.iter().map(|name| name.as_str().into()).collect(),
            at: time(*at),
            choices: choices.iter().map(|choice| choice.as_str().into()).collect(),
            digest: digest.as_deref().map(Cow::from),
            escalated_at: escalated.map(time),
            escalates_at: escalates_at.map(time),
            expires_at: expires_at.map(time),
            id: id.as_str().into(),
            kind: *kind,
            not_by: not_by.as_deref().map(Cow::from),
            on_timeout: on_timeout.as_deref().map(Cow::from),
            prompt: prompt.as_str().into(),
            resolved: resolved.as_ref().map(ResolutionForm::of),
            steps: steps.iter().map(|step| step.as_str().into()).collect(),
        }
    }

    pub(super) fn into_state(self) -> Result<Intervention, SnapshotFault> {
        let steps: Result<_, _> = self.steps.into_iter().map(step_id).collect();
        let opened = InterventionOpened {
            id: self.id.into_owned(),
            kind: self.kind,
            steps: steps?,
            prompt: self.prompt.into_owned(),
            choices: self.choices.into_iter().map(Cow::into_owned).collect(),
            digest: self.digest.map(Cow::into_owned),
            expires_at: self.expires_at.map(moment),
            on_timeout: self.on_timeout.map(Cow::into_owned),
            escalates_at: self.escalates_at.map(moment),
            approvers: self.approvers.into_iter().map(Cow::into_owned).collect(),
            not_by: self.not_by.map(Cow::into_owned),
        };
        let resolved = self.resolved.map(|resolved| resolved.into_state(&opened.id));
        let escalated = self.escalated_at.map(moment);
        Ok(Intervention { opened, at: moment(self.at), escalated, resolved })
    }
}
