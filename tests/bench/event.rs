//! The events that are sent: identifies of about a kilobyte, as an SDK's event looks when Segment forwards it, and the
//! credentials that go with them.
//!
//! Every field that differs has a fixed width, so all events are equally long. Message numbers are never used twice in a
//! run; an event of a new user has the message's number as the user's.

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// The account that is measured.
pub const API_KEY: &str = "pub_bench.sec_bench";
/// The secret of its webhook.
pub const SECRET: &str = "a-shared-secret";

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The first of `count` message numbers that nobody has used.
pub fn fresh(count: u64) -> u64 {
    NEXT.fetch_add(count, Ordering::Relaxed)
}

/// Appends an identify. Of one user, `revision` is what changes.
pub fn identify(out: &mut Vec<u8>, message: u64, user: u64, revision: u64) {
    write!(
        out,
        concat!(
            r#"{{"anonymousId":"f1b9cf32-6d6e-4f5b-8c3a-{message:012}","channel":"browser","context":{{"app":{{"name":"storefront","#,
            r#""version":"4.18.2"}},"campaign":{{"medium":"email","name":"autumn","source":"newsletter"}},"ip":"203.0.113.24","#,
            r#""library":{{"name":"analytics.js","version":"next-1.70.0"}},"locale":"en-US","page":{{"path":"/account/profile","#,
            r#""referrer":"https://www.example.com/account","title":"Your profile","url":"https://www.example.com/account/profile"}},"#,
            r#""timezone":"America/Chicago","userAgent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 "#,
            r#"(KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36"}},"integrations":{{}},"messageId":"ajs-next-{message:020}","#,
            r#""originalTimestamp":"2026-03-02T09:15:27.318Z","receivedAt":"2026-03-02T09:15:28.004Z","#,
            r#""sentAt":"2026-03-02T09:15:27.322Z","timestamp":"2026-03-02T09:15:28.000Z","traits":{{"email":"u{user:012}@example.com","#,
            r#""firstName":"Peter","lastName":"Gibbons","phone":"+1 512 555 0142","company":{{"name":"Initech {revision:06}"}},"#,
            r#""address":{{"street":"4120 Freidrich Lane","city":"Austin","state":"Texas","postalCode":"78744","country":"USA"}},"#,
            r#""plan":"enterprise","logins":{revision:06}1}},"type":"identify","userId":"user{user:012}","version":2}}"#
        ),
        message = message,
        user = user,
        revision = 100_000 + revision,
    )
    .expect("memory takes it");
}

/// Appends a delete.
pub fn delete(out: &mut Vec<u8>, message: u64, user: u64) {
    write!(out, r#"{{"type":"delete","messageId":"ajs-next-{message:020}","userId":"user{user:012}"}}"#)
        .expect("memory takes it");
}

/// The value of an `Authorization` header.
pub fn basic(key: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{key}:")))
}

/// The value of an `X-Signature` header.
pub fn signature(content: &[u8]) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).expect("any length");
    hex::encode(mac.chain_update(content).finalize().into_bytes())
}

/// How many bytes an event has.
pub fn length() -> usize {
    let mut body = Vec::new();
    identify(&mut body, 1, 1, 0);
    body.len()
}
