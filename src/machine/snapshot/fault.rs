//! Faults of snapshots.

/// The reason for which a snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFault {
    /// The bytes are not those that were written.
    #[error("its checksum does not match")]
    Checksum,
    /// Another version of the server wrote it.
    #[error("its version {0} is not known")]
    Version(u32),
    /// The bytes are those that were written, and they are no snapshot.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// The snapshot is of another thread or another plan, or its state is impossible.
    #[error("it does not fit: {0}")]
    Misfit(String),
}

impl SnapshotFault {
    /// Returns the fault in a word, for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Version(_) => "version",
            Self::Unreadable(_) => "unreadable",
            Self::Misfit(_) => "misfit",
        }
    }
}
