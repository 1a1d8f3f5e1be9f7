//! `email-conflicts`: affiliates that keep their e-mail because the new one is another affiliate's, through a running service and on
//! the store of a stopped one.

use super::Deployment;
use crate::support::identify;
use serde_json::{Value, json};

/// Two users, of which the first then states the e-mail of the second; the first one's affiliate as `(code, id)`.
async fn conflict(deployment: &Deployment) -> (String, u64) {
    for user in ["u1", "u2"] {
        deployment.send(&identify(user, user, &json!({}))).await;
    }
    let event = identify("m3", "u1", &json!({"email": "u2@example.com", "city": "Oslo"}));
    let answer = deployment.process().send(&event).await.expect("an answer");
    assert_eq!((answer.brief().as_str(), answer.json()["action"].as_str()), ("200 delivered", Some("updated")));
    assert!(answer.message().contains("belongs to another affiliate"), "{}", answer.message());
    let affiliate = deployment.sandbox.affiliate("u1@example.com").expect("it kept its e-mail");
    assert_eq!(affiliate.field("city"), "Oslo");
    (affiliate.code.0, affiliate.id.0)
}

#[tokio::test]
async fn the_list_names_the_account_and_both_ids_of_each_affiliate_and_nothing_personal() {
    let mut deployment = Deployment::open(&[]).await;
    assert_eq!(deployment.run(&["email-conflicts"]).await.err, "no e-mail conflicts\n");
    let (code, id) = conflict(&deployment).await;
    for _ in ["a running service", "its store"] {
        let ran = deployment.run(&["email-conflicts"]).await;
        assert_eq!((ran.code, &*ran.err), (Some(0), ""));
        let words: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words, [vec!["ACCOUNT", "AFFILIATE", "ID"], vec!["main", &code, &id.to_string()]], "{}", ran.out);
        let ran = deployment.run(&["email-conflicts", "--json", "--account", "main"]).await;
        let lines = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        assert_eq!(lines.collect::<Vec<_>>(), [json!({"account": "main", "code": code, "id": id})]);
        if deployment.process.is_some() {
            deployment.stop().await;
        }
    }
}

#[tokio::test]
async fn a_conflict_is_over_once_the_e_mail_could_be_changed() {
    let deployment = Deployment::open(&[]).await;
    conflict(&deployment).await;
    deployment.send(&identify("m4", "u1", &json!({"email": "free@example.com"}))).await;
    assert!(deployment.sandbox.affiliate("free@example.com").is_some());
    assert_eq!(deployment.run(&["email-conflicts"]).await.err, "no e-mail conflicts\n");
}
