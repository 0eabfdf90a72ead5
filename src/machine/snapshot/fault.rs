//! Why a snapshot cannot be used.

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFault {
    /// The bytes are not what was written.
    #[error("its checksum does not match")]
    Checksum,
    /// Another version of the server wrote it.
    #[error("its version {0} is not known")]
    Version(u32),
    /// The bytes are what was written, and no snapshot.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It is not of this thread, or of another plan, or no state that can be.
    #[error("it does not fit: {0}")]
    Misfit(String),
}

impl SnapshotFault {
    /// The fault in a word, for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Version(_) => "version",
            Self::Unreadable(_) => "unreadable",
            Self::Misfit(_) => "misfit",
        }
    }
}
