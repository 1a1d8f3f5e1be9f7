//! Newer facts win, whatever the order in which events arrive: per attribute, by the event's `timestamp`.

use super::{WAIT, delete, deliver, engage, hold, identify, identify_at, send_all, shown, words};
use crate::support::service::Service;
use refersion_destination::domain::{AffiliateStatus, Field};
use serde_json::{Value, json};

const EARLY: &str = "2020-01-01T00:00:00Z";
const LATE: &str = "2020-01-02T00:00:00Z";
const FUTURE: &str = "2999-01-01T00:00:00Z";

fn city(timestamp: &str, city: &str) -> Value {
    identify_at(timestamp, "u1", json!({"email": "ann@example.com", "city": city}))
}

#[tokio::test]
async fn an_older_fact_does_not_overwrite_a_newer_one() {
    let phone = identify_at(EARLY, "u1", json!({"email": "ann@example.com", "city": "Oslo", "phone": "555"}));
    let without = identify("u1", json!({"email": "ann@example.com", "city": "Oslo"}));
    hold(
        &[],
        "city phone",
        vec![
            (
                "the newer one comes first",
                vec![city(LATE, "Rome"), city(EARLY, "Oslo")],
                "created ignored",
                &["Rome -"],
            ),
            ("the newer one comes last", vec![city(EARLY, "Rome"), city(LATE, "Oslo")], "created updated", &["Oslo -"]),
            ("each attribute by itself", vec![city(LATE, "Rome"), phone], "created updated", &["Rome 555"]),
            (
                "of equal ones the later arrival",
                vec![city(LATE, "Rome"), city(LATE, "Oslo")],
                "created updated",
                &["Oslo -"],
            ),
            (
                "without a timestamp the receipt counts",
                vec![city(LATE, "Rome"), without.clone()],
                "created updated",
                &["Oslo -"],
            ),
            (
                "so it does if it is unreadable",
                vec![city(LATE, "Rome"), city("yesterday", "Oslo")],
                "created updated",
                &["Oslo -"],
            ),
            ("and if it is in the future", vec![city(FUTURE, "Rome"), without], "created updated", &["Oslo -"]),
            (
                "a repetition of the value is newer knowledge of it",
                vec![city(EARLY, "Rome"), city("2020-01-03T00:00:00Z", "Rome"), city(LATE, "Oslo")],
                "created unchanged ignored",
                &["Rome -"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_email_that_only_finds_the_user_is_older_than_any_that_an_identify_states() {
    let traits = json!({"email": "ann@example.com", "name": "Ann Lee", "city": "Rome"});
    let mut by_engage = engage("u1", traits.clone());
    by_engage["timestamp"] = json!(LATE);
    let mut beside_traits = identify_at(LATE, "u1", json!({"city": "Rome"}));
    beside_traits["context"] = json!({"traits": {"email": "ann@example.com"}});
    let stated = identify_at(LATE, "u1", traits);
    for (first, email, last) in [
        (by_engage, "new@example.com", "updated"),
        (beside_traits, "new@example.com", "updated"),
        (stated, "ann@example.com", "ignored"),
    ] {
        for existed in [false, true] {
            let service = Service::start(&[WAIT]).await;
            if existed {
                let ann = [(Field::Email, "ann@example.com")].into_iter().collect();
                service.refersion.sandbox.add(AffiliateStatus::Active, &ann).expect("added");
            }
            let second = identify_at(EARLY, "u1", json!({"email": "new@example.com", "city": "Oslo"}));
            let answers = send_all(&service, vec![first.clone(), second]).await;
            let created = if existed { "updated" } else { "created" };
            let seen = (words(&answers), shown(&service, "email city"));
            assert_eq!(seen, (format!("{created} {last}"), vec![format!("{email} Rome")]), "{existed}: {first}");
        }
    }
}

#[tokio::test]
async fn the_answer_says_that_newer_values_were_sent() {
    let (_, answers) = deliver(&[], vec![city(LATE, "Rome"), city(EARLY, "Oslo")]).await;
    assert!(answers[1].message().contains("newer"), "{}", answers[1].message());
}

#[tokio::test]
async fn the_newest_counts_also_among_events_that_are_delivered_together() {
    for order in [["2020-01-03", "2020-01-01", "2020-01-02"], ["2020-01-01", "2020-01-03", "2020-01-02"]] {
        let service = Service::start(&[]).await;
        let mut events: Vec<Value> = order.iter().map(|date| city(&format!("{date}T00:00:00Z"), date)).collect();
        for (n, event) in events.iter_mut().enumerate() {
            event["type"] = json!("identify");
            event["messageId"] = json!(n.to_string());
        }
        service.send(&Value::from(events)).await;
        service.until_drained().await;
        assert_eq!(shown(&service, "city"), ["2020-01-03"], "{order:?}");
    }
}

#[tokio::test]
async fn an_identify_from_before_a_delete_brings_nobody_back_and_one_from_after_it_may() {
    let named = |timestamp: &str| identify_at(timestamp, "u1", json!({"email": "new@example.com"}));
    let deleted = || delete("u1", json!({"timestamp": "2020-01-02T00:00:00Z"}));
    let before = "ann@example.com DISABLED";
    hold(
        &[],
        "email status",
        vec![
            (
                "from before",
                vec![city("2019-12-31T00:00:00Z", "Rome"), deleted(), named(EARLY)],
                "created disabled ignored",
                &[before],
            ),
            (
                "from after",
                vec![
                    city("2019-12-31T00:00:00Z", "Rome"),
                    deleted(),
                    identify("u1", json!({"email": "new@example.com"})),
                ],
                "created disabled created",
                &[before, "new@example.com PENDING"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_deleted_user_stays_deleted_after_a_restart() {
    let (service, answers) = deliver(&[], vec![city(EARLY, "Rome"), delete("u1", json!({}))]).await;
    assert_eq!(words(&answers), "created disabled");
    let (refersion, folder) = service.stop().await;
    let service = Service::resume(refersion, folder, &[WAIT]).await;
    let late = identify_at(LATE, "u1", json!({"email": "new@example.com"}));
    assert_eq!(words(&send_all(&service, vec![late]).await), "ignored");
    assert_eq!(shown(&service, "email status"), ["ann@example.com DISABLED"]);
}

#[tokio::test]
async fn the_last_arrival_counts_with_stale_apply() {
    hold(
        &[("DELIVERY_STALE", "apply")],
        "city",
        vec![("apply", vec![city(LATE, "Rome"), city(EARLY, "Oslo")], "created updated", &["Oslo"])],
    )
    .await;
}
