//! Figures that a test measures, prints and holds against bounds.

use std::time::Duration;

use rethread::app::SystemClock;
use rethread::model::{Clock, Timestamp};
use serde_json::Value;

use super::sse::Stream;

/// Durations of the same thing.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    /// Puts one down.
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Puts others down beside these.
    pub(crate) fn append(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The duration that this part of them does not exceed (0.5: the median).
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let count = f64::from(u32::try_from(sorted.len()).unwrap());
        let rank = (part * count).ceil().max(1.0).to_string();
        sorted[rank.parse::<usize>().unwrap() - 1]
    }

    /// Prints them (shown if the test fails, and by `--no-capture`).
    pub(crate) fn show(&self, what: &str) {
        let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|part| self.quantile(part));
        println!(
            "{what}: {} times, p50 {p50:?}, p90 {p90:?}, p99 {p99:?}, max {max:?}",
            self.0.len()
        );
    }
}

/// Reads a stream to its end; how long after its `at` each event came.
pub(crate) async fn delays(mut stream: Stream) -> (Figures, Vec<String>) {
    let clock = SystemClock::start();
    let (mut figures, mut texts) = (Figures::default(), Vec::new());
    while let Some(frame) = stream.next().await {
        let event: Value = serde_json::from_str(&frame.data).unwrap();
        let at = Timestamp::parse(event["at"].as_str().unwrap()).unwrap();
        figures.add(clock.now().since(at));
        texts.push(frame.data);
    }
    (figures, texts)
}
