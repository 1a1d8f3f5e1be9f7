//! A backup that is made while events are accepted and delivered: it has every event that was accepted before, and the restored store
//! works.

use super::{back_up, mode, restore};
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{identify, within};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tempfile::TempDir;

/// How many senders there are. Each sends its events one after the other.
const SENDERS: usize = 8;
/// How many events every sender has sent before the backup begins.
const BEFORE: usize = 25;

/// A sender's event number `n`, of a user of its own.
fn event(sender: usize, n: usize) -> Value {
    identify(&format!("m{sender}-{n}"), &format!("u{sender}x{n}"), &json!({"city": format!("City {n}")}))
}

/// A service under load, whose senders go on until they are stopped.
struct Load {
    process: Arc<Process>,
    /// How many events of each sender were answered.
    answered: Arc<[AtomicUsize; SENDERS]>,
    stop: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(process: Process) -> Self {
        let (process, stop) = (Arc::new(process), Arc::new(AtomicBool::new(false)));
        let answered: Arc<[AtomicUsize; SENDERS]> = Arc::default();
        let sender = |sender: usize| {
            let (process, answered, stop) = (Arc::clone(&process), Arc::clone(&answered), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut n = 0;
                while !stop.load(Ordering::SeqCst) {
                    let answer = within(process.send(&event(sender, n))).await.expect("answered");
                    assert_eq!(answer.brief(), "202 accepted");
                    n += 1;
                    answered[sender].store(n, Ordering::SeqCst);
                }
            })
        };
        let senders = (0..SENDERS).map(sender).collect();
        Self { process, answered, stop, senders }
    }

    /// How many events of each sender were answered so far.
    fn counts(&self) -> Vec<usize> {
        self.answered.iter().map(|count| count.load(Ordering::SeqCst)).collect()
    }

    /// Waits until every sender has `more` events answered than now.
    async fn until_more(&self, more: usize) {
        let goal: Vec<usize> = self.counts().iter().map(|count| count + more).collect();
        let reached = || std::future::ready(self.counts().iter().zip(&goal).all(|(count, goal)| count >= goal));
        within(crate::support::poll_until(reached, |reached| *reached)).await;
    }

    /// Stops the senders and kills the service.
    async fn kill(self) {
        self.stop.store(true, Ordering::SeqCst);
        for sender in self.senders {
            within(sender).await.expect("no failure");
        }
        let Ok(process) = Arc::try_unwrap(self.process) else { panic!("a sender still has the process") };
        process.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_events_are_in_the_backup_repeats_stay_repeats_and_the_restored_store_is_delivered() {
    for halted in [true, false] {
        let (refersion, folder) = (Refersion::start().await, TempDir::new().expect("a folder"));
        if halted {
            refersion.sandbox.revoke_api_key(); // every event is pending; else they are settled while the store is copied
        }
        let settings = [("SERVER_WAIT", "0s")];
        let load = Load::start(Process::start(&refersion.base_url, folder.path(), &settings));
        load.until_more(BEFORE).await;
        let before = load.counts();
        let backup = back_up(folder.path(), &[]).await;
        load.until_more(5).await; // the service goes on
        load.kill().await;
        #[cfg(unix)]
        assert_eq!(mode(&backup), 0o600);

        let place = TempDir::new().expect("a folder");
        restore(place.path(), &backup).await;
        #[cfg(unix)]
        assert_eq!(mode(&super::store(place.path())), 0o600);
        let process = Process::start(&refersion.base_url, place.path(), &settings);
        if halted {
            assert!(process.ready().await.json()["pending"].as_u64() >= Some(before.iter().sum::<usize>() as u64));
        }
        for (sender, count) in before.iter().enumerate() {
            for n in [0, count - 1] {
                let repeat = within(process.send(&event(sender, n))).await.expect("answered");
                assert_eq!(repeat.brief(), "200 duplicate", "{halted} {sender} {n}");
            }
        }
        refersion.sandbox.restore_api_key();
        let ready = within(process.drained()).await;
        assert_eq!(ready["dead_letters"], 0, "{halted}");
        for (sender, count) in before.iter().enumerate() {
            for n in 0..*count {
                let affiliate = refersion.sandbox.affiliate(&format!("u{sender}x{n}@example.com")).expect("delivered");
                assert_eq!(affiliate.field("city"), format!("City {n}"));
            }
        }
        let users: std::collections::BTreeSet<String> =
            refersion.sandbox.affiliates().iter().map(|affiliate| affiliate.email().to_owned()).collect();
        assert_eq!(users.len(), refersion.sandbox.affiliates().len(), "none twice");
        process.kill();
    }
}
