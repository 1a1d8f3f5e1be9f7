//! The guard of a request, which checks at the last moment before the body is written whether the request may still be sent.
//!
//! In: a condition, and the bytes of a body. Out: a body that fails instead of being written if the condition does not hold any more. A
//! process that was frozen, or waited long for a connection, may continue with a prepared request after another process has become the
//! owner. Invariant: if the guard prevents a request, Refersion gets no body, so the request has no effect. Deliberately absent: the
//! condition itself.

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Whether one request may be sent. Clones guard the same request.
#[derive(Clone)]
pub struct SendGuard {
    may_send: Arc<dyn Fn() -> bool + Send + Sync>,
    prevented: Arc<AtomicBool>,
}

impl SendGuard {
    /// A guard that lets the request be sent while `may_send` returns true.
    pub fn new(may_send: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { may_send: Arc::new(may_send), prevented: Arc::default() }
    }

    /// A guard that lets the request be sent at any time.
    pub fn none() -> Self {
        Self::new(|| true)
    }

    /// Whether the request was not sent because of this guard.
    pub fn has_prevented(&self) -> bool {
        self.prevented.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), NotPermitted> {
        if (self.may_send)() {
            return Ok(());
        }
        self.prevented.store(true, Ordering::Relaxed);
        Err(NotPermitted)
    }
}

impl fmt::Debug for SendGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendGuard").field("prevented", &self.prevented).finish_non_exhaustive()
    }
}

/// The guard did not let a request be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request may not be sent any more")]
pub struct NotPermitted;

/// A body that is written only if its guard permits it.
#[derive(Debug)]
pub struct GuardedBody {
    bytes: Full<Bytes>,
    guard: SendGuard,
}

impl GuardedBody {
    /// A body of these bytes.
    pub fn new(bytes: Vec<u8>, guard: SendGuard) -> Self {
        Self { bytes: Full::new(bytes.into()), guard }
    }
}

impl Body for GuardedBody {
    type Data = Bytes;
    type Error = NotPermitted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if !self.bytes.is_end_stream()
            && let Err(error) = self.guard.check()
        {
            return Poll::Ready(Some(Err(error)));
        }
        Pin::new(&mut self.bytes).poll_frame(context).map_err(|never| match never {})
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_body_is_written_whole_or_not_at_all() {
        let body = GuardedBody::new(b"{}".to_vec(), SendGuard::none());
        assert_eq!(body.size_hint().exact(), Some(2), "its length is known before it is written");
        assert_eq!(body.collect().await.expect("written").to_bytes(), "{}");
        let guard = SendGuard::new(|| false);
        let body = GuardedBody::new(b"{}".to_vec(), guard.clone());
        assert_eq!((body.collect().await.expect_err("prevented"), guard.has_prevented()), (NotPermitted, true));
    }

    #[tokio::test]
    async fn the_guard_is_asked_when_the_body_is_written_and_not_before() {
        let allowed = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&allowed);
        let guard = SendGuard::new(move || asked.load(Ordering::Relaxed));
        let body = GuardedBody::new(b"{}".to_vec(), guard.clone());
        allowed.store(false, Ordering::Relaxed);
        assert!(!guard.has_prevented());
        assert!(body.collect().await.is_err() && guard.has_prevented());
    }
}
