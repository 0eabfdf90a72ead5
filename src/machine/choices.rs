//! The choices that settle an intervention: those that people are offered, and those of questions
//! that nobody answers any more; and the name of the policy that decides where no person does.
//!
//! An approval has choices of its own. Used by code that asks and code that decides.

/// The name, in the journal, of the policy that pauses a thread and settles its questions.
pub const POLICY: &str = "rethread";

/// Accepts a blocked output.
pub(super) const ACCEPT: &str = "accept";
/// Makes another attempt of a step that has failed or was blocked.
pub(super) const RETRY: &str = "retry";
/// Goes on without a step that has failed or was blocked.
pub(super) const SKIP: &str = "skip";
/// Goes on with a thread that was set aside.
pub(super) const RESUME: &str = "resume";
/// Ends the thread.
pub(super) const ABORT: &str = "abort";
/// Undoes the completed steps of the thread, and ends it.
pub(super) const COMPENSATE: &str = "compensate";

/// The data of the question have changed: it is asked anew.
pub(super) const CHANGED: &str = "changed";
/// Nobody has answered the question in time.
pub(super) const EXPIRED: &str = "expired";
/// The thread has failed without an answer.
pub(super) const WITHDRAWN: &str = "withdrawn";
/// A fork does not need the answer.
pub(super) const FORK: &str = "fork";
