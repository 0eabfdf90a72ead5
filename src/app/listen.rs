//! The listening socket, and the set-up that a process needs once before anything connects.

use tokio::net::TcpListener;

use crate::config::ListenAddress;

/// Listens on the address.
pub async fn bind(addr: &ListenAddress) -> std::io::Result<TcpListener> {
    TcpListener::bind((addr.host.as_str(), addr.port)).await
}

/// Chooses the one provider of cryptography for every TLS connection of the process.
pub fn install_crypto() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("the cryptography provider is installed already");
    }
}
