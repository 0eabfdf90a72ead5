//! `rethread serve`: starts, prints the address, serves until a signal, and ends in good order.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};

use super::out;
use super::signals::Signals;
use crate::app::{self, Departure, Server};
use crate::config::{Reload, Settings};

/// Serves until SIGTERM or SIGINT.
pub(super) async fn serve(
    settings: &Settings,
    reload: Reload,
    starting: impl Future<Output = anyhow::Result<Server>>,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let listener = app::bind(&settings.addr)
        .await
        .with_context(|| format!("RETHREAD_ADDR = \"{}\": can't listen there", settings.addr))?;
    let Some(server) = start(starting, &mut signals).await? else { return Ok(()) };
    let server = server.reloading(settings, reload, signals.hangups()).await;
    announce(listener.local_addr()?);
    let departure = server.departure();
    until_signal(server.serve(listener), &departure, &mut signals).await
}

/// Starts the server; `None` if a signal came first.
pub(super) async fn start(
    starting: impl Future<Output = anyhow::Result<Server>>,
    signals: &mut Signals,
) -> anyhow::Result<Option<Server>> {
    tokio::select! {
        server = starting => server.map(Some),
        signal = signals.next() => {
            tracing::info!(signal, "stopped before the server was up");
            Ok(None)
        }
    }
}

/// Prints the address that the server listens on, in the words that scripts wait for.
pub(super) fn announce(addr: SocketAddr) {
    out::line(&format!("listening on http://{addr}"));
}

/// Serves until a signal, then lets `serving` end in good order: after SIGTERM with the delay, as a
/// load balancer may send requests for a while; at once after SIGINT, which a person sends. A second
/// signal ends the wait.
pub(super) async fn until_signal<F: Future<Output = anyhow::Result<()>>>(
    serving: F,
    departure: &Departure,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    tokio::pin!(serving);
    let ending = async |signal: &str| {
        tracing::info!(signal, "shutting down");
        if signal == Signals::TERMINATE {
            departure.after_delay().await;
        } else {
            departure.now();
        }
        std::future::pending::<()>().await;
    };
    let signal = tokio::select! {
        result = &mut serving => return result,
        signal = signals.next() => signal,
    };
    tokio::select! {
        result = &mut serving => result,
        () = ending(signal) => Ok(()),
        second = signals.next() => bail!("a second signal ({second}) ended the process at once"),
    }
}
