//! The words that decide an intervention: what people are offered, and what settles a question that
//! nobody answers any more; and who decides where no person does.
//!
//! An approval has choices of its own. Called by whatever asks and whatever decides.

/// Who pauses a thread and settles its questions by policy, as its journal names it.
pub(super) const POLICY: &str = "rethread";

/// Takes an output that was blocked.
pub(super) const ACCEPT: &str = "accept";
/// Makes another attempt of what has failed or was blocked.
pub(super) const RETRY: &str = "retry";
/// Goes on without what has failed or was blocked.
pub(super) const SKIP: &str = "skip";
/// Goes on with what was set aside.
pub(super) const RESUME: &str = "resume";
/// Ends the thread.
pub(super) const ABORT: &str = "abort";
/// Undoes what the thread has done, and ends it.
pub(super) const COMPENSATE: &str = "compensate";

/// What was asked about has changed: it is asked anew.
pub(super) const CHANGED: &str = "changed";
/// Nobody has answered in time.
pub(super) const EXPIRED: &str = "expired";
/// The thread has failed without an answer.
pub(super) const WITHDRAWN: &str = "withdrawn";
/// A fork goes its own way.
pub(super) const FORK: &str = "fork";
