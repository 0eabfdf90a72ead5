//! SEAM: to be composed once store, runtime and api are there.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;

/// A server.
#[derive(Debug)]
pub struct Server;

/// What to do to the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// Apply what is missing.
    Up,
    /// Go back to a version.
    Down(i64),
    /// Change nothing.
    Status,
}

impl Server {
    /// Starts.
    pub async fn start(settings: &Settings, addr: SocketAddr) -> anyhow::Result<Self> {
        unimplemented!("{settings:?} {addr}")
    }
    /// Stops.
    pub fn stop(&self) -> CancellationToken {
        unimplemented!()
    }
    /// Serves.
    pub async fn serve(self, listener: TcpListener) -> anyhow::Result<()> {
        unimplemented!("{listener:?}")
    }
}

/// The OpenAPI document.
pub fn openapi_yaml() -> anyhow::Result<String> {
    unimplemented!()
}

/// Migrates; one line a migration.
pub async fn migrate(settings: &Settings, migration: Migration) -> anyhow::Result<Vec<String>> {
    unimplemented!("{settings:?} {migration:?}")
}
