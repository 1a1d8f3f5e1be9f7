//! Common parts of the integration tests: the service in this process or as a process of its own, each with a simulated Refersion and a
//! store of its own, on ports that the system picks.
//!
//! No test relies on a fixed sleep: it waits for what it asserts, under a deadline that is reached only if something is broken.
//! Where there is no notification to wait for, [`poll_until`] polls; nothing else does.

pub mod affiliate_updates;
pub mod leaks;
pub mod pgbouncer;
pub mod postgres;
pub mod postgres_proxy;
pub mod process;
pub mod service;
pub mod skipped;
pub mod terminal;
pub mod wall_clock;

use base64::Engine as _;
use serde_json::Value;
pub use skipped::say_skipped;
use std::time::Duration;

/// A generous deadline: reached only when something is broken.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long [`poll_until`] waits before it asks again: long beside an answer of `/readyz`, short beside a test.
const POLL_EVERY: Duration = Duration::from_millis(5);
/// The key of every test account.
pub const API_KEY: &str = "pub_test.sec_test";
/// The token of operators in every test.
pub const OPS_TOKEN: &str = "operators-token-of-tests";

/// Waits for `future` under the deadline.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TEST_TIMEOUT, future).await.expect("in time")
}

/// Calls `ask`, with a pause between, until its answer `holds`; returns that answer. The caller sets the deadline.
pub async fn poll_until<T, F>(mut ask: impl FnMut() -> F, holds: impl Fn(&T) -> bool) -> T
where
    F: Future<Output = T>,
{
    loop {
        let answer = ask().await;
        if holds(&answer) {
            return answer;
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// An HTTP client without a proxy and without redirects.
pub fn http() -> reqwest::Client {
    client().build().expect("a client")
}

/// The same with settings of one's own.
pub fn client() -> reqwest::ClientBuilder {
    // Err: another test of this process was first.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().timeout(TEST_TIMEOUT).redirect(reqwest::redirect::Policy::none())
}

/// The `Authorization` header of the test account.
pub fn basic(key: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{key}:")))
}

/// An answer of the service.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// Sends `request` and reads the whole answer.
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        let response = within(request.send()).await.expect("an answer");
        within(Self::read(response)).await.expect("a body")
    }

    /// Reads an answer; none if the connection broke. The text is checked for leaks.
    pub async fn read(response: reqwest::Response) -> Option<Self> {
        let answer = Self::read_data(response).await?;
        leaks::check(&answer.text);
        Some(answer)
    }

    /// Sends `request`, whose answer is to show an event or an affiliate.
    pub async fn to_data(request: reqwest::RequestBuilder) -> Self {
        let response = within(request.send()).await.expect("an answer");
        within(Self::read_data(response)).await.expect("a body")
    }

    async fn read_data(response: reqwest::Response) -> Option<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(Self { status, headers, text: response.text().await.ok()? })
    }

    /// The body, which is always JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The code and the word: `200 delivered`.
    pub fn brief(&self) -> String {
        format!("{} {}", self.status, self.json()["status"].as_str().unwrap_or("?"))
    }

    /// What the customer reads.
    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// An identify of `user` that can create an affiliate; `more` goes into its traits.
pub fn identify(message_id: &str, user: &str, more: &Value) -> Value {
    let mut traits = serde_json::json!({"name": format!("User {user}"), "email": format!("{user}@example.com")});
    for (key, value) in more.as_object().into_iter().flatten() {
        traits[key] = value.clone();
    }
    serde_json::json!({"type": "identify", "messageId": message_id, "userId": user, "traits": traits})
}
