//! The service in this process.

use super::{API_KEY, Answer, OPS_TOKEN, TEST_TIMEOUT, basic, http, leaks, poll_until, within};
use refersion_destination::app::{self, Addresses, Reloading};
use refersion_destination::config::{Config, Mode};
use refersion_destination::domain::ApiKey;
use refersion_destination::sandbox::{Operation, Sandbox, SandboxSettings};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The header of a call that the merchant makes.
pub const MERCHANT: &str = "x-merchant";

/// A simulated Refersion that serves until the test ends.
pub struct Refersion {
    pub sandbox: Sandbox,
    pub base_url: String,
}

impl Refersion {
    /// One that accepts the test account only.
    pub async fn start() -> Self {
        Self::with(SandboxSettings::default()).await
    }

    /// One with `settings`, but for the key.
    pub async fn with(settings: SandboxSettings) -> Self {
        Self::of(API_KEY, settings).await
    }

    /// One that accepts `key` only, with `settings` else.
    pub async fn of(key: &str, settings: SandboxSettings) -> Self {
        let api_key = Some(ApiKey::parse(key).expect("a key"));
        Self::serve(Sandbox::new(SandboxSettings { api_key, ..settings })).await
    }

    /// One that accepts any key, with `settings` else.
    pub async fn of_any_key(settings: SandboxSettings) -> Self {
        Self::serve(Sandbox::new(SandboxSettings { api_key: None, ..settings })).await
    }

    async fn serve(sandbox: Sandbox) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
        tokio::spawn(sandbox.serve(listener));
        Self { sandbox, base_url }
    }

    /// Waits until `holds` is true of the simulated Refersion.
    pub async fn until(&self, holds: impl FnMut(&Sandbox) -> bool) {
        within(self.sandbox.until(holds)).await;
    }

    /// The merchant gives every affiliate this status. It is a further call of `status_change`.
    pub async fn merchant_sets(&self, status: &Value) {
        let ids: Vec<u64> = self.sandbox.affiliates().iter().map(|affiliate| affiliate.id.0).collect();
        self.merchant_calls(Operation::StatusChange, &json!({"ids": ids, "status": status})).await;
    }

    /// A call that the merchant makes, which the header [`MERCHANT`] shows.
    pub async fn merchant_calls(&self, operation: Operation, body: &Value) {
        let (public, secret) = API_KEY.split_once('.').expect("two halves");
        let request = http()
            .post(format!("{}/affiliate/{}", self.base_url, operation.as_str()))
            .header("Refersion-Public-Key", public)
            .header("Refersion-Secret-Key", secret)
            .header("Content-Type", "application/json")
            .header(MERCHANT, "")
            .body(body.to_string());
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// The operations called so far, in order.
    pub fn operations(&self) -> Vec<&'static str> {
        self.sandbox.calls().iter().map(|call| call.operation.as_str()).collect()
    }
}

/// The service, running in this process.
pub struct Service {
    pub refersion: Refersion,
    pub folder: TempDir,
    pub http: reqwest::Client,
    pub addresses: Addresses,
    stop: oneshot::Sender<()>,
    stopped: JoinHandle<()>,
}

impl Service {
    /// Starts with the defaults, but for `settings` (in the environment's spelling).
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        Self::on(Refersion::start().await, settings).await
    }

    /// Starts against `refersion`, with a store of its own.
    pub async fn on(refersion: Refersion, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::resume(refersion, folder, settings).await
    }

    /// Starts on a store that an earlier service left.
    pub async fn resume(refersion: Refersion, folder: TempDir, settings: &[(&str, &str)]) -> Self {
        Self::configured(refersion, folder, settings, &[]).await
    }

    /// Starts with configuration files beside `settings`, which win.
    pub async fn configured(
        refersion: Refersion,
        folder: TempDir,
        settings: &[(&str, &str)],
        files: &[PathBuf],
    ) -> Self {
        let config = config(&refersion.base_url, folder.path(), settings, files);
        let (bound, announced) = oneshot::channel();
        let (stop, stopping) = oneshot::channel::<()>();
        let announce = move |addresses| {
            // Err: the test has ended.
            let _ = bound.send(addresses);
        };
        let again = config.clone();
        let reloading =
            Reloading { load: Box::new(move || Ok((again.clone(), Vec::new()))), requested: Arc::default() };
        let stopped = tokio::spawn(async move {
            let until = async { drop(stopping.await) };
            app::serve(config, reloading, &Handle::current(), announce, until).await.expect("serves");
        });
        let addresses = within(announced).await.expect("announced");
        Self { refersion, folder, http: http(), addresses, stop, stopped }
    }

    /// Stops as SIGTERM does, and hands back what a later service may go on with.
    pub async fn stop(self) -> (Refersion, TempDir) {
        self.stop.send(()).expect("running");
        within(self.stopped).await.expect("stops in order");
        (self.refersion, self.folder)
    }

    /// The URL of a path on the public listener.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.server)
    }

    /// Posts `body` to `/segment` with the account's key.
    pub async fn send(&self, body: &Value) -> Answer {
        self.send_raw(body.to_string()).await
    }

    /// Posts bytes to `/segment` with the account's key.
    pub async fn send_raw(&self, body: impl Into<reqwest::Body>) -> Answer {
        let request =
            self.http.post(self.url("/segment")).header("Authorization", basic(API_KEY)).timeout(TEST_TIMEOUT);
        Answer::to(request.body(body)).await
    }

    /// What `/readyz` says.
    pub async fn ready(&self) -> Answer {
        Answer::to(self.http.get(self.url("/readyz"))).await
    }

    /// Waits until nothing waits to be delivered.
    pub async fn until_drained(&self) {
        within(poll_until(|| self.ready(), |ready| ready.json()["pending"] == 0)).await;
    }
}

/// The settings of a test: everything local, nothing shared, waits short.
fn config(base_url: &str, folder: &Path, settings: &[(&str, &str)], files: &[PathBuf]) -> Config {
    let store = format!("sqlite://{}/store.db", folder.display());
    let own = [
        ("REFERSION_API_KEY", API_KEY),
        ("REFERSION_BASE_URL", base_url),
        ("REFERSION_TIMEOUT", "2s"),
        ("SERVER_LISTEN", "127.0.0.1:0"),
        ("OPS_LISTEN", "127.0.0.1:0"),
        ("OPS_TOKEN", OPS_TOKEN),
        ("STORE_URL", &store),
        ("DELIVERY_RETRY_MIN", "1ms"),
        ("DELIVERY_RETRY_MAX", "20ms"),
        ("DELIVERY_LEARN", "off"), // tests count calls
    ];
    let both = own.iter().chain(settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    // A later pair of the same name wins, as in an environment.
    let environment: std::collections::BTreeMap<String, String> = both.collect();
    leaks::register_settings(environment.iter().map(|(name, value)| (&**name, &**value)));
    Config::load(files, environment.into_iter(), Mode::Live).expect("a configuration").0
}
