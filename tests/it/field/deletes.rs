//! The affiliate that a delete is about, and repeated deletes.

use super::{delete, deliver, hold, identify};
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::within;
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

fn two_users() -> Vec<Value> {
    vec![identify("u1", json!({"email": "ann@example.com"})), identify("u2", json!({"email": "bob@example.com"}))]
}

fn after_two_users(events: Vec<Value>) -> Vec<Value> {
    [two_users(), events].concat()
}

#[tokio::test]
async fn a_delete_goes_by_its_user_id_first_and_else_by_its_email() {
    let email = |email: &str| json!({"email": email});
    let [ann, bob] = ["ann@example.com PENDING", "bob@example.com PENDING"];
    let [ann_deleted, bob_deleted] = ["ann@example.com DISABLED", "bob@example.com DISABLED"];
    hold(
        &[],
        "email status",
        vec![
            (
                "the userId is known",
                after_two_users(vec![delete("u1", json!({}))]),
                "created created disabled",
                &[ann_deleted, bob],
            ),
            (
                "the userId is known, and the e-mail is somebody else's",
                after_two_users(vec![delete("u1", email("bob@example.com"))]),
                "created created disabled",
                &[ann_deleted, bob],
            ),
            (
                "the userId is unknown",
                after_two_users(vec![delete("u9", email("bob@example.com"))]),
                "created created disabled",
                &[ann, bob_deleted],
            ),
            (
                "there is no userId",
                after_two_users(vec![delete("", email("bob@example.com"))]),
                "created created disabled",
                &[ann, bob_deleted],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_answer_says_that_the_affiliate_of_the_email_was_left_alone() {
    let events = after_two_users(vec![delete("u1", json!({"email": "bob@example.com"}))]);
    let (service, answers) = deliver(&[], events).await;
    let code = service.refersion.sandbox.affiliate("bob@example.com").expect("kept").code;
    let message = answers[2].message();
    assert!(message.contains(&format!("the e-mail leads to affiliate {code}, which was left alone")), "{message}");
}

#[tokio::test]
async fn the_deletes_of_two_users_with_one_message_id_are_two_events_and_of_one_user_one() {
    let with_id = |user: &str| delete(user, json!({"messageId": "one"}));
    hold(
        &[],
        "email status",
        vec![
            (
                "two users",
                after_two_users(vec![with_id("u1"), with_id("u2")]),
                "created created disabled disabled",
                &["ann@example.com DISABLED", "bob@example.com DISABLED"],
            ),
            (
                "one user",
                after_two_users(vec![with_id("u1"), with_id("u1")]),
                "created created disabled duplicate",
                &["ann@example.com DISABLED", "bob@example.com PENDING"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_warning_is_logged_if_an_anonymizing_delete_overwrites_nothing() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(&refersion.base_url, folder.path(), &[("DELIVERY_ON_DELETE", "anonymize")]);
    for (messages, expected) in [(0, "anonymized"), (1, "anonymized"), (3, "disabled")] {
        let user = format!("u{messages}");
        let created = crate::support::identify(&user, &user, &json!({}));
        within(process.send(&created)).await.expect("answered");
        refersion.sandbox.script_for(Operation::Edit, (0..messages).map(|_| Fault::unprocessable("no")));
        let answer = within(process.send(&delete(&user, json!({})))).await.expect("answered");
        assert_eq!(answer.json()["action"], expected, "{messages}");
    }
    process.terminate();
    let (_, logged) = process.ended().await;
    let warnings: Vec<_> = logged.lines().filter(|line| line.contains("no personal field was overwritten")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("WARN"), "{logged}");
}
