//! The affiliate index: which affiliate a key leads to, its stored fields, and how it is forgotten.

use super::engine::{TestStore, erase, every, forget, known, remember};
use refersion_destination::delivery::{AffiliateRecord, Memory, Origin};
use refersion_destination::domain::{
    AccountName, AffiliateCode, AffiliateId, AffiliateStatus, Field, HashKey, SentAttributes, Timestamp,
};
use refersion_destination::store::{AffiliateChanges, Appended, EmailConflict, Remember};

/// What is known of a user with these keys.
async fn memory(store: &TestStore, name: &str, users: &[&str]) -> Memory {
    let seq = store.append(name, users).await;
    let memory = store.begin(seq).await.memory;
    store.settle(seq, super::engine::done()).await;
    memory
}

/// Where the `userId` and the address lead to.
async fn codes(store: &TestStore, name: &str, users: &[&str]) -> [String; 2] {
    let Memory { by_user_id, by_email, .. } = memory(store, name, users).await;
    [by_user_id, by_email].map(|known| known.map_or_else(|| "nowhere".to_owned(), |known| known.code.0))
}

#[tokio::test]
async fn an_affiliate_is_remembered_with_everything_known_of_it() {
    every(async |store| {
        let hash = HashKey::new(&[1; 32]);
        let mut sent = SentAttributes::default();
        for (field, value) in [(Field::City, "Paris"), (Field::Zip, "75001")] {
            sent.record(&hash, &field.into(), value, Timestamp(5));
        }
        sent.record_status(&hash, AffiliateStatus::Active, Timestamp(6));
        for (n, origin) in [Origin::Created, Origin::Found].into_iter().enumerate() {
            let id = Some(AffiliateId(37_569_297));
            let known = AffiliateRecord { code: AffiliateCode(format!("c{n}")), id, origin, sent: sent.clone() };
            let user = format!("u{n}");
            let keys = store.keys(&[&user]);
            let change = AffiliateChanges {
                remember: Some(Remember { known: known.clone(), user_keys: keys }),
                ..AffiliateChanges::default()
            };
            store.teach(&format!("a{n}"), &[&user], change).await;
            store.reopen().await;
            let memory = memory(store, &format!("b{n}"), &[&user, "other@x.io"]).await;
            assert_eq!(memory, Memory { by_user_id: Some(known), ..Memory::default() });
        }
    })
    .await;
}

#[tokio::test]
async fn an_id_is_kept_when_a_later_answer_does_not_have_it() {
    every(async |store| {
        let keys = store.keys(&["u1"]);
        store.teach("a", &["u1"], remember("code", keys.clone())).await;
        let known = AffiliateRecord { id: None, origin: Origin::Found, ..known("code") };
        let remember = Some(Remember { known, user_keys: keys });
        store.teach("b", &["u1"], AffiliateChanges { remember, ..AffiliateChanges::default() }).await;
        let known = memory(store, "c", &["u1"]).await.by_user_id.expect("remembered");
        assert_eq!((known.id, known.origin), (Some(AffiliateId(7)), Origin::Found));
    })
    .await;
}

#[tokio::test]
async fn two_keys_lead_to_one_affiliate_and_two_users_to_two() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "u1@x.io"]))).await;
        store.teach("b", &["u2"], remember("two", store.keys(&["u2"]))).await;
        assert_eq!(codes(store, "c", &["u1", "u1@x.io"]).await, ["one", "one"]);
        assert_eq!(codes(store, "d", &["u2", "u1@x.io"]).await, ["two", "one"]);
        assert_eq!(codes(store, "e", &["u3", "u3@x.io"]).await, ["nowhere", "nowhere"]);
    })
    .await;
}

#[tokio::test]
async fn a_new_address_replaces_the_earlier_one_and_keeps_the_user_ids() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "old@x.io"]))).await;
        store.teach("b", &["u9"], remember("one", store.keys(&["u9"]))).await;
        store.teach("c", &["u1"], remember("one", store.keys(&["new@x.io"]))).await;
        assert_eq!(codes(store, "d", &["u1", "old@x.io"]).await, ["one", "nowhere"]);
        assert_eq!(codes(store, "e", &["u9", "new@x.io"]).await, ["one", "one"]);
    })
    .await;
}

#[tokio::test]
async fn an_address_that_moves_to_another_affiliate_leads_there_alone() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "x@x.io"]))).await;
        store.teach("b", &["u2"], remember("two", store.keys(&["u2", "x@x.io"]))).await;
        assert_eq!(codes(store, "c", &["u1", "x@x.io"]).await, ["one", "two"]);
        store.teach("d", &["u1"], forget("one")).await;
        assert_eq!(codes(store, "e", &["u1", "x@x.io"]).await, ["nowhere", "two"]);
    })
    .await;
}

#[tokio::test]
async fn a_forgotten_affiliate_is_led_to_by_no_key() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "u1@x.io"]))).await;
        store.teach("b", &["u1"], forget("one")).await;
        assert_eq!(codes(store, "c", &["u1", "u1@x.io"]).await, ["nowhere", "nowhere"]);
        assert_eq!(store.append_if_known("d", &["u1"]).await, Appended::UnknownUser);
    })
    .await;
}

#[tokio::test]
async fn an_affiliate_forgotten_and_remembered_in_one_transaction_is_remembered_anew() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "old@x.io"]))).await;
        let anew = AffiliateChanges { forget: forget("one").forget, ..remember("one", store.keys(&["u1"])) };
        store.teach("b", &["u1"], anew).await;
        assert_eq!(codes(store, "c", &["u1", "old@x.io"]).await, ["one", "nowhere"]);
    })
    .await;
}

#[tokio::test]
async fn erasing_a_user_removes_their_links() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "u1@x.io"]))).await;
        store.teach("b", &["u1"], erase(store.keys(&["u1@x.io"]))).await;
        assert_eq!(codes(store, "c", &["u1", "u1@x.io"]).await, ["one", "nowhere"]);
    })
    .await;
}

#[tokio::test]
async fn an_erasure_does_not_spread_to_another_users_affiliate() {
    every(async |store| {
        store.teach("a", &["u2", "b@x.io"], remember("b2b2", store.keys(&["u2", "b@x.io"]))).await;
        store.die("b", &["u1", "b@x.io"]).await;
        store.die("c", &["u2", "b@x.io"]).await;
        let erased = AffiliateChanges { deleted_at: Some(Timestamp(5)), ..erase(store.keys(&["u1"])) };
        store.teach("d", &["u1"], erased).await;
        assert_eq!(codes(store, "e", &["u2", "b@x.io"]).await, ["b2b2", "b2b2"]);
        assert_eq!(memory(store, "f", &["u2", "b@x.io"]).await.deleted_at(), None);
        assert_eq!(memory(store, "g", &["u1"]).await.deleted_at(), Some(Timestamp(5)));
    })
    .await;
}

#[tokio::test]
async fn accounts_remember_apart() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1"]))).await;
        store.use_account(&AccountName::from("other".to_owned())).await;
        assert_eq!(codes(store, "b", &["u1"]).await, ["nowhere", "nowhere"]);
        store.teach("c", &["u1"], remember("one", store.keys(&["u1"]))).await;
        store.teach("d", &["u1"], forget("one")).await;
        assert_eq!(store.append_if_known("e", &["u1"]).await, Appended::UnknownUser);
        store.use_account(&AccountName::main()).await;
        assert_eq!(codes(store, "f", &["u1"]).await, ["one", "nowhere"]);
        assert_ne!(store.append_if_known("g", &["u1"]).await, Appended::UnknownUser);
    })
    .await;
}

#[tokio::test]
async fn an_erasure_that_finds_nothing_is_none() {
    every(async |store| {
        store.teach("a", &["u1"], erase(store.keys(&["nobody", "nobody@x.io"]))).await;
        store.teach("b", &["u1"], forget("no affiliate")).await;
        assert_eq!(store.counts(), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn an_affiliate_is_owned_by_every_user_id_that_leads_to_it() {
    every(async |store| {
        store.teach("a", &["u1@x.io"], remember("one", store.keys(&["u1@x.io"]))).await;
        let cases = |owned: bool| {
            [
                (&["u1@x.io"][..], owned),
                (&["u1", "u1@x.io"], false),
                (&["u2", "u1@x.io"], false),
                (&["u3", "u1@x.io"], owned),
                (&["u1"], false),
                (&["u1", "u9@x.io"], false),
            ]
        };
        for owned in [false, true] {
            if owned {
                store.teach("b", &["u1"], remember("one", store.keys(&["u1"]))).await;
                store.teach("c", &["u2"], remember("one", store.keys(&["u2"]))).await;
                store.teach("d", &["u3"], remember("another", store.keys(&["u3"]))).await;
            }
            store.reopen().await;
            for (users, other) in cases(owned) {
                let memory = memory(store, &format!("{owned} {users:?}"), users).await;
                assert_eq!(memory.email_has_other_owner, other, "{users:?}");
                let code = AffiliateCode("one".to_owned());
                let recalled = store.store().recall(&store.account, &code, &store.keys(users)).await.expect("read");
                let recalled = recalled.expect("remembered");
                assert_eq!(recalled.known, known("one"));
                assert_eq!(
                    recalled.has_other_owner,
                    owned && !users.contains(&"u1") && !users.contains(&"u2"),
                    "{users:?}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_affiliate_is_recalled_by_its_code_in_its_account_until_it_is_forgotten() {
    every(async |store| {
        let code = AffiliateCode("one".to_owned());
        let other = AccountName::from("other".to_owned());
        store.teach("a", &["u1"], remember("one", store.keys(&["u1"]))).await;
        let recall = async |store: &TestStore, account: &AccountName| {
            store.store().recall(account, &code, &[]).await.expect("read").map(|recalled| recalled.known)
        };
        assert_eq!(recall(store, &store.account).await, Some(known("one")));
        assert_eq!(recall(store, &other).await, None);
        store.teach("b", &["u1"], forget("one")).await;
        assert_eq!(recall(store, &store.account).await, None);
    })
    .await;
}

#[tokio::test]
async fn email_conflicts_are_listed_in_portions_while_they_last() {
    every(async |store| {
        let hash = store.store().hash_key().clone();
        let conflicting = |code: &str| {
            let mut known = known(code);
            known.sent.record_taken_email(&hash, "taken@x.io");
            AffiliateChanges {
                remember: Some(Remember { known, user_keys: Vec::new() }),
                ..AffiliateChanges::default()
            }
        };
        for n in 0..5 {
            store.teach(&n.to_string(), &["u1"], conflicting(&format!("c{n}"))).await;
        }
        store.teach("resolved", &["u1"], remember("c1", Vec::new())).await;
        store.teach("without", &["u1"], remember("without", Vec::new())).await;
        store.teach("later", &["u1"], conflicting("without")).await;
        store.use_account(&AccountName::from("other".to_owned())).await;
        store.teach("of another account", &["u1"], conflicting("c9")).await;
        store.use_account(&AccountName::main()).await;
        store.reopen().await;
        let (mut codes, mut after) = (Vec::new(), 0);
        loop {
            let page = store.store().email_conflicts(Some(&store.account), after, 2).await.expect("read");
            assert!(page.iter().all(|conflict| conflict.id == Some(AffiliateId(7))));
            let Some(EmailConflict { place, .. }) = page.last() else { break };
            after = *place;
            codes.extend(page.into_iter().map(|conflict| conflict.code.0));
        }
        assert_eq!(codes, ["c0", "c2", "c3", "c4", "without"]);
        let all = store.store().email_conflicts(None, after - 1, 9).await.expect("read");
        let all: Vec<_> = all.iter().map(|conflict| (&*conflict.account, &*conflict.code.0)).collect();
        assert_eq!(all, [("main", "without"), ("other", "c9")], "of all accounts");
        assert_eq!(
            store.store().email_conflicts(Some(&AccountName::from("no".to_owned())), 0, 9).await,
            Ok(Vec::new())
        );
    })
    .await;
}
