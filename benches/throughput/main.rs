//! Measures what a step costs, beside the floor: the same appends through the store alone.
//!
//! `scripts/bench` runs it. Server, client and database share the machine, so every figure is only
//! comparable with the others of the same run; the ratios to the floor are what is held.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that measures: it reads clocks, prints, and may panic on its own JSON"
)]

mod floor;
mod load;
mod report;
mod resume;
mod server;
mod sse;
mod work;

use std::time::Duration;

use anyhow::Result;

use crate::report::{Backend, Report};
use crate::server::Server;

/// Threads in flight that are measured.
const IN_FLIGHT: [usize; 3] = [1, 32, 256];
/// Each measurement lasts so long: several hundred batches even at one in flight.
const DURATION: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<()> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let duration = if quick { Duration::from_secs(1) } else { DURATION };
    let mut report = Report::default();
    let databases = server::Databases::from_env()?;
    for url in databases.urls() {
        eprintln!("== {}", url.name());
        let mut backend = Backend::new(url.name());
        for in_flight in IN_FLIGHT {
            let floor = floor::measure(&url, in_flight, duration).await?;
            let server = Server::start(&url.fresh("http")).await?;
            let over_http = load::measure(&server, in_flight, duration, work::chain(10)).await?;
            server.stop().await?;
            let bare = floor::bare_inserts(&url, in_flight, duration).await?;
            backend.row(in_flight, &floor, bare, &over_http);
        }
        let server = Server::start(&url.fresh("single")).await?;
        backend.one_step = Some(load::measure(&server, 1, duration, work::chain(1)).await?);
        backend.sse = Some(sse::measure(&server, duration).await?);
        server.stop().await?;
        if url.survives_a_kill() {
            backend.resume = Some(resume::measure(&url.fresh("resume")).await?);
        }
        report.backends.push(backend);
    }
    report.print();
    report.save("bench-results/latest.json")
}
