//! Promise 4: pending events are read in log order, account by account, with the affiliates their keys lead to.

use super::engine::{TestStore, accepted, dead, done, every, forget, hand_back, known, name, remember, retry, unit};
use refersion_destination::domain::{AccountName, AffiliateKey, LaneKey, Seq, UserKey};
use refersion_destination::scheduling::{Entry, Unit};
use refersion_destination::store::NewEvent;

fn seqs(entries: &[Entry]) -> Vec<Seq> {
    entries.iter().map(|entry| entry.seq).collect()
}

/// The affiliate itself, as lanes know it.
fn affiliate(store: &TestStore, code: &str) -> LaneKey {
    LaneKey::Affiliate(AffiliateKey(store.store().hash_key().affiliate(store.account.as_str(), code)))
}

fn users(keys: Vec<UserKey>) -> Vec<LaneKey> {
    keys.into_iter().map(LaneKey::User).collect()
}

#[tokio::test]
async fn pending_events_are_read_in_log_order_in_portions_of_any_size() {
    every(async |store| {
        let events = (0..30).map(|n| store.event(&n.to_string(), &[&format!("u{}", n % 3)], 30 - n)).collect();
        let all: Vec<Seq> = store.store().append(events).await.expect("appended").into_iter().map(accepted).collect();
        for reopened in [false, true] {
            for limit in [1, 7, 29, 30, 31] {
                let (mut read, mut after) = (Vec::new(), Seq(0));
                loop {
                    let entries = store.store().read(&store.account, after, limit).await.expect("read");
                    assert!(entries.len() <= limit);
                    read.extend(seqs(&entries));
                    if entries.len() < limit {
                        break;
                    }
                    after = read.last().copied().expect("an entry");
                }
                assert_eq!(read, all, "{limit} at a time, reopened: {reopened}");
            }
            store.reopen().await;
        }
        assert_eq!(store.store().read(&store.account, all[29], 9).await.expect("read"), []);
        assert_eq!(store.store().read(&store.account, Seq(0), 0).await.expect("read"), []);
    })
    .await;
}

#[tokio::test]
async fn settled_events_are_not_read_any_more_and_pending_ones_are() {
    every(async |store| {
        let mut left = Vec::new();
        for (n, settlement) in [done(), dead(), retry(5), hand_back()].into_iter().enumerate() {
            left.push(store.append(&n.to_string(), &["u1"]).await);
            store.begin(left[n]).await;
            store.settle(left[n], settlement).await;
        }
        assert_eq!(seqs(&store.entries().await), left[2..]);
        store.begin(left[3]).await;
        assert_eq!(seqs(&store.entries().await), left[2..], "in flight it waits, too");
        store.reopen().await;
        assert_eq!(seqs(&store.entries().await), left[2..]);
    })
    .await;
}

#[tokio::test]
async fn one_account_among_a_thousand_is_read_alone() {
    every(async |store| {
        let account = |n: usize| AccountName::from(format!("account {n}"));
        let event = |n: usize| NewEvent {
            account: account(n % 1_000),
            id: store.id(&n.to_string()),
            ..store.event(&n.to_string(), &["u1"], 0)
        };
        let appended = store.store().append((0..3_000).map(event).collect()).await.expect("appended");
        let seqs: Vec<Seq> = appended.into_iter().map(accepted).collect();
        for n in [0, 517, 999] {
            store.use_account(&account(n)).await;
            let expected: Vec<String> = (0..3).map(|round| (round * 1_000 + n).to_string()).collect();
            assert_eq!(store.names().await, expected);
        }
        let of_another = [Unit::of(seqs[0]), unit(&[seqs[999], seqs[1], seqs[1_999]])];
        let begun = store.begin_units(&of_another).await;
        let followers: Vec<Seq> = begun[0].followers.iter().map(|follower| follower.seq).collect();
        assert_eq!((begun.len(), name(&begun[0]), followers), (1, "999".to_owned(), vec![seqs[1_999]]));
        assert_eq!(store.store().pending().len(), 1_000);
        assert!(store.store().pending().values().all(|waiting| *waiting == 3));
    })
    .await;
}

#[tokio::test]
async fn an_entry_has_the_keys_of_its_user_and_the_affiliates_they_lead_to() {
    every(async |store| {
        store.teach("one", &["u1"], remember("one", store.keys(&["u1", "u1@x.io"]))).await;
        store.teach("two", &["u2"], remember("two", store.keys(&["u2"]))).await;
        let (one, two) = (affiliate(store, "one"), affiliate(store, "two"));
        let table: [(&[&str], Vec<LaneKey>); 5] = [
            (&["u1"], vec![one]),
            (&["u1@x.io"], vec![one]),
            (&["u1", "u1@x.io"], vec![one]),
            (&["u2", "u1@x.io"], vec![two, one]),
            (&["u3", "u3@x.io"], vec![]),
        ];
        for (n, (keys, _)) in table.iter().enumerate() {
            store.append(&n.to_string(), keys).await;
        }
        for (entry, (keys, affiliates)) in store.entries().await.into_iter().zip(&table) {
            let mut expected = users(store.keys(keys));
            expected.extend(affiliates);
            assert_eq!(entry.lane_keys, expected, "{keys:?}");
            assert_eq!((entry.attempted, entry.followers, entry.retry), (false, vec![], None));
        }
        store.teach("forget", &["u2"], forget("one")).await;
        let first = &store.entries().await[0];
        assert_eq!(first.lane_keys, users(store.keys(&["u1"])), "links are as of the moment of reading");
    })
    .await;
}

/// A hash that is a `userId` is no e-mail address, and an account's users are its own.
#[tokio::test]
async fn keys_of_two_kinds_and_of_two_accounts_lead_nowhere_together() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1"]))).await;
        let [UserKey::UserId(bytes)] = store.keys(&["u1"])[..] else { panic!("a userId") };
        let as_email = NewEvent { user_keys: vec![UserKey::Email(bytes)], ..store.event("b", &[], 0) };
        let b = accepted(store.try_append(as_email).await);
        assert_eq!(store.begin(b).await.memory.by_email, None);
        let c = store.append("c", &["u1"]).await;
        assert_eq!(store.begin(c).await.memory.by_user_id, Some(known("one")));
    })
    .await;
}
