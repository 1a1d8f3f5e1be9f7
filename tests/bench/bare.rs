//! The baselines: the same crates doing the least of the job.
//!
//! (a) an axum handler in a process of its own that parses the same JSON and answers 202; (b) a loop that appends the same
//! bytes to a file and syncs once for 64 of them; and a reqwest loop that makes the same calls with the same concurrency.

use super::event;
use super::load::{Measured, Target, closed};
use super::process::Process;
use super::refersion::{Refersion, runtime};
use super::requests::Kind;
use super::service::folder;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// The argument that makes this program the process of (a).
pub const AXUM: &str = "bare-axum";

/// (a), running.
pub struct Axum {
    process: Process,
    address: SocketAddr,
}

/// How many connections send to (a) where it is what others are compared with.
const CONNECTIONS: usize = 64;

impl Axum {
    pub fn start() -> Self {
        let this = std::env::current_exe().expect("a path");
        let mut process = Process::start(Command::new(this).arg(AXUM));
        let address = process.addresses(1)[0];
        Self { process, address }
    }

    /// Where load for it goes.
    pub fn target(&self, kind: Kind) -> Target {
        Target { address: self.address, clock: self.process.clock(), kind, status: 202 }
    }

    /// What others are compared with: single events, as many as it takes.
    pub fn singles(&self, length: Duration) -> Measured {
        closed(self.target(Kind::new(1)), CONNECTIONS, length)
    }
}

/// The body of (a)'s process: serves until killed.
pub fn serve_axum() {
    async fn parse(Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
        let kind = if body.is_array() { "events" } else { "event" };
        (StatusCode::ACCEPTED, Json(json!({"status": "accepted", "message": format!("{kind} parsed")})))
    }
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        writeln!(std::io::stderr(), "http://{address}").expect("somebody reads");
        let router = Router::new().route("/segment", post(parse)).layer(DefaultBodyLimit::disable());
        axum::serve(listener, router).await.expect("serves");
    });
}

/// (b): events per second.
pub fn append(length: Duration) -> f64 {
    let folder = folder();
    let mut file = std::fs::File::create(folder.path().join("appended")).expect("a file");
    let (begun, mut events, mut body) = (Instant::now(), 0_u64, Vec::new());
    while begun.elapsed() < length {
        body.clear();
        let first = event::fresh(64);
        (first..first + 64).for_each(|message| event::identify(&mut body, message, message, 0));
        file.write_all(&body).expect("writes");
        file.sync_data().expect("syncs");
        events += 64;
    }
    events as f64 / begun.elapsed().as_secs_f64()
}

/// Creates `count` affiliates with `concurrency` calls at once; calls per second.
pub fn calls(refersion: &Refersion, count: u64, concurrency: usize) -> f64 {
    // Err: it was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url: Arc<str> = format!("{}/affiliate/new", refersion.base_url).into();
    let begun = Instant::now();
    runtime().block_on(async {
        let next = Arc::new(AtomicU64::new(event::fresh(count)));
        let end = next.load(Ordering::Relaxed) + count;
        let mut loops = tokio::task::JoinSet::new();
        for _ in 0..concurrency {
            let (client, url, next) = (client.clone(), Arc::clone(&url), Arc::clone(&next));
            loops.spawn(async move {
                loop {
                    let user = next.fetch_add(1, Ordering::Relaxed);
                    if user >= end {
                        return;
                    }
                    let call = client.post(&*url).header("Content-Type", "application/json").body(new_affiliate(user));
                    let call =
                        call.header("Refersion-Public-Key", "pub_bench").header("Refersion-Secret-Key", "sec_bench");
                    let answer = call.send().await.expect("an answer");
                    assert_eq!(answer.status(), 200);
                    answer.bytes().await.expect("a body");
                }
            });
        }
        while let Some(ended) = loops.join_next().await {
            ended.expect("every call succeeds");
        }
    });
    count as f64 / begun.elapsed().as_secs_f64()
}

/// The same body as the service makes of an event.
fn new_affiliate(user: u64) -> String {
    json!({
        "email": format!("u{user:012}@example.com"), "first_name": "Peter", "last_name": "Gibbons",
        "phone": "+1 512 555 0142", "company": "Initech 100000", "address1": "4120 Freidrich Lane", "city": "Austin",
        "state": "TX", "zip": "78744", "country": "US", "password": "Abc-12345-xyz", "status": "PENDING",
        "send_welcome": "FALSE", "unique_merchant_id": format!("user{user:012}"),
    })
    .to_string()
}
