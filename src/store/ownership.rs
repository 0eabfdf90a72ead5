//! The ownership of a thread and its place in the queue, for people who ask why it does not move.

/// A thread's owner, and its place among the threads that wait to be claimed, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The registration that owns the thread, if one does, whether its lease holds or not.
    pub holder: Option<Holder>,
    /// Threads that nobody drives and that are claimed before this one, counted up to
    /// [`MAX_AHEAD`]; 0 if this one does not wait to be claimed.
    pub ahead: usize,
    /// Messages in its inbox that were not taken yet.
    pub mail: u32,
    /// Registrations whose lease holds.
    pub replicas: u32,
}

/// A registration that owns a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The replica's name.
    pub replica: String,
    /// The rest of its lease, in milliseconds, by the store's clock; 0 or less: it has expired.
    pub lease_left_ms: i64,
}

/// Threads that are counted before one that waits: beyond it the number says no more than "many",
/// and the count would read all of them.
pub const MAX_AHEAD: usize = 10_000;

/// The row of both databases: the holder's name and lease, threads ahead, messages, replicas.
pub(super) type RawOwnership = (Option<String>, Option<i64>, i64, i64, i64);

impl From<RawOwnership> for Ownership {
    fn from((replica, left, ahead, mail, replicas): RawOwnership) -> Self {
        let holder =
            replica.zip(left).map(|(replica, lease_left_ms)| Holder { replica, lease_left_ms });
        Self {
            holder,
            ahead: usize::try_from(ahead).unwrap_or(0),
            mail: u32::try_from(mail).unwrap_or(0),
            replicas: u32::try_from(replicas).unwrap_or(0),
        }
    }
}
