//! `rethread dev`: serves, and shows the run of a first workflow from end to end.

use std::io::ErrorKind;

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::client::{Api, local_url};
use super::signals::Signals;
use super::{demo, out, serve};
use crate::app;
use crate::config::{ApiKey, ListenAddress, Reload, Settings};

/// The dotenv file, read for development only: the operator of a server sets its environment.
pub(super) const DOTENV: &str = ".env";
/// The log filter that leaves the screen to the demo, unless somebody asked for more.
pub(super) const QUIET: &str = "warn";

/// The options of `dev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DevOptions {
    /// Whether to stop after the demo.
    pub once: bool,
    /// Whether to use colours, where there is a terminal.
    pub color: bool,
}

/// Serves, runs the demo through the server's own API, and goes on serving.
pub(super) async fn dev(
    mut settings: Settings,
    reload: Reload,
    options: DevOptions,
) -> anyhow::Result<()> {
    let key = own_key(&mut settings);
    let mut signals = Signals::listen()?;
    let listener = listen(&settings.addr).await?;
    let Some(server) = serve::start(app::Server::start(&settings), &mut signals).await? else {
        return Ok(());
    };
    let server = server.reloading(&settings, reload, signals.hangups()).await;
    let addr = listener.local_addr()?;
    serve::announce(addr);
    let host = addr.ip().to_string();
    let base = local_url(&ListenAddress { host, port: addr.port() });
    // The address is for this terminal alone: it opens a browser's session, and is in no log.
    out::line(&format!("in a browser: {base}/?key={key}"));
    let api = Api::new(&base, Some(key))?;
    let (stop, departure) = (server.stop(), server.departure());
    let serving = serve::until_signal(server.serve(listener), &departure, &mut signals);
    tokio::pin!(serving);
    let shown = tokio::select! {
        result = &mut serving => return result,
        shown = demo::run(&api, options.color) => shown,
    };
    if options.once {
        stop.cancel();
        return serving.await.and(shown);
    }
    if let Err(error) = shown {
        out::problem(&format!("the demo did not end well: {error:#}"));
    }
    out::line("serving until ctrl-C");
    serving.await
}

/// Listens on the address, or on another port if that one is in use.
async fn listen(addr: &ListenAddress) -> anyhow::Result<TcpListener> {
    let free = match app::bind(addr).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse => addr.with_port(0),
        result => {
            return result
                .with_context(|| format!("RETHREAD_ADDR = \"{addr}\": can't listen there"));
        }
    };
    out::line(&format!("port {} is taken; taking a free one", addr.port));
    app::bind(&free).await.with_context(|| format!("no free port on {}", addr.host))
}

/// Makes a key for this process's own client and for the person at the terminal; it dies with the
/// process. Without a key, any program and many a page on this machine could run what a workflow
/// may.
fn own_key(settings: &mut Settings) -> String {
    let secret = app::random_secret();
    settings.api_keys.push(ApiKey::new("dev", &secret));
    secret
}
