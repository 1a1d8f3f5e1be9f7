//! Limits on the verification of unknown API keys: a concurrency limit, single flight for each key pair, and a negative cache of rejected
//! key pairs.
//!
//! In: the keyed hash of a key pair, and the future that verifies the pair. Out: the result of the future, or an error without running it.
//! Invariants: at most [`MAX_CONCURRENT`] verifications run at once. One pair has at most one verification in flight, and all callers share
//! its result; a verification whose callers are all gone (dropped, or panicked) is not in flight. A pair that Refersion rejected is refused
//! for [`REJECTED_TTL`] without another call. The negative cache holds at most [`MAX_REJECTED`] pairs: while it is full, no unknown pair is
//! verified, so callers without a valid key cannot set the rate of calls to Refersion. Deliberately absent: the API keys themselves; only
//! their hashes are here.
//!
//! No cache crate fits: `moka` and `quick_cache` evict an entry when they are full, and a full cache must refuse here. `moka`'s single
//! flight (`try_get_with`) shares an error with all callers, but it neither limits the number of pending pairs nor takes the time as an
//! argument. With both rules added, it would save about ten lines.

use crate::http::{AccountEndpoint, AdmissionError};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore};

/// The most verifications that run at once.
const MAX_CONCURRENT: usize = 4;
/// The most pairs with a verification in flight, including those that wait for a permit.
const MAX_PENDING: usize = 64;
/// How long a rejected pair is refused without another verification.
const REJECTED_TTL: Duration = Duration::from_secs(60);
/// The most rejected pairs in the negative cache.
const MAX_REJECTED: usize = 1_000;

/// The keyed hash of a key pair.
pub(super) type PairHash = [u8; 16];
/// The endpoint of an API key's account, or why the key is not admitted.
pub(super) type Admission = Result<Arc<AccountEndpoint>, AdmissionError>;

/// Runs verifications within the limits of this module.
pub(super) struct ApiKeyVerifier<T> {
    permits: Semaphore,
    pairs: Mutex<Pairs<T>>,
}

/// The pairs that are being verified, and the pairs that were rejected.
struct Pairs<T> {
    /// Only the callers keep a verification alive.
    in_flight: HashMap<PairHash, Weak<OnceCell<Result<T, AdmissionError>>>>,
    rejected: HashMap<PairHash, Instant>,
}

/// A verification, and the result that all its callers get.
type Flight<T> = Arc<OnceCell<Result<T, AdmissionError>>>;

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self { in_flight: HashMap::new(), rejected: HashMap::new() }
    }
}

impl<T: Clone> ApiKeyVerifier<T> {
    pub(super) fn new() -> Self {
        Self { permits: Semaphore::new(MAX_CONCURRENT), pairs: Mutex::default() }
    }

    /// Runs `verify` for `pair`, or waits for the `verify` of an earlier call that is still in flight, and returns its result. Returns an
    /// error without running either if the pair was rejected less than [`REJECTED_TTL`] ago, or if too many pairs are pending or rejected.
    /// `verify` itself waits for a permit ([`Self::with_permit`]).
    pub(super) async fn admit_once(
        &self,
        pair: PairHash,
        verify: impl Future<Output = Result<T, AdmissionError>>,
    ) -> Result<T, AdmissionError> {
        let flight = self.pairs.lock().begin(pair, Instant::now())?;
        let admission = flight.get_or_init(|| verify).await.clone();
        self.pairs.lock().finish(pair, &flight, &admission, Instant::now());
        admission
    }

    /// Runs `verification` when fewer than [`MAX_CONCURRENT`] others run.
    pub(super) async fn with_permit<V>(&self, verification: impl Future<Output = V>) -> V {
        // Err: the semaphore is never closed.
        let _permit = self.permits.acquire().await;
        verification.await
    }
}

impl<T> Pairs<T> {
    /// The verification of `pair` in flight, or a new one. An error if the pair was rejected less than [`REJECTED_TTL`] ago or no new
    /// verification may begin.
    fn begin(&mut self, pair: PairHash, now: Instant) -> Result<Flight<T>, AdmissionError> {
        if let Some(flight) = self.in_flight.get(&pair).and_then(Weak::upgrade) {
            return Ok(flight);
        }
        self.in_flight.retain(|_, flight| flight.strong_count() > 0);
        self.rejected.retain(|_, at| now.duration_since(*at) < REJECTED_TTL);
        if self.rejected.contains_key(&pair) {
            return Err(AdmissionError::KeyRejected);
        }
        if self.in_flight.len() >= MAX_PENDING || self.rejected.len() + self.in_flight.len() >= MAX_REJECTED {
            return Err(AdmissionError::KeyUnverified);
        }
        let flight = Flight::default();
        self.in_flight.insert(pair, Arc::downgrade(&flight));
        Ok(flight)
    }

    /// The verification of `pair` has ended with `admission`. Each of its callers reports this; only the first report counts.
    fn finish(&mut self, pair: PairHash, flight: &Flight<T>, admission: &Result<T, AdmissionError>, now: Instant) {
        if self.in_flight.get(&pair).is_some_and(|current| current.as_ptr() == Arc::as_ptr(flight)) {
            self.in_flight.remove(&pair);
            if matches!(admission, Err(AdmissionError::KeyRejected)) {
                self.rejected.insert(pair, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    fn pair(n: usize) -> PairHash {
        std::array::from_fn(|i| n.to_be_bytes()[i % 8])
    }

    fn reject(pairs: &mut Pairs<()>, n: usize, now: Instant) {
        let flight = pairs.begin(pair(n), now).expect("there is room");
        pairs.finish(pair(n), &flight, &Err(AdmissionError::KeyRejected), now);
    }

    #[test]
    fn a_rejected_pair_is_refused_for_a_minute_without_a_call() {
        let (mut pairs, now) = (Pairs::<()>::default(), Instant::now());
        reject(&mut pairs, 1, now);
        let error = |pairs: &mut Pairs<()>, n, seconds| pairs.begin(pair(n), now + Duration::from_secs(seconds)).err();
        assert_eq!(error(&mut pairs, 1, 59), Some(AdmissionError::KeyRejected));
        assert_eq!(error(&mut pairs, 2, 59), None);
        assert_eq!(error(&mut pairs, 1, 60), None);
    }

    #[test]
    fn a_pair_that_could_not_be_verified_is_verified_again_at_once() {
        let (mut pairs, now) = (Pairs::<()>::default(), Instant::now());
        let flight = pairs.begin(pair(1), now).expect("there is room");
        pairs.finish(pair(1), &flight, &Err(AdmissionError::KeyUnverified), now);
        assert!(pairs.begin(pair(1), now).is_ok());
    }

    #[test]
    fn a_full_negative_cache_refuses_new_pairs_until_entries_expire() {
        let (mut pairs, now) = (Pairs::<()>::default(), Instant::now());
        (0..MAX_REJECTED).for_each(|n| reject(&mut pairs, n, now));
        assert_eq!(pairs.begin(pair(MAX_REJECTED), now).err(), Some(AdmissionError::KeyUnverified));
        assert_eq!(pairs.rejected.len(), MAX_REJECTED);
        let later = now + REJECTED_TTL;
        let pending = (0..MAX_PENDING).map(|n| pairs.begin(pair(n), later).expect("there is room again"));
        let _pending: Vec<_> = pending.collect();
        assert_eq!(pairs.begin(pair(MAX_PENDING), later).err(), Some(AdmissionError::KeyUnverified));
        assert!(pairs.begin(pair(0), later).is_ok(), "it joins the one in flight");
        assert!(pairs.rejected.is_empty());
    }

    #[test]
    fn a_verification_whose_callers_are_gone_is_not_in_flight() {
        let verifier = ApiKeyVerifier::<()>::new();
        for n in 0..MAX_PENDING {
            assert!(verifier.admit_once(pair(n), std::future::pending()).now_or_never().is_none());
        }
        let next = verifier.admit_once(pair(MAX_PENDING), std::future::ready(Ok(())));
        assert_eq!(next.now_or_never(), Some(Ok(())), "none of the others counts");
    }

    #[tokio::test]
    async fn one_verification_of_a_pair_is_in_flight_and_few_of_all_pairs() {
        let (verifier, calls, response) =
            (ApiKeyVerifier::<Arc<AccountEndpoint>>::new(), AtomicUsize::new(0), Notify::new());
        let verify = || {
            verifier.with_permit(async {
                calls.fetch_add(1, Ordering::Relaxed);
                response.notified().await;
                Err(AdmissionError::KeyUnverified)
            })
        };
        let all = async {
            tokio::join!(
                verifier.admit_once(pair(1), verify()),
                verifier.admit_once(pair(1), verify()),
                verifier.admit_once(pair(2), verify()),
                verifier.admit_once(pair(3), verify()),
                verifier.admit_once(pair(4), verify()),
                verifier.admit_once(pair(5), verify()),
                async {
                    assert_eq!(calls.load(Ordering::Relaxed), MAX_CONCURRENT, "all others were polled before");
                    response.notify_waiters();
                    tokio::task::yield_now().await;
                    response.notify_one();
                }
            )
        };
        let (one, same, ..) = tokio::time::timeout(REJECTED_TTL, all).await.expect("every verification ended");
        assert!(matches!((one, same), (Err(AdmissionError::KeyUnverified), Err(AdmissionError::KeyUnverified))));
        assert_eq!(calls.load(Ordering::Relaxed), 5, "one for each pair");
        assert!(verifier.pairs.lock().in_flight.is_empty());
    }
}
