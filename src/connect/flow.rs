//! The state machine of connecting: the step that a browser is at, sealed into two halves that fit only each other. They protect a
//! stateless server against forged (CSRF) and repeated (replay) callbacks.
//!
//! One half is the cookie: the step, a random nonce, the expiry, and the Refersion key if it was entered. The other is the `state`: the
//! step, the nonce and the expiry, in a hidden field of a form or as OAuth's `state` in the URL of Segment's consent page. Both are sealed
//! under `STORE_SEAL_KEY`.
//!
//! ```text
//! GET /connect ──▶ Key ──(key accepted by Refersion)──▶ Consent ──(callback)──▶ Another ──(another source)──▶ Consent …
//! ```
//!
//! Invariants: a `state` is valid only with the cookie of its browser, for its step, and until [`LIFETIME`] has passed. The key is in the
//! cookie only, never in a `state`, so it is in no URL.
//!
//! A callback is single-use without a session on the server: Segment accepts an authorization code once, whichever replica presents it. In
//! addition, the answer to a callback that passed [`Flow::unseal`] replaces the cookie, so that the same `state` no longer fits. The answer
//! to a failed callback leaves the cookie as it is. A client that keeps the old cookie, or sends a callback twice at the same moment,
//! passes [`Flow::unseal`] again within [`LIFETIME`]; then only Segment refuses the code. Deliberately absent: a list of used nonces, which
//! would protect better only if all replicas shared it.

use super::ConnectFailure;
use crate::domain::{ApiKey, SealKey, SealNonce, Timestamp, open_sealed_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How long a step may take.
pub const LIFETIME: Duration = Duration::from_mins(10);

/// The random number that connects the two halves of a flow; each step draws another one.
pub type Nonce = [u8; 16];

const COOKIE: &str = "connect cookie";
const STATE: &str = "connect state";
/// The most sources in a cookie, of which a browser keeps 4 KB. The oldest sources are dropped.
const MAX_SOURCES: usize = 8;

/// A step: the next request of the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExpectedRequest {
    /// The form with the Refersion key.
    Key,
    /// The redirect from Segment's consent page.
    Consent,
    /// The request to connect another source or to try again, with the Refersion key that was entered before.
    Another,
}

/// The state of connecting in one browser.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The request that is expected next.
    pub expected: ExpectedRequest,
    /// The Refersion key, once Refersion has accepted it.
    pub key: Option<ApiKey>,
    /// Segment's name of the app's install on the merchant's workspace, once there is one.
    pub install: Option<String>,
    /// Segment's names of the connected sources, the latest last.
    pub sources: Vec<String>,
    nonce: Nonce,
    expires: Timestamp,
}

/// The two halves of a flow, as texts without blanks and without characters that a URL or a cookie has to escape.
#[derive(Debug)]
pub struct SealedFlow {
    /// For the browser's cookie.
    pub cookie: String,
    /// For a form or a URL.
    pub state: String,
}

/// A flow as it is written into a cookie.
#[derive(Serialize, Deserialize)]
struct CookieContent {
    #[serde(rename = "step")]
    expected: ExpectedRequest,
    nonce: Nonce,
    expires: i64,
    key: Option<String>,
    install: Option<String>,
    sources: Vec<String>,
}

impl Flow {
    /// The flow of a browser that begins.
    pub fn begin(nonce: Nonce, now: Timestamp) -> Self {
        Self {
            expected: ExpectedRequest::Key,
            key: None,
            install: None,
            sources: Vec::new(),
            nonce,
            expires: now.after(LIFETIME),
        }
    }

    /// The flow at its next step, with a new nonce and expiry.
    #[must_use]
    pub fn at(self, expected: ExpectedRequest, nonce: Nonce, now: Timestamp) -> Self {
        Self { expected, nonce, expires: now.after(LIFETIME), ..self }
    }

    /// Notes that a source was connected through `install`.
    pub fn connected(&mut self, install: String, source: String) {
        self.install = Some(install);
        self.sources.retain(|earlier| *earlier != source);
        self.sources.push(source);
        let surplus = self.sources.len().saturating_sub(MAX_SOURCES);
        self.sources.drain(..surplus);
    }

    /// Seals both halves with `key`. The nonces must be random.
    pub fn seal(&self, key: &SealKey, nonces: [SealNonce; 2]) -> SealedFlow {
        let mut written = CookieContent {
            expected: self.expected,
            nonce: self.nonce,
            expires: self.expires.0,
            key: self.key.as_ref().map(|key| key.expose_pair().to_owned()),
            install: self.install.clone(),
            sources: self.sources.clone(),
        };
        // Err: texts and numbers can always be written.
        let cookie = Zeroizing::new(serde_json::to_vec(&written).unwrap_or_default());
        // Overwrites the key in memory.
        drop(written.key.take().map(Zeroizing::new));
        let state = [&[self.expected as u8], &self.nonce[..], &self.expires.0.to_be_bytes()].concat();
        let [for_cookie, for_state] = nonces;
        SealedFlow {
            cookie: URL_SAFE_NO_PAD.encode(key.seal_bytes(COOKIE, &cookie, &for_cookie)),
            state: URL_SAFE_NO_PAD.encode(key.seal_bytes(STATE, &state, &for_state)),
        }
    }

    /// Opens the halves that a browser presents at the step `expected`: its flow, or why it cannot continue.
    pub fn unseal(
        cookie: Option<&str>,
        state: Option<&str>,
        expected: ExpectedRequest,
        seal_keys: &[SealKey],
        now: Timestamp,
    ) -> Result<Self, ConnectFailure> {
        let (step, nonce, expires) =
            state.and_then(|state| unseal_state(state, seal_keys)).ok_or(ConnectFailure::NotOurs)?;
        if step != expected as u8 {
            return Err(ConnectFailure::NotOurs);
        }
        if expires <= now {
            return Err(ConnectFailure::Expired);
        }
        let flow = cookie
            .and_then(|cookie| Self::unseal_cookie(cookie, seal_keys, now))
            .ok_or(ConnectFailure::OtherBrowser)?;
        let same = bool::from(flow.nonce.ct_eq(&nonce)) && flow.expected == expected;
        if same { Ok(flow) } else { Err(ConnectFailure::OtherBrowser) }
    }

    /// The flow in a cookie; none if this service did not make the cookie or it has expired.
    pub fn unseal_cookie(cookie: &str, seal_keys: &[SealKey], now: Timestamp) -> Option<Self> {
        let bytes = open_sealed_bytes(seal_keys, COOKIE, &URL_SAFE_NO_PAD.decode(cookie).ok()?)?;
        let written: CookieContent = serde_json::from_slice(&bytes).ok()?;
        let expires = Timestamp(written.expires);
        (expires > now).then(|| Self {
            expected: written.expected,
            key: written.key.map(Zeroizing::new).and_then(|key| ApiKey::parse(&key).ok()),
            install: written.install,
            sources: written.sources,
            nonce: written.nonce,
            expires,
        })
    }
}

/// The number of the step, the nonce and the expiry of a `state`.
fn unseal_state(state: &str, seal_keys: &[SealKey]) -> Option<(u8, Nonce, Timestamp)> {
    let bytes = open_sealed_bytes(seal_keys, STATE, &URL_SAFE_NO_PAD.decode(state).ok()?)?;
    let (step, rest) = bytes.split_first()?;
    let (nonce, expires) = rest.split_at_checked(size_of::<Nonce>())?;
    Some((*step, nonce.try_into().ok()?, Timestamp(i64::from_be_bytes(expires.try_into().ok()?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn seal_keys() -> [SealKey; 1] {
        [SealKey::new([1; 32])]
    }

    fn flow(nonce: u8, expected: ExpectedRequest) -> Flow {
        let key = ApiKey::parse("pub_a.sec_b").ok();
        let flow = Flow { key, ..Flow::begin([0; 16], NOW) };
        flow.at(expected, [nonce; 16], NOW)
    }

    fn sealed(flow: &Flow) -> SealedFlow {
        flow.seal(&seal_keys()[0], [[2; 24], [3; 24]])
    }

    #[test]
    fn the_two_halves_open_each_other_at_their_step_until_they_expire() {
        let (mine, later) = (flow(7, ExpectedRequest::Consent), NOW.after(LIFETIME));
        let SealedFlow { cookie, state } = sealed(&mine);
        let other = sealed(&flow(8, ExpectedRequest::Consent));
        let form = sealed(&flow(7, ExpectedRequest::Key));
        for (cookie, state, at, expected) in [
            (Some(&cookie), Some(&state), NOW, None),
            (Some(&cookie), None, NOW, Some(ConnectFailure::NotOurs)),
            (Some(&cookie), Some(&"bm90IG91cnM".to_owned()), NOW, Some(ConnectFailure::NotOurs)),
            (Some(&cookie), Some(&cookie), NOW, Some(ConnectFailure::NotOurs)),
            (Some(&cookie), Some(&form.state), NOW, Some(ConnectFailure::NotOurs)),
            (None, Some(&state), NOW, Some(ConnectFailure::OtherBrowser)),
            (Some(&other.cookie), Some(&state), NOW, Some(ConnectFailure::OtherBrowser)),
            (Some(&form.cookie), Some(&state), NOW, Some(ConnectFailure::OtherBrowser)),
            (Some(&state), Some(&state), NOW, Some(ConnectFailure::OtherBrowser)),
            (Some(&cookie), Some(&state), later, Some(ConnectFailure::Expired)),
            (None, Some(&state), later, Some(ConnectFailure::Expired)),
        ] {
            let opened = Flow::unseal(
                cookie.map(String::as_str),
                state.map(String::as_str),
                ExpectedRequest::Consent,
                &seal_keys(),
                at,
            );
            assert_eq!(opened.err(), expected);
        }
    }

    #[test]
    fn an_opened_flow_has_the_key_the_install_and_the_last_sources() {
        let mut mine = flow(7, ExpectedRequest::Another);
        for n in 0..=MAX_SOURCES {
            mine.connected("installs/7".into(), format!("workspaces/w/sources/s{n}"));
        }
        let SealedFlow { cookie, state } = sealed(&mine);
        let opened =
            Flow::unseal(Some(&cookie), Some(&state), ExpectedRequest::Another, &seal_keys(), NOW).expect("opens");
        assert!(opened.key.expect("kept").matches(b"pub_a.sec_b"));
        assert_eq!(opened.install.as_deref(), Some("installs/7"));
        assert_eq!(opened.sources.len(), MAX_SOURCES);
        assert_eq!(opened.sources.last().map(String::as_str), Some("workspaces/w/sources/s8"));
    }

    #[test]
    fn no_half_shows_the_key_and_both_fit_into_a_url_and_a_cookie() {
        let SealedFlow { cookie, state } = sealed(&flow(7, ExpectedRequest::Consent));
        for half in [&cookie, &state] {
            assert!(half.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{half}");
            let bytes = URL_SAFE_NO_PAD.decode(half).expect("base64");
            assert!(!bytes.windows(5).any(|window| window == b"sec_b" || window == b"pub_a"));
        }
        assert!(state.len() < 100 && cookie.len() < 1000, "{} and {}", state.len(), cookie.len());
    }
}
