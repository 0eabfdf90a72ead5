//! Recent durations of one kind of call, for the health report.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::lock;

/// The number of samples kept: enough for a steady 95th percentile, 16 KiB of memory.
const SAMPLES: usize = 1024;

/// The time for which samples count: a store that has been well for so long is well, however few calls
/// were made since.
const RECENT: Duration = Duration::from_mins(5);

/// The last 1024 calls of a kind in five minutes: how long they took and whether they succeeded.
#[derive(Debug, Default)]
pub struct LatencyWindow(Mutex<VecDeque<Sample>>);

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    took: Duration,
    ok: bool,
}

/// The summary of a [`LatencyWindow`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WindowSummary {
    /// The median of the durations, in milliseconds; absent without calls that succeeded.
    pub p50_ms: Option<f64>,
    /// The 95th percentile of the durations, in milliseconds; absent without calls that succeeded.
    pub p95_ms: Option<f64>,
    /// The number of calls in the window.
    pub calls: u32,
    /// The number of calls that failed.
    pub failed: u32,
}

impl WindowSummary {
    /// Returns the share of failed calls among all, 0 to 1; 0 without calls.
    pub fn error_rate(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { f64::from(self.failed) / f64::from(self.calls) }
    }
}

impl LatencyWindow {
    /// Records a call; the oldest one is dropped when the window is full.
    pub fn record(&self, took: Duration, ok: bool) {
        let mut samples = lock(&self.0);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample { at: Instant::now(), took, ok });
    }

    /// Returns the summary of the window. Percentiles are over the calls that succeeded: a refused
    /// connection fails fast and would make a broken store look quick.
    pub fn summary(&self) -> WindowSummary {
        let (mut took, calls) = {
            let mut samples = lock(&self.0);
            let old = samples.partition_point(|sample| sample.at.elapsed() > RECENT);
            samples.drain(..old);
            let good = samples.iter().filter(|sample| sample.ok).map(|sample| sample.took);
            (good.collect::<Vec<_>>(), samples.len())
        };
        took.sort_unstable();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        WindowSummary {
            p50_ms: percentile(&took, 50),
            p95_ms: percentile(&took, 95),
            calls: count(calls),
            failed: count(calls.saturating_sub(took.len())),
        }
    }
}

/// Returns the nearest-rank percentile of sorted durations, in milliseconds.
fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|took| took.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_window_has_no_percentiles_and_no_errors() {
        let summary = LatencyWindow::default().summary();
        assert_eq!(summary, WindowSummary::default());
        assert!(summary.error_rate().abs() < f64::EPSILON);
    }

    #[test]
    fn percentiles_are_nearest_rank_over_the_calls_that_succeeded() {
        let window = LatencyWindow::default();
        for ms in (1..=100).rev() {
            window.record(Duration::from_millis(ms), true);
        }
        for _ in 0..25 {
            window.record(Duration::ZERO, false);
        }
        let summary = window.summary();
        assert_eq!((summary.p50_ms, summary.p95_ms), (Some(50.0), Some(95.0)));
        assert!((summary.error_rate() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn only_the_last_samples_count() {
        let window = LatencyWindow::default();
        for _ in 0..50 {
            window.record(Duration::from_secs(9), false);
        }
        for _ in 0..SAMPLES {
            window.record(Duration::from_millis(2), true);
        }
        let summary = window.summary();
        assert_eq!((summary.p95_ms, summary.failed, summary.calls), (Some(2.0), 0, 1024));
    }

    #[tokio::test(start_paused = true)]
    async fn samples_count_for_five_minutes() {
        let window = LatencyWindow::default();
        window.record(Duration::ZERO, false);
        tokio::time::advance(RECENT / 2).await;
        window.record(Duration::from_millis(2), true);
        assert_eq!((window.summary().calls, window.summary().failed), (2, 1));
        tokio::time::advance(RECENT / 2 + Duration::from_millis(1)).await;
        assert_eq!((window.summary().calls, window.summary().failed), (1, 0));
    }
}
