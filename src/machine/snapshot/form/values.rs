//! The values that members of all kinds have: numbers, times, texts, failures.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::machine::snapshot::SnapshotFault;
use crate::model::{Category, Failure, Json, StepId, Timestamp};

/// A 64-bit number: as a string, since canonical JSON has no room for one among its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide<T>(pub(super) T);

impl<T: Display> Serialize for Wide<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Wide<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// A time, in milliseconds since the Unix epoch: exact even where a calendar ends.
pub(super) type Time = Wide<i64>;

pub(super) fn time(at: Timestamp) -> Time {
    Wide(at.millis())
}

pub(super) fn moment(time: Time) -> Timestamp {
    Timestamp::from_millis(time.0)
}

/// What a user sent: its exact text.
pub(super) fn text(json: &Json) -> Cow<'_, str> {
    Cow::Borrowed(json.as_str())
}

pub(super) fn json(text: Cow<'_, str>) -> Result<Json, SnapshotFault> {
    Json::trusted(text.into_owned()).map_err(|fault| SnapshotFault::Unreadable(fault.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in map")]
pub(super) fn step_id(id: Cow<'_, str>) -> Result<StepId, SnapshotFault> {
    StepId::parse(&id).map_err(|fault| SnapshotFault::Unreadable(fault.to_string()))
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FailureForm<'a> {
    attempt: Option<u32>,
    category: Category,
    code: Cow<'a, str>,
    message: Cow<'a, str>,
    recoverable: bool,
    step_id: Option<Cow<'a, str>>,
}

impl<'a> FailureForm<'a> {
    pub(super) fn of(failure: &'a Failure) -> Self {
        let Failure { code, category, message, recoverable, step_id, attempt } = failure;
        Self {
            attempt: *attempt,
            category: *category,
            code: code.as_str().into(),
            message: message.as_str().into(),
            recoverable: *recoverable,
            step_id: step_id.as_ref().map(|id| id.as_str().into()),
        }
    }

    pub(super) fn into_failure(self) -> Result<Failure, SnapshotFault> {
        Ok(Failure {
            code: self.code.into_owned(),
            category: self.category,
            message: self.message.into_owned(),
            recoverable: self.recoverable,
            step_id: self.step_id.map(step_id).transpose()?,
            attempt: self.attempt,
        })
    }
}
