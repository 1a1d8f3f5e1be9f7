//! What it may cost to find out whether Refersion takes a key that nobody here knows: bounds against malice and haste.
//!
//! In go keyed hashes of key pairs and the work that would prove them, out comes what was found. Invariants: so many proofs
//! at a time; of one pair one at a time, whose outcome all who wait for it share; a pair that Refersion refused is not asked
//! about again for a while, and so many refused ones are remembered: once there are more, nothing is asked until some are
//! forgotten, so that strangers cannot make this service call Refersion at their pace. Deliberately absent: keys, of which
//! nothing is kept here.

use crate::http::{AccountEndpoint, AdmissionError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore};

/// How many proofs are under way at once.
const AT_ONCE: usize = 4;
/// How many pairs are being proved or wait for their turn.
const WAITING: usize = 64;
/// How long a refused pair is refused without asking.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How many refused pairs are remembered.
const REFUSED: usize = 1_000;

/// How often at most it is told that a proof failed, so that whoever knocks cannot fill the log.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What stands for a key pair.
pub(super) type Pair = [u8; 16];
/// The door a key opens, or why it opens none.
pub(super) type Admitted = Result<Arc<AccountEndpoint>, AdmissionError>;

/// The proofs under way, and what was refused lately.
pub(super) struct Proofs {
    turns: Semaphore,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    told: Option<Instant>,
    under_way: HashMap<Pair, Arc<OnceCell<Admitted>>>,
    refused: HashMap<Pair, Instant>,
}

impl Proofs {
    pub(super) fn new() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), book: Mutex::default() }
    }

    /// What became of `pair`: refused lately, or what `admit` says, which waits for its turn itself.
    pub(super) async fn of(&self, pair: Pair, admit: impl Future<Output = Admitted>) -> Admitted {
        let case = self.book().open(pair, Instant::now())?;
        let admitted = case.get_or_init(|| admit).await.clone();
        self.book().close(pair, &case, &admitted, Instant::now());
        admitted
    }

    /// Runs `proof` in its turn.
    pub(super) async fn in_turn<T>(&self, proof: impl Future<Output = T>) -> T {
        // Err: the semaphore is never closed.
        let _turn = self.turns.acquire().await;
        proof.await
    }

    /// Whether it is to be told that a proof failed.
    pub(super) fn is_to_be_told(&self) -> bool {
        self.book().is_to_be_told(Instant::now())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// The case of `pair`, to be decided or being decided; an error if it is decided or cannot be.
    fn open(&mut self, pair: Pair, now: Instant) -> Result<Arc<OnceCell<Admitted>>, AdmissionError> {
        if let Some(case) = self.under_way.get(&pair) {
            return Ok(Arc::clone(case));
        }
        self.refused.retain(|_, at| now.duration_since(*at) < REMEMBERED);
        if self.refused.contains_key(&pair) {
            return Err(AdmissionError::KeyRefused);
        }
        if self.under_way.len() >= WAITING || self.refused.len() + self.under_way.len() >= REFUSED {
            return Err(AdmissionError::KeyUnverified);
        }
        Ok(Arc::clone(self.under_way.entry(pair).or_default()))
    }

    fn is_to_be_told(&mut self, now: Instant) -> bool {
        let is = self.told.is_none_or(|told| now.duration_since(told) >= TOLD_EVERY);
        if is {
            self.told = Some(now);
        }
        is
    }

    /// The case of `pair` was decided. Each who waited for it says so; the first one counts.
    fn close(&mut self, pair: Pair, case: &Arc<OnceCell<Admitted>>, admitted: &Admitted, now: Instant) {
        if self.under_way.get(&pair).is_some_and(|open| Arc::ptr_eq(open, case)) {
            self.under_way.remove(&pair);
            if matches!(admitted, Err(AdmissionError::KeyRefused)) {
                self.refused.insert(pair, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    fn pair(n: usize) -> Pair {
        std::array::from_fn(|i| n.to_be_bytes()[i % 8])
    }

    fn refuse(book: &mut Book, n: usize, now: Instant) {
        let case = book.open(pair(n), now).expect("there is room");
        book.close(pair(n), &case, &Err(AdmissionError::KeyRefused), now);
    }

    #[test]
    fn a_refused_pair_is_refused_for_a_minute_without_asking() {
        let (mut book, now) = (Book::default(), Instant::now());
        refuse(&mut book, 1, now);
        let opened = |book: &mut Book, n, seconds| book.open(pair(n), now + Duration::from_secs(seconds)).err();
        assert_eq!(opened(&mut book, 1, 59), Some(AdmissionError::KeyRefused));
        assert_eq!(opened(&mut book, 2, 59), None);
        assert_eq!(opened(&mut book, 1, 60), None);
    }

    #[test]
    fn what_fails_is_told_at_most_once_in_ten_seconds() {
        let (mut book, now) = (Book::default(), Instant::now());
        let told = [0, 0, 9, 10, 19, 20].map(|seconds| book.is_to_be_told(now + Duration::from_secs(seconds)));
        assert_eq!(told, [true, false, false, true, false, true]);
    }

    #[test]
    fn what_could_not_be_proved_is_asked_about_again_at_once() {
        let (mut book, now) = (Book::default(), Instant::now());
        let case = book.open(pair(1), now).expect("there is room");
        book.close(pair(1), &case, &Err(AdmissionError::KeyUnverified), now);
        assert!(book.open(pair(1), now).is_ok());
    }

    #[test]
    fn strangers_fill_neither_the_memory_nor_refersions_day() {
        let (mut book, now) = (Book::default(), Instant::now());
        (0..REFUSED).for_each(|n| refuse(&mut book, n, now));
        assert_eq!(book.open(pair(REFUSED), now).err(), Some(AdmissionError::KeyUnverified));
        assert_eq!(book.refused.len(), REFUSED);
        let later = now + REMEMBERED;
        (0..WAITING).for_each(|n| drop(book.open(pair(n), later).expect("there is room again")));
        assert_eq!(book.open(pair(WAITING), later).err(), Some(AdmissionError::KeyUnverified));
        assert!(book.open(pair(0), later).is_ok(), "it waits with the others");
        assert!(book.refused.is_empty());
    }

    #[tokio::test]
    async fn of_one_pair_one_proof_is_under_way_and_of_all_of_them_a_few() {
        let (proofs, asked, answer) = (Proofs::new(), AtomicUsize::new(0), Notify::new());
        let prove = || {
            proofs.in_turn(async {
                asked.fetch_add(1, Ordering::Relaxed);
                answer.notified().await;
                Err(AdmissionError::KeyUnverified)
            })
        };
        let all = async {
            tokio::join!(
                proofs.of(pair(1), prove()),
                proofs.of(pair(1), prove()),
                proofs.of(pair(2), prove()),
                proofs.of(pair(3), prove()),
                proofs.of(pair(4), prove()),
                proofs.of(pair(5), prove()),
                async {
                    assert_eq!(asked.load(Ordering::Relaxed), AT_ONCE, "all others were polled before");
                    answer.notify_waiters();
                    tokio::task::yield_now().await;
                    answer.notify_one();
                }
            )
        };
        let (one, same, ..) = tokio::time::timeout(REMEMBERED, all).await.expect("every proof was answered");
        assert!(matches!((one, same), (Err(AdmissionError::KeyUnverified), Err(AdmissionError::KeyUnverified))));
        assert_eq!(asked.load(Ordering::Relaxed), 5, "one for each pair");
        assert!(proofs.book().under_way.is_empty());
    }
}
