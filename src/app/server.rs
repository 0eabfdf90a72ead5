//! Makes the layers from the settings, connects them, and ends them in order.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use axum::http::HeaderValue;
use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Ambient;
use super::control::Control;
use super::metrics::ServedMetrics;
use super::reload::{Reloading, api_keys};
use super::workers::Workers;
use crate::api::{self, Api, ApiSettings, Bounds, Keys, Origins, Quotas, Rate, ServeSettings};
use crate::config::{self, ConfigError, CorsOrigins, QuotaSettings, Reload, Settings};
use crate::dashboard;
use crate::executor::{self, EgressPolicy, ExecutorSettings, Executors, Redactor, Registry};
use crate::identity::Issuer;
use crate::model::HostPort;
use crate::observe::{Memory, Metrics};
use crate::runtime::{Handle, Runtime, RuntimeParts, RuntimeSettings, StoreRetry};

/// Ends a server: at once, or after a delay in which it goes on without being ready, so that load
/// balancers notice.
#[derive(Debug)]
pub struct Departure {
    handle: Handle,
    stop: CancellationToken,
    delay: Duration,
}

impl Departure {
    /// Ends the server after the delay.
    pub async fn after_delay(&self) {
        self.handle.leave();
        tokio::time::sleep(self.delay).await;
        self.stop.cancel();
    }

    /// Ends the server in good order from now on.
    pub fn now(&self) {
        self.stop.cancel();
    }
}

/// A server that drives threads already and is ready for requests.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    app: axum::Router,
    serve: ServeSettings,
    stop: CancellationToken,
    delay: Duration,
    control: Control,
    workers: Workers,
    keys: Keys,
    issuer: Option<Arc<Issuer>>,
    reloading: Option<Reloading>,
}

impl Server {
    /// Opens the store and starts the runtime.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        Self::assemble(settings, None).await
    }

    /// Opens the store and starts the runtime with executors of the caller's own.
    pub async fn start_with(
        settings: &Settings,
        executors: Arc<dyn Executors>,
    ) -> anyhow::Result<Self> {
        Self::assemble(settings, Some(executors)).await
    }

    async fn assemble(
        settings: &Settings,
        own: Option<Arc<dyn Executors>>,
    ) -> anyhow::Result<Self> {
        let ambient = Ambient::start();
        super::memory::refuse_huge_pages();
        let open_files = super::files::raise_limit();
        let connections = connections(settings, open_files);
        let metrics = Arc::new(Metrics::new());
        let memory = super::memory::budget(settings.memory_limit, &metrics.memory);
        let secrets = super::secrets::secrets(settings);
        super::secrets::warn_of_short_ones(&secrets);
        let executors = if let Some(own) = own {
            own
        } else {
            let bounds = (&memory, super::files::idle(open_files, connections));
            Arc::new(executors(settings, &ambient, bounds, secrets.redactor()).await?)
        };
        let database = super::store::name(&settings.database);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), %database, "starting");
        let opened = super::store::open(settings, &ambient).await?;
        let (control, workers) = (Control::start()?, Workers::start()?);
        let parts = RuntimeParts {
            store: opened.store,
            executors,
            secrets: Arc::new(secrets),
            clock: Arc::clone(&ambient.clock),
            entropy: Arc::clone(&ambient.entropy),
            memory,
            metrics: Arc::clone(&metrics),
            settings: RuntimeSettings {
                fallback: opened.fallback,
                max_attempts: super::files::attempts(open_files, connections),
                ..runtime_settings(settings)
            },
            control: Some(control.handle().clone()),
        };
        let runtime = workers.handle().spawn(Runtime::start(parts)).await?;
        let runtime = runtime.context("the runtime can't be started")?;
        control.guard(runtime.watch());
        let issuer = super::issuer::issuer(settings, &ambient.clock)?;
        let keys = Keys::new(api_keys(&settings.api_keys));
        let keys = if issuer.is_some() { keys.beside_tokens() } else { keys };
        let api = Api::new(
            runtime.handle(),
            ApiSettings { issuer: issuer.clone(), ..api_settings(settings, keys.clone(), metrics) },
            Arc::clone(&ambient.clock),
            Arc::clone(&ambient.entropy),
        );
        let pages = dashboard::router(runtime.handle(), Arc::clone(&ambient.clock));
        let app = api::router(api, pages);
        let serve = serve_settings(settings, connections);
        let stop = CancellationToken::new();
        let delay = settings.shutdown_delay;
        control.see_to_the_end(stop.clone(), delay.saturating_add(settings.shutdown_grace));
        Ok(Self {
            runtime,
            app,
            serve,
            stop,
            delay,
            control,
            workers,
            keys,
            issuer,
            reloading: None,
        })
    }

    /// Makes the server read keys again once their file changes, and both the keys and the filter
    /// of the log at each hangup.
    pub async fn reloading(
        mut self,
        settings: &Settings,
        reload: Reload,
        hangups: Arc<Notify>,
    ) -> Self {
        let face = (self.keys.clone(), self.runtime.handle());
        self.reloading = Some(Reloading::new(face, &settings.api_keys, (reload, hangups)).await);
        self
    }

    /// Returns the token that ends the server in good order when it is cancelled.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Returns what ends the server after the delay.
    pub fn departure(&self) -> Departure {
        Departure { handle: self.runtime.handle(), stop: self.stop.clone(), delay: self.delay }
    }

    /// Serves until stopped. Then it takes no new work, gives running steps and open requests the
    /// grace, and hands its threads over.
    pub async fn serve(self, listener: TcpListener) -> anyhow::Result<()> {
        let Self {
            runtime,
            app,
            serve,
            stop,
            delay: _,
            control,
            workers,
            keys: _,
            issuer,
            reloading,
        } = self;
        let broken = runtime.broken();
        let faces = unless_it_panics(&broken, api::serve(listener, app, serve, stop.clone()));
        let others = async {
            tokio::select! {
                never = executor::tend_programs() => match never {},
                never = reload(reloading) => match never {},
                never = super::issuer::keep_new(issuer) => match never {},
            }
        };
        let others = async {
            unless_it_panics::<Infallible>(&broken, others).await;
            std::future::pending::<()>().await;
        };
        let engine = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = broken.cancelled() => stop.cancel(),
            }
            runtime.stop().await
        };
        let both = async { tokio::join!(faces, engine) };
        let came_back = tokio::select! {
            (_, came_back) = both => came_back,
            () = others => false,
        };
        drop((control, workers));
        if broken.is_cancelled() {
            bail!("a part of the server ended before its time; its threads are handed over");
        }
        if !came_back {
            bail!("workers still stood in what they were given when the grace was over");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Awaits a part of the server; a panic of it ends the server in good order, and is `None`.
fn unless_it_panics<T>(
    broken: &CancellationToken,
    part: impl Future<Output = T>,
) -> impl Future<Output = Option<T>> {
    let part = AssertUnwindSafe(Box::pin(part)).catch_unwind();
    async move {
        let ended = part.await.ok();
        if ended.is_none() {
            broken.cancel();
        }
        ended
    }
}

/// Returns the OpenAPI document as YAML.
pub fn openapi_yaml() -> anyhow::Result<String> {
    api::openapi().to_yaml().context("the OpenAPI document can't be written")
}

async fn executors(
    settings: &Settings,
    ambient: &Ambient,
    (memory, max_idle_connections): (&Arc<Memory>, usize),
    redactor: Arc<Redactor>,
) -> anyhow::Result<Registry> {
    let egress = EgressPolicy::parse(&settings.egress.to_string()).map_err(|fault| {
        anyhow!(ConfigError::one(format!("RETHREAD_EGRESS = \"{}\": {fault}", settings.egress)))
    })?;
    let settings = ExecutorSettings {
        egress,
        exec_allow: settings.exec_allow.clone(),
        exec_env: settings.programs.variables.clone(),
        max_output_bytes: settings.max_event,
        program_env: ExecutorSettings::environment_for_programs(config::process_variables()),
        program_supervisor: super::supervise::supervisor_command(),
        max_idle_connections,
        program_limits: settings.programs.limits,
        memory: Arc::clone(memory),
        redactor,
    };
    executor::prepare_programs(settings.temporary_folder()).await;
    Registry::new(settings, Arc::clone(&ambient.clock)).context("the HTTP client can't be made")
}

fn runtime_settings(settings: &Settings) -> RuntimeSettings {
    RuntimeSettings {
        replica: super::ambient::replica_name(),
        lease: settings.lease,
        max_attempts: usize::MAX,
        max_running: settings.max_running,
        max_queued: settings.max_queued,
        stale_after: settings.stale_after,
        max_recoveries: settings.max_recoveries,
        timeouts: settings.timeouts,
        stale_action: settings.stale_action,
        retention: settings.retention,
        audit_retention: settings.audit.retention,
        shutdown_grace: settings.shutdown_grace,
        max_event: settings.max_event,
        snapshot_every: settings.snapshot_every,
        exec_allow: settings.exec_allow.clone(),
        exec_env: settings.programs.variables.clone(),
        fallback: false,
        storage_reserve: settings.storage_reserve,
        store_retry: StoreRetry { initial: settings.store_retry.0, max: settings.store_retry.1 },
    }
}

/// Returns how many connections are taken, and how many more for probes: few enough to leave open files
/// for everything else.
fn connections(settings: &Settings, open_files: u64) -> (usize, usize) {
    let asked = settings.edge.max_connections;
    let (total, reserve) = super::files::share(open_files, asked);
    if total < asked {
        tracing::warn!(
            open_files,
            "RETHREAD_MAX_CONNECTIONS = {asked}, but only {total} are taken: the process may open no \
             more files"
        );
    }
    (total, reserve)
}

/// Returns the settings of the HTTP server.
fn serve_settings(settings: &Settings, (total, reserve): (usize, usize)) -> ServeSettings {
    let per_address = settings.edge.max_connections_per_address.min(total);
    ServeSettings {
        connections: Bounds { total, per_address, reserve },
        drain: settings.shutdown_grace,
        ..ServeSettings::default()
    }
}

fn api_settings(settings: &Settings, keys: Keys, metrics: Arc<Metrics>) -> ApiSettings {
    ApiSettings {
        keys,
        issuer: None,
        address: HostPort::parse(&settings.addr.host_text()),
        hosts: settings.edge.hosts.clone(),
        origins: origins(&settings.edge.origins),
        audit_reads: settings.audit.reads,
        max_body: settings.max_body,
        wrong_keys: settings.edge.wrong_keys,
        quotas: (quotas(settings.quotas.0), quotas(settings.quotas.1)),
        metrics: Arc::new(ServedMetrics(metrics)),
    }
}

fn quotas(settings: QuotaSettings) -> Quotas {
    let QuotaSettings { rate, concurrency, bytes } = settings;
    Quotas { rate: rate.map(|(per_second, burst)| Rate { per_second, burst }), concurrency, bytes }
}

fn origins(settings: &CorsOrigins) -> Origins {
    match settings {
        CorsOrigins::Any => Origins::Any,
        // Every text that was read as an origin can be the value of a header.
        CorsOrigins::Named(origins) => Origins::Named(
            origins.iter().filter_map(|origin| HeaderValue::try_from(origin).ok()).collect(),
        ),
    }
}

/// Reloads for as long as the server serves; never ends.
async fn reload(reloading: Option<Reloading>) -> Infallible {
    if let Some(reloading) = reloading {
        reloading.run().await;
    }
    std::future::pending().await
}
