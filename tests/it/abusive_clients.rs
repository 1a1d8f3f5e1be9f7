//! Slow, numerous and malicious clients: each harms only itself, and the others are served.
//!
//! Tests of timeouts use a listener with short timeouts in place of the real one.

use crate::support::process::Process;
use crate::support::service::{Refersion, Service};
use crate::support::{API_KEY, basic, identify, within};
use axum::Router;
use axum::routing::get;
use refersion_destination::http::{ListenerLimits, listen};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A listener on its own, until it is stopped. `/` answers at once; `/later` when a test says so.
struct Listening {
    address: SocketAddr,
    later: Arc<Notify>,
    stop: oneshot::Sender<()>,
    stopped: JoinHandle<()>,
}

async fn listening(limits: ListenerLimits) -> Listening {
    let later = Arc::new(Notify::new());
    let stop = Arc::clone(&later);
    let wait = move || {
        let stop = Arc::clone(&stop);
        async move {
            stop.notified().await;
            "at last"
        }
    };
    let router = Router::new().route("/", get(|| async { "here" })).route("/later", get(wait));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stop, until) = oneshot::channel::<()>();
    let stopped = tokio::spawn(listen(listener, move |_| router.clone(), limits, async { drop(until.await) }));
    Listening { address, later, stop, stopped }
}

async fn connect(address: SocketAddr, said: &str) -> TcpStream {
    let mut stream = within(TcpStream::connect(address)).await.expect("connects");
    within(stream.write_all(said.as_bytes())).await.expect("writes");
    stream
}

/// Reads until `end` or the end of the connection.
async fn read(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) || end.is_empty() {
        let mut byte = [0];
        match within(stream.read(&mut byte)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => seen.push(byte[0]),
        }
    }
    String::from_utf8(seen).expect("text")
}

#[tokio::test]
async fn a_connection_whose_head_does_not_arrive_is_closed() {
    let limits = ListenerLimits { header_timeout: Duration::from_millis(200), ..ListenerLimits::default() };
    let begun = Instant::now();
    let listening = listening(limits).await;
    let mut slow = Vec::new();
    for said in ["", "G", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", GET] {
        slow.push((connect(listening.address, said).await, said));
    }
    let mut dripping = connect(listening.address, "GET / HTTP/1.1\r\nX-Slow: ").await;
    let drips = tokio::spawn(async move {
        // A byte now and then: each arrives within any timeout, all together do not.
        let mut now_and_then = tokio::time::interval(Duration::from_millis(20));
        while dripping.write_all(b"x").await.is_ok() {
            now_and_then.tick().await;
        }
    });
    assert!(read(&mut connect(listening.address, GET).await, "here").await.starts_with("HTTP/1.1 200 "));
    for (stream, said) in &mut slow {
        let heard = read(stream, "").await;
        assert_eq!(heard.ends_with("here"), *said == GET, "closed, whatever was sent: {said:?}");
    }
    within(drips).await.expect("closed");
    assert!(begun.elapsed() < Duration::from_secs(15), "after the listener's own timeout, and not hyper's 30 s");
}

const LATER: &str = "GET /later HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn beyond_the_limit_of_connections_the_oldest_one_without_a_request_is_closed_for_the_next_one() {
    for idle_because_of in ["", "G", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", GET] {
        let listening = listening(ListenerLimits { max_connections: 2, ..ListenerLimits::default() }).await;
        let mut busy = connect(listening.address, LATER).await;
        let mut idle = connect(listening.address, idle_because_of).await;
        if idle_because_of == GET {
            read(&mut idle, "here").await;
        }
        let mut next = connect(listening.address, GET).await;
        assert!(read(&mut next, "here").await.starts_with("HTTP/1.1 200 "), "{idle_because_of:?}");
        assert_eq!(read(&mut idle, "").await, "", "{idle_because_of:?} is closed");
        listening.later.notify_one();
        assert!(read(&mut busy, "at last").await.starts_with("HTTP/1.1 200 "), "a request in flight is answered");
    }
}

#[tokio::test]
async fn further_connections_wait_while_all_have_a_request_and_each_is_served() {
    let listening = listening(ListenerLimits { max_connections: 2, ..ListenerLimits::default() }).await;
    let mut first = connect(listening.address, LATER).await;
    let _second = connect(listening.address, LATER).await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(connect(listening.address, GET).await);
    }
    // That nothing comes can only be seen by waiting for a while.
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting[0].readable()).await.is_err());
    listening.later.notify_one();
    assert!(read(&mut first, "at last").await.starts_with("HTTP/1.1 200 "));
    for waiting in &mut waiting {
        assert!(read(waiting, "here").await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn requests_in_flight_are_answered_and_idle_connections_are_closed_at_a_stop() {
    let listening = listening(ListenerLimits::default()).await;
    let mut fresh = connect(listening.address, "").await;
    let mut half = connect(listening.address, "GET / HTTP/1.1\r\nX-Half: ").await;
    let mut idle = connect(listening.address, GET).await;
    read(&mut idle, "here").await;
    let mut waiting = connect(listening.address, LATER).await;
    // Accepted in this order: who is served now was accepted after those.
    read(&mut connect(listening.address, GET).await, "here").await;
    listening.stop.send(()).expect("serves");
    for unused in [&mut fresh, &mut half, &mut idle] {
        assert_eq!(read(unused, "").await, "");
    }
    listening.later.notify_one();
    assert!(read(&mut waiting, "").await.ends_with("at last"));
    within(listening.stopped).await.expect("stops");
    assert!(TcpStream::connect(listening.address).await.is_err(), "the listener is closed");
}

/// `nc -N` and some proxies close their side of the connection once they have sent the request.
#[tokio::test]
async fn a_client_that_closes_its_side_after_the_request_is_answered() {
    let listening = listening(ListenerLimits::default()).await;
    let mut client = connect(listening.address, LATER).await;
    within(client.shutdown()).await.expect("closes its side");
    listening.later.notify_one();
    assert!(read(&mut client, "").await.ends_with("at last"));
}

/// JSON that is fine, and that nobody means well with.
#[tokio::test]
async fn json_that_nests_or_repeats_itself_is_read_as_javascript_reads_it() {
    let service = Service::start(&[]).await;
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(20_000), close.repeat(20_000));
    let event = |more: &str| {
        format!(
            r#"{{"type":"page","type":"identify","userId":"u0","userId":"u1","traits":{{"email":"a@example.com",
            "email":"u1@example.com","name":"Peter Gibbons"{more}}}}}"#
        )
    };
    for (body, expected) in [
        (nested("[", "]"), "400 rejected"),
        (nested(r#"{"a":"#, "}"), "400 rejected"),
        ("[".repeat(100_000), "400 rejected"),
        (event(""), "200 delivered"),
        (event(&format!(r#","deep":{}"#, nested("[", "]"))), "200 delivered"),
        (event(&format!(r#","wide":[{}0]"#, "0,".repeat(50_000))), "200 delivered"),
        (event(&r#","email":"u1@example.com""#.repeat(3_000)), "200 delivered"),
        (event(&format!(r#","{}":1"#, "long".repeat(25_000))), "200 delivered"),
    ] {
        let answer = service.send_raw(body.clone()).await;
        assert_eq!(answer.brief(), expected, "{} to {body:.80}", answer.text);
    }
    let affiliates = service.refersion.sandbox.affiliates();
    assert_eq!(affiliates.len(), 1);
    assert_eq!((affiliates[0].email(), affiliates[0].field("unique_merchant_id")), ("u1@example.com", "u1"));
}

/// The resident memory of a process, in KiB.
fn memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// How many connections this process may hold, of `wanted`; each is one file here and one there.
fn affordable(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let most = line.split_whitespace().nth(3).and_then(|number| number.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let count = wanted.min((most / 4 * 3).saturating_sub(200)); // a fourth of its files the service keeps for other things
    if count < wanted {
        eprintln!("only {count} connections instead of {wanted}: no more files may be open (ulimit -n)");
    }
    count
}

/// A health check that is not answered would have the service restarted.
#[tokio::test]
async fn idle_connections_on_both_listeners_keep_neither_operators_nor_events_out() {
    let refersion = Refersion::start().await;
    for (limit, raised) in [("ulimit -n 96", false), ("ulimit -S -n 96", true)] {
        let folder = tempfile::tempdir().expect("a folder");
        let process = Process::start_under(limit, &refersion.base_url, folder.path(), &[]);
        let mut idle = Vec::new();
        for listener in [&process.server, &process.ops].map(|url| url.trim_start_matches("http://")) {
            let address: SocketAddr = listener.parse().expect("an address");
            for _ in 0..120 {
                idle.push(connect(address, "").await);
            }
        }
        assert_eq!(process.ready().await.brief(), "200 ready", "{limit}");
        let sent = within(process.send(&identify(limit, &raised.to_string(), &Value::Null))).await;
        assert_eq!(sent.expect("answered").brief(), "200 delivered", "{limit}");
        process.terminate();
        let (_, logged) = within(process.ended()).await;
        assert_eq!(logged.contains("all connections of a listener are taken"), !raised, "{logged}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn thousands_of_open_connections_take_little_memory_and_delay_no_other_client() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(&refersion.base_url, folder.path(), &[]);
    let address: SocketAddr = process.server.trim_start_matches("http://").parse().expect("an address");
    let before = memory(&process);
    let key = basic(API_KEY);
    let head = format!("POST /segment HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n");
    let body = format!("{head}Content-Length: 100000\r\n\r\n{}", "x".repeat(50_000));
    let mut held = Vec::new();
    for number in 0..affordable(if super::chaos::is_long() { 10_000 } else { 2_000 }) {
        held.push(match number % 20 {
            0 => connect(address, &format!("{head}X-Half: ")).await,
            1 if number < 1_000 => connect(address, &body).await,
            _ => connect(address, "").await,
        });
    }
    for user in 0..20 {
        let sent = within(process.send(&identify(&format!("m{user}"), &format!("u{user}"), &Value::Null))).await;
        assert_eq!(sent.expect("answered").brief(), "200 delivered");
    }
    assert_eq!(process.ready().await.brief(), "200 ready");
    let grown = memory(&process).saturating_sub(before);
    eprintln!("{} connections held: {grown} KiB more", held.len());
    assert!(grown < 16 * 1024 + 16 * held.len() as u64, "{grown} KiB for {} connections", held.len());
}
