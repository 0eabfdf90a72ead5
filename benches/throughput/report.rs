//! One table for people, one JSON file for comparisons.

use anyhow::Result;
use serde::Serialize;

use crate::floor::Floor;
use crate::load::Served;
use crate::resume::Resumed;
use crate::sse::Lag;

/// Steps of a measured thread.
const STEPS: f64 = 10.0;

/// One load on one database.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    in_flight: usize,
    served: Served,
    floor: Floor,
    bare_inserts_per_second: Option<f64>,
    ratio: f64,
    p50_ratio: f64,
}

/// Everything measured on one database.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Backend {
    name: &'static str,
    rows: Vec<Row>,
    pub(crate) one_step: Option<Served>,
    pub(crate) sse: Option<Lag>,
    pub(crate) resume: Option<Resumed>,
}

impl Backend {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new(), one_step: None, sse: None, resume: None }
    }

    pub(crate) fn row(
        &mut self,
        in_flight: usize,
        floor: &Floor,
        bare: Option<f64>,
        served: &Served,
    ) {
        self.rows.push(Row {
            in_flight,
            ratio: served.threads_per_second / floor.threads_per_second,
            p50_ratio: served.p50_ms / floor.p50_ms,
            served: served.clone(),
            floor: floor.clone(),
            bare_inserts_per_second: bare,
        });
    }
}

/// The whole run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) backends: Vec<Backend>,
}

impl Report {
    pub(crate) fn print(&self) {
        println!(
            "{:<9} {:>6} {:>10} {:>9} {:>8} {:>8} {:>7} {:>11} {:>9} {:>6} {:>6} {:>11}",
            "database",
            "flight",
            "threads/s",
            "steps/s",
            "p50 ms",
            "p99 ms",
            "RSS MiB",
            "floor thr/s",
            "floor p50",
            "ratio",
            "p50 x",
            "bare rows/s"
        );
        for backend in &self.backends {
            for row in &backend.rows {
                println!(
                    "{:<9} {:>6} {:>10.0} {:>9.0} {:>8.2} {:>8.2} {:>7.1} {:>11.0} {:>9.2} {:>6.2} {:>6.2} {:>11}",
                    backend.name,
                    row.in_flight,
                    row.served.threads_per_second,
                    row.served.threads_per_second * STEPS,
                    row.served.p50_ms,
                    row.served.p99_ms,
                    row.served.rss_mib.unwrap_or_default(),
                    row.floor.threads_per_second,
                    row.floor.p50_ms,
                    row.ratio,
                    row.p50_ratio,
                    row.bare_inserts_per_second
                        .map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
                );
            }
            if let Some(one) = &backend.one_step {
                println!(
                    "{:<9} one-step thread: p50 {:.2} ms, p99 {:.2} ms",
                    backend.name, one.p50_ms, one.p99_ms
                );
            }
            if let Some(lag) = &backend.sse {
                println!(
                    "{:<9} SSE, decision to client (commit included): p50 {:.1} ms, p99 {:.1} ms over {} events",
                    backend.name, lag.p50_ms, lag.p99_ms, lag.events
                );
            }
            if let Some(resume) = &backend.resume {
                println!(
                    "{:<9} {} threads interrupted by kill -9 run again {:.0} ms after ready, {:.0} ms after start",
                    backend.name, resume.threads, resume.after_ready_ms, resume.after_start_ms
                );
            }
        }
    }

    pub(crate) fn save(&self, path: &str) -> Result<()> {
        if let Some(folder) = std::path::Path::new(path).parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(self)?)?;
        println!("written to {path}");
        Ok(())
    }
}
