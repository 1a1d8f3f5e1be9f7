//! `learn`: Refersion's list is read through the running service, and on the store of a stopped one.

use super::Deployment;
use crate::support::identify;
use refersion_destination::domain::{AffiliateStatus, Field};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

/// Lets Refersion have the affiliates of so many users: `u0` and on.
fn add_affiliates(deployment: &Deployment, affiliates: usize) {
    for n in 0..affiliates {
        let (name, email) = (format!("u{n}"), format!("u{n}@example.com"));
        let fields = [(Field::FirstName, "User"), (Field::LastName, &name), (Field::Email, &email)];
        deployment.sandbox.add(AffiliateStatus::Active, &fields.into_iter().collect()).expect("added");
    }
}

/// Sends an identify of `user`; the operations that took.
async fn operations_for(deployment: &Deployment, user: &str) -> Vec<&'static str> {
    let before = deployment.sandbox.calls().len();
    deployment.send(&identify(user, user, &json!({}))).await;
    deployment.until_drained().await;
    deployment.sandbox.calls()[before..].iter().map(|call| call.operation.as_str()).collect()
}

#[tokio::test]
async fn the_command_ends_through_the_service_when_the_list_was_read() {
    let deployment = Deployment::open(&[]).await;
    add_affiliates(&deployment, 120);
    let ran = deployment.run(&["learn"]).await;
    assert_eq!(ran.out, "120 affiliates are on Refersion's list, and known by e-mail\n", "{}", ran.err);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    assert_eq!(operations_for(&deployment, "u119").await, [""; 0]);
}

#[tokio::test]
async fn one_affiliate_is_written_in_the_singular() {
    let deployment = Deployment::open(&[]).await;
    add_affiliates(&deployment, 1);
    let ran = deployment.run(&["learn"]).await;
    assert_eq!(ran.out, "1 affiliate is on Refersion's list, and known by e-mail\n", "{}", ran.err);
}

#[tokio::test]
async fn the_command_goes_on_where_it_was_interrupted_on_the_store_of_a_stopped_service() {
    let mut deployment = Deployment::open(&[]).await;
    add_affiliates(&deployment, 120);
    deployment.sandbox.script_for(Operation::List, [Fault::Pass, Fault::status(500)]);
    let failed = deployment.run(&["learn"]).await;
    assert_eq!((failed.code, &*failed.out), (Some(1), ""));
    let expected = "Refersion answered 500 to list; 100 affiliates were read, run this again to go on";
    assert!(failed.err.contains(expected), "{}", failed.err);
    deployment.stop().await;
    let base_url = [("REFERSION_BASE_URL", &*deployment.base_url)];
    let ran = deployment.run_with(&["learn", "--json"], &base_url).await;
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    let learned: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&learned["read"], &learned["total"], &learned["reading"]), (&json!(120), &json!(120), &json!(false)));
    let pages: Vec<Value> = deployment.sandbox.calls().iter().map(|call| call.body["page"].clone()).collect();
    assert_eq!(pages, ["1", "2", "2"]);
    deployment.start(&[]);
    assert_eq!(operations_for(&deployment, "u119").await, [""; 0]);
}

#[tokio::test]
async fn an_account_without_an_api_key_and_an_unknown_one_are_reported() {
    let mut deployment = Deployment::open(&[]).await;
    let unknown = deployment.run(&["learn", "--account", "nope"]).await;
    assert!(unknown.code == Some(1) && unknown.err.contains("there is no account \"nope\""), "{}", unknown.err);
    deployment.stop().await;
    let unknown = deployment.run(&["learn", "--account", "nope"]).await;
    assert!(unknown.code == Some(1) && unknown.err.contains("no API key of the account nope"), "{}", unknown.err);
}
