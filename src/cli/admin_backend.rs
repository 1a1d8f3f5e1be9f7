//! The backend of the operators' commands: the operators' API over the store itself while no service runs on it, otherwise the API of the
//! running service.
//!
//! In: the target ([`BackendArgs`]), and a command. Out: its result. The store's lock decides: if another process has the store open, the
//! service is asked over HTTP. Invariants: both answer alike, because both are the same routes; while a command has the store open, the
//! service cannot start on it, so commands close it soon. A PostgreSQL database is opened beside the service.

use super::admin_client::AdminClient;
use super::{CommandResult, ConfigArgs, block_on};
use crate::app::open_store;
use crate::config::{Config, Mode, StoreUrl};
use clap::Args;
use url::Url;

/// Which service or store a command works on.
#[derive(Debug, Args)]
pub(super) struct BackendArgs {
    /// The URL of the running service's operators' listener. Without it, the command opens the store, or if a service
    /// has it open, asks OPS_LISTEN
    #[arg(long, value_name = "URL")]
    ops: Option<Url>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl BackendArgs {
    /// The configuration, or the exit code after its problems were printed.
    pub(super) fn config(&self) -> CommandResult<Config> {
        self.config.load(Mode::Offline)
    }

    /// Runs `command` on the backend of this target, and closes the backend. Out: the result of the command, or the exit code after the
    /// error was printed.
    pub(super) fn with_backend<T>(
        &self,
        config: &Config,
        command: impl AsyncFnOnce(&AdminClient) -> Result<T, String>,
    ) -> CommandResult<T> {
        Self::run(self.backend(config), command)
    }

    /// As [`BackendArgs::with_backend`], for an operation that needs a process that delivers: with PostgreSQL the command asks the service,
    /// although it could open the database itself.
    pub(super) fn with_owner<T>(
        &self,
        config: &Config,
        command: impl AsyncFnOnce(&AdminClient) -> Result<T, String>,
    ) -> CommandResult<T> {
        if self.ops.is_none() && matches!(config.store.url, StoreUrl::Postgres(_)) {
            return Self::run(async { AdminClient::of_service(None, config) }, command);
        }
        Self::run(self.backend(config), command)
    }

    fn run<T>(
        backend: impl Future<Output = Result<AdminClient, String>>,
        command: impl AsyncFnOnce(&AdminClient) -> Result<T, String>,
    ) -> CommandResult<T> {
        block_on(async {
            let backend = backend.await?;
            let result = command(&backend).await;
            let closed = backend.close().await;
            result.and_then(|done| closed.map(|()| done))
        })
    }

    /// The backend of this target; opens the store if no service has it open.
    async fn backend(&self, config: &Config) -> Result<AdminClient, String> {
        if self.ops.is_some() {
            return AdminClient::of_service(self.ops.as_ref(), config);
        }
        if let StoreUrl::Sqlite(path) = &config.store.url
            && !path.exists()
        {
            return Err(format!(
                "there is no store at {}; set STORE_URL to the store's file, or --ops to the URL of a running service, such as a trial",
                path.display()
            ));
        }
        match open_store(config).await {
            Ok(store) => AdminClient::of_store(store, config),
            Err(error) if error.is_in_use() => AdminClient::of_service(None, config),
            Err(error) => Err(error.to_string()),
        }
    }
}
