//! A key that arrives with a request: verified once, stored sealed, and an account of its own from then on.

mod admission;
mod changed_secret;
mod config;
mod crash;
mod isolation;
pub mod multi_account_refersion;
mod operators;
mod restart;
mod secrecy;

use crate::support::service::{Refersion, Service};
use crate::support::{Answer, basic, within};
use multi_account_refersion::MultiAccountRefersion;
use refersion_destination::sandbox::Sandbox;
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Two merchants' keys.
pub const ANN: &str = "pub_ann.sec_ann";
const BOB: &str = "pub_bob.sec_bob";
/// [`ANN`] with another secret.
pub const ANN_2: &str = "pub_ann.sec_ann_2";
/// Three seal keys: two as base64, one as hex.
const SEAL: &str = "c2VhbC1rZXktb25lLW9mLXRoaXJ0eS10d28tYnl0ZXM=";
const OTHER_SEAL: &str = "6f746865722d7365616c2d6b65792d7769746820666f72747920647562626c65";
const THIRD_SEAL: &str = "dGhlLXRoaXJkLXNlYWwta2V5LW9mLTMyLWJ5dGVzLi4=";
/// A response that waits for the outcome has it, however slow the machine is.
const PATIENT: (&str, &str) = ("SERVER_WAIT", "30s");
/// Any key is accepted, and no account is configured.
pub const ANY: [(&str, &str); 3] =
    [("SEGMENT_ACCEPT_ANY_API_KEY", "true"), ("STORE_SEAL_KEY", SEAL), ("REFERSION_API_KEY", "")];

/// A service that accepts any key, and a simulated Refersion with many accounts.
struct Partner {
    service: Service,
    refersions: MultiAccountRefersion,
    /// The number of requests that were sent again.
    again: AtomicUsize,
}

impl Partner {
    async fn start(settings: &[(&str, &str)]) -> Self {
        Self::on(MultiAccountRefersion::start().await, tempfile::tempdir().expect("a folder"), settings).await
    }

    /// Starts on a store that may exist already. `settings` override [`ANY`].
    async fn on(refersions: MultiAccountRefersion, folder: TempDir, settings: &[(&str, &str)]) -> Self {
        let refersion = Refersion { sandbox: Sandbox::new(<_>::default()), base_url: refersions.base_url.clone() };
        let settings = [&[PATIENT], &ANY[..], settings].concat();
        let service = Service::resume(refersion, folder, &settings).await;
        Self { service, refersions, again: AtomicUsize::default() }
    }

    /// Stops as SIGTERM does, and starts again with other settings.
    async fn again(self, settings: &[(&str, &str)]) -> Self {
        let (_, folder) = self.service.stop().await;
        Self::on(self.refersions, folder, settings).await
    }

    /// Posts `body` with `key`, again while the response is a 503, as Segment does. Under load a verification can take too long.
    async fn send(&self, key: &str, body: &Value) -> Answer {
        within(async {
            loop {
                let answer = self.send_once(key, body).await;
                if answer.status != 503 {
                    return answer;
                }
                self.again.fetch_add(1, Ordering::Relaxed);
            }
        })
        .await
    }

    /// How often `key` was verified, without the verifications that took too long.
    fn verifications(&self, key: &str) -> usize {
        self.refersions.verifications(key).saturating_sub(self.again.load(Ordering::Relaxed))
    }

    /// Posts `body` with `key`.
    async fn send_once(&self, key: &str, body: &Value) -> Answer {
        self.post("/segment", &[("Authorization", &basic(key))], body).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let request = self.service.http.post(self.service.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::to(request.body(body.to_string())).await
    }

    /// The body of the operators' `/readyz`.
    async fn ready(&self) -> Value {
        Answer::to(self.service.http.get(format!("http://{}/readyz", self.service.addresses.ops))).await.json()
    }

    /// The names of the accounts with stored keys, and the sealed keys.
    fn kept(&self) -> Vec<(String, Vec<u8>)> {
        kept(self.service.folder.path())
    }
}

fn kept(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let store = rusqlite::Connection::open(folder.join("store.db")).expect("the file opens");
    let mut rows = store.prepare("SELECT account, sealed FROM sealed_keys ORDER BY account").expect("a table");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("rows")
}
