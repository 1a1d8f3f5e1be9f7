//! Killed between any two calls: after the restart the remaining calls are made, and only those.
//!
//! A call hangs, with its effect or without, so that the process stands at a known call; then it is killed.

use super::drained;
use super::points::add_existing;
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{identify, within};
use refersion_destination::domain::AffiliateStatus;
use refersion_destination::sandbox::{Fault, SandboxAffiliate};
use serde_json::{Value, json};

/// One event, and the calls it takes when nothing goes wrong.
struct Scenario {
    settings: &'static [(&'static str, &'static str)],
    existed: bool,
    event: Value,
    calls: &'static str,
}

/// Killed while call number `at` (from 0) hangs, with its effect or without: the calls `remain` after the restart.
struct Kill {
    at: usize,
    effect: bool,
    remain: &'static str,
}

const fn kill(at: usize, effect: bool, remain: &'static str) -> Kill {
    Kill { at, effect, remain }
}

async fn check(scenario: &Scenario, kills: &[Kill], holds: impl Fn(&SandboxAffiliate)) {
    for Kill { at, effect, remain } in kills {
        let refersion = Refersion::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        if scenario.existed {
            add_existing(&refersion.sandbox);
        }
        refersion.sandbox.script((0..*at).map(|_| Fault::Pass).chain([Fault::Hang { effect: *effect }]));
        let start = || {
            let settings = [scenario.settings, &[("SERVER_WAIT", "0s")]].concat();
            Process::start(&refersion.base_url, folder.path(), &settings)
        };

        let process = start();
        assert_eq!(within(process.send(&scenario.event)).await.expect("answered").status, 202);
        refersion.until(|sandbox| sandbox.calls_total() > *at as u64).await;
        process.kill();
        let process = start();
        let ready = drained(&process).await;
        process.kill();

        let made = scenario.calls.split(' ').take(at + 1).chain(remain.split(' '));
        assert_eq!(refersion.operations(), made.collect::<Vec<_>>(), "killed at {at}, effect: {effect}");
        assert_eq!(ready["dead_letters"], 0);
        assert_eq!(refersion.sandbox.affiliates().len(), 1);
        holds(&refersion.sandbox.affiliates()[0]);
    }
}

#[tokio::test]
async fn a_custom_field_follows_its_new() {
    let scenario = Scenario {
        settings: &[("MAPPING_CUSTOM_FIELDS", r#"{ plan = "77" }"#)],
        existed: false,
        event: identify("m1", "u1", &json!({"plan": "gold"})),
        calls: "new edit",
    };
    let kills = [
        kill(0, false, "new edit"),
        kill(0, true, "new search get edit"),
        kill(1, false, "edit"),
        kill(1, true, "edit get"),
    ];
    check(&scenario, &kills, |affiliate| assert_eq!(affiliate.custom_fields["77"], "gold")).await;
}

#[tokio::test]
async fn an_affiliate_that_existed_before_is_searched_read_and_edited() {
    let scenario = Scenario {
        settings: &[],
        existed: true,
        event: identify("m1", "u1", &json!({"city": "Rome"})),
        calls: "new search get edit",
    };
    let kills = [
        kill(0, true, "new search get edit"),
        kill(1, true, "search get edit"),
        kill(2, true, "get edit"),
        kill(3, false, "edit"),
        kill(3, true, "edit get"),
    ];
    check(&scenario, &kills, |affiliate| assert_eq!(affiliate.field("city"), "Rome")).await;
}

#[tokio::test]
async fn a_delete_searches_reads_and_disables() {
    let scenario = Scenario {
        settings: &[],
        existed: true,
        event: json!({"type": "delete", "messageId": "m1", "email": "u1@example.com"}),
        calls: "search get status_change",
    };
    let kills = [
        kill(0, true, "search get status_change"),
        kill(1, true, "get status_change"),
        kill(2, false, "get status_change"),
        kill(2, true, "get status_change get"),
    ];
    check(&scenario, &kills, |affiliate| assert_eq!(affiliate.status, AffiliateStatus::Disabled)).await;
}

#[tokio::test]
async fn an_anonymizing_delete_overwrites_and_then_disables() {
    let scenario = Scenario {
        settings: &[("DELIVERY_ON_DELETE", "anonymize")],
        existed: true,
        event: json!({"type": "delete", "messageId": "m1", "email": "u1@example.com"}),
        calls: "search get edit status_change",
    };
    let kills = [
        kill(2, false, "get edit status_change"),
        kill(2, true, "get edit get status_change"),
        kill(3, false, "status_change"),
        kill(3, true, "status_change get"),
    ];
    check(&scenario, &kills, |affiliate| {
        assert_eq!(affiliate.status, AffiliateStatus::Disabled);
        assert!(!affiliate.email().contains("u1"), "{affiliate:?}");
    })
    .await;
}

#[tokio::test]
async fn a_later_event_is_delivered_after_an_interrupted_edit() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    refersion.sandbox.script([Fault::Pass, Fault::Hang { effect: false }]);
    let settings = [("SERVER_WAIT", "0s")];
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    for (city, calls) in [("Rome", 1), ("Oslo", 2), ("Bern", 2), ("Kiel", 2)] {
        let event = identify(city, "u1", &json!({"city": city}));
        assert_eq!(within(process.send(&event)).await.expect("answered").status, 202);
        refersion.until(|sandbox| sandbox.calls_total() == calls).await;
    }
    process.kill();
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    drained(&process).await;
    process.kill();
    let city = |body: &Value| body.pointer("/affiliates/0/city").or(body.get("city")).cloned();
    let cities: Vec<_> = refersion.sandbox.calls().iter().filter_map(|call| city(&call.body)).collect();
    assert_eq!(cities, ["Rome", "Oslo", "Kiel"]);
}

/// The answer of 202 is a promise from its first moment on.
#[tokio::test]
async fn an_event_is_delivered_although_the_process_is_killed_right_after_the_answer() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("SERVER_WAIT", "0s")];
    for round in 0..5 {
        let user = format!("u{round}");
        let process = Process::start(&refersion.base_url, folder.path(), &settings);
        assert_eq!(within(process.send(&identify(&user, &user, &Value::Null))).await.expect("answered").status, 202);
        process.kill();
    }
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    drained(&process).await;
    process.kill();
    let mut emails: Vec<_> = refersion.sandbox.affiliates().iter().map(|one| one.email().to_owned()).collect();
    emails.sort();
    assert_eq!(emails, (0..5).map(|round| format!("u{round}@example.com")).collect::<Vec<_>>());
}
