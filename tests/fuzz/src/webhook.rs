//! Properties of the webhook, from a request to its response, with all its layers (gzip and signatures among them) and a store that
//! records the bodies it is given.
//!
//! Responses have the listed codes only, never 500; nothing of an unauthenticated request is stored; stored bodies are exact
//! slices of the request, in order; a body has the same response with and without gzip; no response repeats a value.

use super::append_only_store::{Append, AppendOnlyStore};
use super::body::rules;
use super::json::{MARK, event};
use super::source::Source;
use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use hmac::{Hmac, KeyInit, Mac};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use refersion_destination::account_signals::AccountSignals;
use refersion_destination::clock::Clock;
use refersion_destination::domain::{AccountName, ApiKey, Seq};
use refersion_destination::http::{AccountEndpoint, AccountRegistry, public_router};
use refersion_destination::segment::{Authenticator, split_envelope};
use refersion_destination::store::{Appended, NewEvent, Store, StoreError};
use refersion_destination::telemetry::Metrics;
use serde_json::Value;
use sha1::Sha1;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const KEY: &str = "pub_zq9.sec_zq9";
const SECRET: &str = "abc123";
const CODES: [u16; 9] = [200, 202, 400, 401, 404, 405, 413, 429, 501];

/// Checks the properties on an input decoded from `data`.
pub fn check(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(request(&mut Source::new(data)));
}

async fn request(source: &mut Source<'_>) {
    let webhook = Webhook::new(source);
    let (authorization, signature, packing) = (source.below(4), source.below(6), source.below(6));
    let (flip, by) = (source.below(256), source.byte());
    let content = content(source);
    let mut sent = if packing < 3 { content.clone() } else { gzip(&content) };
    if packing == 5 {
        let place = flip % sent.len();
        sent[place] ^= by;
    }
    let array = content.trim_ascii_start().starts_with(b"[");
    let element = split_envelope(&content).ok().filter(|_| array).map(|events| events.sources()[0].as_bytes().to_vec());
    let signed = match signature {
        0 | 1 => None,
        2 => Some(sign(&content)),
        3 => Some(sign(&sent)),
        4 => Some(sign(element.as_deref().unwrap_or(&content))),
        _ => Some(sign(b"zq9")),
    };
    let headers = [
        ("authorization", ["", &basic(KEY), &basic("pub_zq9.sec_zq8"), "Bearer zq9"][authorization].to_owned()),
        ("x-signature", signed.unwrap_or_default()),
        ("content-encoding", if packing < 3 { String::new() } else { "gzip".to_owned() }),
    ];
    let answer = webhook.post("/segment", &headers, &sent).await;
    let decompressed = if packing < 3 { Some(content.clone()) } else { gunzip(&sent) };
    answer.check(decompressed.as_deref());

    let authentic = authorization == 1 || signature > 1;
    if !authentic || signature == 5 {
        assert_eq!((answer.code, answer.recorded.len()), (401, 0), "an unauthenticated request was accepted");
    } else if packing < 5 {
        assert_ne!(answer.code, 401, "an authenticated request was rejected: {}", answer.text);
        let plain = webhook.post("/v1/batch/", &[("authorization", basic(KEY))], &content).await;
        assert_eq!((answer.code, &answer.text, &answer.recorded), (plain.code, &plain.text, &plain.recorded));
    }
}

/// Any bytes, or events in one of their envelopes.
fn content(source: &mut Source<'_>) -> Vec<u8> {
    let packing = source.below(4);
    if packing == 3 {
        return source.rest().to_vec();
    }
    let mut events = Vec::new();
    for _ in 0..=source.below(4) {
        let event = event(source);
        events.push(if source.below(8) == 7 { "5".to_owned() } else { event.respelled(source) });
    }
    let body = match packing {
        0 => events.swap_remove(0),
        1 => format!("[{}]", events.join(",\n")),
        _ => format!(r#"{{"batch":[{}]}}"#, events.join(" , ")),
    };
    body.into_bytes()
}

struct Webhook {
    service: TowerToHyperService<axum::Router>,
    store: Arc<AppendOnlyStore<RecordingStore>>,
}

struct Answered {
    code: u16,
    text: String,
    recorded: Vec<Vec<u8>>,
}

impl Webhook {
    fn new(source: &mut Source<'_>) -> Self {
        let store = Arc::new(AppendOnlyStore::new(RecordingStore::default()));
        let endpoint = AccountEndpoint {
            account: AccountName::main(),
            authenticator: Authenticator::new(ApiKey::parse(KEY).expect("a key"), vec![SECRET.into()]),
            rules: rules(source),
            clock: Clock::start(),
            store: Arc::clone(&store) as Arc<dyn Store>,
            signals: AccountSignals::default(),
            wake_worker: Arc::new(|| ()),
            shutdown: CancellationToken::new(),
            meter: Metrics::default().of(&AccountName::main()),
            max_wait: Duration::ZERO,
            concurrency: 0,
        };
        let registry = AccountRegistry::new(
            Arc::clone(&store) as Arc<dyn Store>,
            Clock::start(),
            Metrics::default(),
            CancellationToken::new(),
            vec![endpoint],
            None,
        );
        Self { service: TowerToHyperService::new(public_router(Arc::new(registry), None)), store }
    }

    async fn post(&self, path: &str, headers: &[(&str, String)], body: &[u8]) -> Answered {
        let mut request = Request::post(path);
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(body.to_vec())).expect("a request");
        let response = self.service.call(request).await.expect("answered");
        let code = response.status().as_u16();
        let text = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let recorded = std::mem::take(&mut *self.store.inner.bodies.lock().unwrap_or_else(PoisonError::into_inner));
        Answered { code, text: String::from_utf8(text.into()).expect("text"), recorded }
    }
}

impl Answered {
    /// Checks an answer to a body of `content` (`None`: it could not be decompressed).
    fn check(&self, content: Option<&[u8]>) {
        assert!(CODES.contains(&self.code), "{} {}", self.code, self.text);
        assert!(!self.text.to_lowercase().contains(MARK), "a response repeats a value: {}", self.text);
        let body: Value = serde_json::from_str(&self.text).expect("JSON");
        assert!(body["status"].is_string() && body["message"].is_string(), "{}", self.text);
        let Some(content) = content else {
            assert!(self.recorded.is_empty() && (400..500).contains(&self.code));
            return;
        };
        let Ok(events) = split_envelope(content) else {
            assert!(self.recorded.is_empty() && [400, 401].contains(&self.code), "{} {}", self.code, self.text);
            return;
        };
        let mut sent = events.sources().into_iter();
        for body in &self.recorded {
            assert!(sent.any(|element| element.as_bytes() == body), "recorded, and not sent, or out of order");
        }
        if let Some(results) = body["results"].as_array() {
            assert_eq!(results.len(), events.sources().len());
            let accepted = results.iter().filter(|result| result["status"] == "accepted").count();
            assert!(accepted <= self.recorded.len(), "accepted, and not recorded");
        } else if self.code == 202 {
            assert_eq!(self.recorded.len(), 1);
        }
    }
}

fn basic(key: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{key}:")))
}

fn sign(content: &[u8]) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    hex::encode(mac.chain_update(content).finalize().into_bytes())
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    GzEncoder::new(content, Compression::fast()).read_to_end(&mut compressed).expect("compressed");
    compressed
}

/// The content, if it is one complete gzip member.
fn gunzip(compressed: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    GzDecoder::new(compressed).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Records the bodies of the events; some of them are repeats, and some are of unknown users.
#[derive(Default)]
struct RecordingStore {
    bodies: Mutex<Vec<Vec<u8>>>,
}

#[async_trait]
impl Append for RecordingStore {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let append = |event: NewEvent| {
            let (no_user, known_users_only) = (event.user_keys.is_empty(), event.known_users_only.is_some());
            assert!(!no_user || known_users_only, "an event without a user");
            bodies.push(event.body);
            match event.id.0[0] % 4 {
                _ if no_user => Appended::UnknownUser,
                0 => Appended::Duplicate,
                1 if known_users_only => Appended::UnknownUser,
                _ => Appended::Accepted { seq: Seq(1), pending: 1 },
            }
        };
        Ok(events.into_iter().map(append).collect())
    }
}
