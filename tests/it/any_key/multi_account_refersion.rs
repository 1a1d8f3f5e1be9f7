//! A simulated Refersion with many accounts under one URL: each has its own key, affiliates, calls and faults.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use refersion_destination::sandbox::Sandbox;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// All accounts. Clones share them.
#[derive(Clone)]
pub struct MultiAccountRefersion {
    pub base_url: String,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Public half → secret half and the simulated account.
    accounts: Mutex<BTreeMap<String, (String, Sandbox)>>,
    /// Keys seen in `/affiliate/list`.
    asked: Mutex<Vec<String>>,
    /// The status of every response, if not 0.
    down: AtomicU16,
    in_flight: AtomicUsize,
    max_in_flight: AtomicUsize,
}

impl MultiAccountRefersion {
    /// Serves until the test ends, first without any account.
    pub async fn start() -> Self {
        let inner = Arc::new(Inner::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { base_url, inner }
    }

    /// The account of `key`. From now on only this secret half is accepted for it.
    pub fn accept(&self, key: &str) -> Sandbox {
        let (public, secret) = key.split_once('.').expect("a pair");
        let mut accounts = self.inner.accounts.lock().expect("sound");
        let sandbox = || Sandbox::new(<_>::default());
        let (kept, sandbox) = accounts.entry(public.to_owned()).or_insert_with(|| (String::new(), sandbox()));
        secret.clone_into(kept);
        sandbox.clone()
    }

    /// From now on every response has this status and no body; 0 ends this.
    pub fn answer_all(&self, status: u16) {
        self.inner.down.store(status, Ordering::Relaxed);
    }

    /// How often this key was verified.
    pub fn verifications(&self, key: &str) -> usize {
        self.inner.asked.lock().expect("sound").iter().filter(|asked| *asked == key).count()
    }

    /// The most calls that were in flight at a time.
    pub fn max_in_flight(&self) -> usize {
        self.inner.max_in_flight.load(Ordering::Relaxed)
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let now = inner.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
    inner.max_in_flight.fetch_max(now, Ordering::Relaxed);
    let response = answer_one(&inner, request).await;
    inner.in_flight.fetch_sub(1, Ordering::Relaxed);
    response
}

async fn answer_one(inner: &Inner, request: Request) -> Response {
    let (public, secret) = (half(&request, "Refersion-Public-Key"), half(&request, "Refersion-Secret-Key"));
    if request.uri().path().ends_with("/list") {
        inner.asked.lock().expect("sound").push(format!("{public}.{secret}"));
    }
    let down = inner.down.load(Ordering::Relaxed);
    if down != 0 {
        return StatusCode::from_u16(down).expect("a status").into_response();
    }
    let account = inner.accounts.lock().expect("sound").get(&public).cloned();
    match account {
        Some((kept, sandbox)) if kept == secret => {
            let response = TowerToHyperService::new(sandbox.router()).call(request).await.expect("answers");
            response.map(Body::new)
        }
        _ => {
            let body = r#"{"error": "Invalid API credentials (error 2)."}"#;
            (StatusCode::UNAUTHORIZED, [("content-type", "application/json")], body).into_response()
        }
    }
}

/// One half of the key of a call.
fn half(request: &Request, name: &str) -> String {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
