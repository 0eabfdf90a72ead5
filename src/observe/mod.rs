//! The server's measurements of itself.
//!
//! [`Metrics`] is a value, made once by `app` and handed down, so that tests have their own; it
//! never reads a wall clock and never logs. Labels are closed sets or matched routes: no text that a
//! client can choose becomes a series. Fed by `store` and `runtime`, shown by `api`.

mod circuits;
mod integrity;
mod memory;
mod metrics;
mod notifications;
mod register;
mod snapshots;
mod window;

pub use circuits::CircuitMetrics;
pub use integrity::IntegrityMetrics;
pub use memory::{Memory, MemoryMetrics, Overloaded, Pool, Reservation};
pub use metrics::{
    ABANDONED_TALLY, METRICS_CONTENT_TYPE, Metrics, RECOVERED_TALLY, RETRIES_TALLY, RequestLabels,
    StorageRetries, checkpoint_tally,
};
pub use notifications::NotificationMetrics;
pub use snapshots::SnapshotMetrics;
pub use window::{LatencyWindow, WindowSummary};
