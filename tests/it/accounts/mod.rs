//! Several accounts in one process: how they are configured, how a request selects one, and how they are isolated.

mod config;
mod isolation;
mod selection;
mod unconfigured;

use crate::support::service::{Refersion, Service};
use crate::support::{API_KEY, Answer, basic, identify};
use refersion_destination::sandbox::SandboxSettings;
use serde_json::Value;

const OTHER_KEY: &str = "pub_other.sec_other";
/// A response that waits for the outcome has it, however slow the machine is.
const PATIENT: (&str, &str) = ("SERVER_WAIT", "30s");

/// The service with the accounts `main` and `other`, each with its own simulated Refersion that accepts only its key.
struct Two {
    main: Service,
    other: Refersion,
}

impl Two {
    /// `more` is further TOML for `other`.
    async fn start(settings: &[(&str, &str)], more: &str) -> Self {
        let other = Refersion::of(OTHER_KEY, SandboxSettings::default()).await;
        Self::with(other, settings, more).await
    }

    /// `other` calls `base_url`, which is not the URL of its simulated Refersion.
    async fn at(base_url: &str, settings: &[(&str, &str)], more: &str) -> Self {
        let other = Refersion::of(OTHER_KEY, SandboxSettings::default()).await;
        Self::with(Refersion { base_url: base_url.to_owned(), ..other }, settings, more).await
    }

    async fn with(other: Refersion, settings: &[(&str, &str)], more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("accounts.toml");
        let base_url = &other.base_url;
        let text =
            format!("[[accounts]]\nname = \"other\"\napi_key = \"{OTHER_KEY}\"\nbase_url = \"{base_url}\"\n{more}");
        std::fs::write(&file, text).expect("writes");
        let main = Service::configured(Refersion::start().await, folder, settings, &[file]).await;
        Self { main, other }
    }

    /// Posts `body` with `headers`.
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let request = self.main.http.post(self.main.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::to(request.body(body)).await
    }

    /// Posts `event` with the key of `main`, and waits for its outcome.
    async fn send(&self, event: &Value) -> Answer {
        self.post("/segment", &[("Authorization", &basic(API_KEY))], event.to_string()).await
    }

    /// Posts `event` with the key of `other`, and waits for its outcome.
    async fn send_other(&self, event: &Value) -> Answer {
        self.post("/segment", &[("Authorization", &basic(OTHER_KEY))], event.to_string()).await
    }

    /// Posts one identify for each of `count` users with the key of `other`, without waiting for their outcomes.
    async fn backlog_of_other(&self, count: usize) {
        let events = (0..count).map(|n| identify(&format!("backlog-{n}"), &format!("b{n}"), &Value::Null)).collect();
        assert_eq!(self.send_other(&Value::Array(events)).await.brief(), "202 accepted");
    }

    /// Events of `main` are delivered as if there were no other account: each response states the delivery.
    async fn main_delivers(&self) {
        for n in 0..5 {
            let answer = self.send(&identify(&format!("m{n}"), &format!("u{n}"), &Value::Null)).await;
            assert_eq!(answer.brief(), "200 delivered", "{}", answer.text);
        }
        assert_eq!(self.main.refersion.sandbox.affiliates().len(), 5);
    }

    /// `refersion` in the operators' `/readyz`: of all accounts, of `main`, and of `other`.
    async fn ready(&self) -> [String; 3] {
        let url = format!("http://{}/readyz", self.main.addresses.ops);
        let ready = Answer::to(self.main.http.get(url)).await.json();
        let of = |pointer| ready.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        [of("/refersion"), of("/accounts/main/refersion"), of("/accounts/other/refersion")]
    }
}
