//! The writer's inbox: jobs go in from any thread, and come out in their order on one.
//!
//! Waking a thread costs more than many a job, so a patient job wakes the writer only where it has nothing at all to do.
//! Invariants: what got in comes out, unless the writer ends before; nothing gets in once it is closed.
//! Deliberately absent: what a job is.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whether somebody waits for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// It is done as soon as can be.
    Now,
    /// It may wait for others.
    Soon,
}

/// Jobs that wait for the writer.
pub struct Inbox<T> {
    state: Mutex<State<T>>,
    bell: Condvar,
}

struct State<T> {
    jobs: VecDeque<(Haste, T)>,
    /// How many of them are in haste.
    hasty: usize,
    /// Whom the writer sleeps for.
    sleeps: Option<Haste>,
    closed: bool,
}

/// Closes the inbox when it is dropped, however the writer ends: whoever waits for a job hears that it was dropped.
pub struct Taker<'a, T>(&'a Inbox<T>);

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        let state = State { jobs: VecDeque::new(), hasty: 0, sleeps: None, closed: false };
        Self { state: Mutex::new(state), bell: Condvar::new() }
    }
}

impl<T> Inbox<T> {
    /// Puts a job in; whether it got in.
    pub fn put(&self, haste: Haste, job: T) -> bool {
        self.add(haste, Some(job), false)
    }

    /// Puts the last job in, if there is one; whether it got in.
    pub fn close(&self, last: Option<T>) -> bool {
        self.add(Haste::Now, last, true)
    }

    /// The one who takes jobs out.
    pub fn taker(&self) -> Taker<'_, T> {
        Taker(self)
    }

    fn add(&self, haste: Haste, job: Option<T>, last: bool) -> bool {
        let mut state = self.state();
        if state.closed {
            return false;
        }
        state.closed = last;
        if let Some(job) = job {
            state.jobs.push_back((haste, job));
            state.hasty += usize::from(haste == Haste::Now);
        }
        // Whoever sleeps for a patient job is woken by any.
        if state.sleeps.take_if(|awaited| haste == Haste::Now || *awaited == Haste::Soon).is_some() {
            drop(state);
            self.bell.notify_one();
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Taker<'_, T> {
    /// The next job, once there is one; none once it is closed and empty.
    pub fn take(&self) -> Option<(Haste, T)> {
        let mut state = self.0.state();
        while state.jobs.is_empty() && !state.closed {
            state.sleeps = Some(Haste::Soon);
            state = self.0.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.pop()
    }

    /// Whether there is no job, but may be one some time.
    pub fn is_idle(&self) -> bool {
        let state = self.0.state();
        state.jobs.is_empty() && !state.closed
    }

    /// The next job, if there is one and it is `fit`.
    pub fn take_if(&self, fit: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut state = self.0.state();
        let fits = state.jobs.front().is_some_and(|(_, job)| fit(job));
        if fits { state.pop().map(|(_, job)| job) } else { None }
    }

    /// Waits until a job in haste is there, but no longer than `most`.
    pub fn linger(&self, most: Duration) {
        let end = Instant::now() + most;
        let mut state = self.0.state();
        while state.hasty == 0 && !state.closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.sleeps = Some(Haste::Now);
            state = self.0.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.sleeps = None;
    }
}

impl<T> State<T> {
    fn pop(&mut self) -> Option<(Haste, T)> {
        let job = self.jobs.pop_front()?;
        self.hasty -= usize::from(job.0 == Haste::Now);
        Some(job)
    }
}

impl<T> Drop for Taker<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn jobs_come_out_in_their_order_and_none_gets_in_after_the_last() {
        let inbox = Inbox::default();
        assert!(inbox.put(Haste::Soon, 1) && inbox.put(Haste::Now, 2) && inbox.close(Some(3)));
        assert!(!inbox.put(Haste::Now, 4) && !inbox.close(None));
        let taker = inbox.taker();
        assert!(!taker.is_idle());
        assert_eq!(taker.take_if(|job| *job > 1), None);
        assert_eq!(taker.take_if(|job| *job == 1), Some(1));
        assert_eq!((taker.take(), taker.take(), taker.take()), (Some((Haste::Now, 2)), Some((Haste::Now, 3)), None));
        assert!(!taker.is_idle(), "nothing will come any more");
        assert!(Inbox::<u8>::default().taker().is_idle());
    }

    #[test]
    fn who_sleeps_is_woken_by_any_job_and_who_lingers_by_one_in_haste_or_by_the_end() {
        let inbox = Arc::new(Inbox::default());
        let other = Arc::clone(&inbox);
        let writer = thread::spawn(move || {
            let taker = other.taker();
            let first = taker.take();
            taker.linger(LONG);
            let then = [taker.take(), taker.take()];
            taker.linger(LONG);
            (first, then, taker.take())
        });
        let sleeps = |haste| {
            while inbox.state().sleeps != Some(haste) {
                thread::yield_now();
            }
        };
        sleeps(Haste::Soon);
        assert!(inbox.put(Haste::Soon, 1));
        sleeps(Haste::Now);
        assert!(inbox.put(Haste::Soon, 2));
        assert_eq!(inbox.state().sleeps, Some(Haste::Now), "nobody is woken for a patient job");
        assert!(inbox.put(Haste::Now, 3));
        sleeps(Haste::Now);
        assert!(inbox.close(None));
        let (first, then, last) = writer.join().expect("no panic");
        assert_eq!(first, Some((Haste::Soon, 1)));
        assert_eq!(then, [Some((Haste::Soon, 2)), Some((Haste::Now, 3))]);
        assert_eq!(last, None);
    }

    #[test]
    fn who_lingers_goes_on_in_the_end() {
        let inbox = Inbox::<u8>::default();
        inbox.taker().linger(Duration::from_millis(1));
    }

    #[test]
    fn when_the_writer_ends_what_is_left_is_dropped_and_nothing_gets_in() {
        let (inbox, job) = (Inbox::default(), Arc::new(()));
        assert!(inbox.put(Haste::Now, Arc::clone(&job)));
        drop(inbox.taker());
        assert_eq!(Arc::strong_count(&job), 1);
        assert!(!inbox.put(Haste::Now, job));
    }
}
