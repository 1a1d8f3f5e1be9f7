//! The commands of operators if no account is configured.

use super::{ANN, ANY, Partner, SEAL};
use crate::support::process::binary;
use crate::support::{API_KEY, Answer, basic, identify, within};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

/// Runs a command while the service runs. Returns its exit code, standard output and standard error.
async fn run(partner: &Partner, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let store = format!("sqlite://{}/store.db", partner.service.folder.path().display());
    let ops = partner.service.addresses.ops.to_string();
    let mut command = binary();
    command.args(arguments).envs([("STORE_URL", &*store), ("OPS_LISTEN", &*ops)]).envs(ANY);
    command.envs(settings.iter().copied());
    let ran = tokio::task::spawn_blocking(move || command.output().expect("ends"));
    let ran = within(ran).await.expect("waits");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

/// A service with one dead letter of a merchant.
async fn with_dead_letter() -> Partner {
    let partner = Partner::start(&[]).await;
    let ann = partner.refersions.accept(ANN);
    ann.script_for(Operation::New, [Fault::unprocessable("no"), Fault::unprocessable("no")]);
    assert_eq!(partner.send(ANN, &identify("m1", "u1", &Value::Null)).await.brief(), "400 rejected");
    partner
}

#[tokio::test]
async fn without_a_configured_account_dead_letters_need_the_key_derived_from_the_seal_key() {
    let partner = with_dead_letter().await;
    let (code, out, err) = run(&partner, &["dead-letters", "list", "--json"], &[]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(&partner.kept()[0].0) && out.contains("refused"), "{out}");
    let other = [("STORE_SEAL_KEY", super::OTHER_SEAL)];
    let (code, _, err) = run(&partner, &["dead-letters", "list"], &other).await;
    assert!(code == Some(1) && err.contains("answered 401"), "{err}");

    let raw = String::from_utf8(STANDARD.decode(SEAL).expect("base64")).expect("text");
    let url = format!("http://{}/dead-letters", partner.service.addresses.ops);
    for key in [SEAL, &raw, &format!("operator.{SEAL}"), &format!("operator.{raw}"), ANN, API_KEY, ""] {
        let request = partner.service.http.post(&url).header("Authorization", basic(key)).body("{}");
        assert_eq!(Answer::to(request).await.brief(), "401 unauthorized", "{key}");
    }
    assert_eq!(Answer::to(partner.service.http.post(&url).body("{}")).await.brief(), "401 unauthorized");
}

#[tokio::test]
async fn a_replay_wakes_the_worker_of_an_idle_merchant() {
    let partner = with_dead_letter().await.again(&[]).await;
    assert_eq!(partner.ready().await["merchants"]["at_work"], 0);
    let (code, _, err) = run(&partner, &["dead-letters", "replay", "--all"], &[]).await;
    assert_eq!(code, Some(0), "{err}");
    let ann = partner.refersions.accept(ANN);
    within(ann.until(|ann| ann.affiliates().len() == 1)).await;
    partner.service.until_drained().await;
}

#[tokio::test]
async fn forget_requires_an_account_if_none_is_configured() {
    let partner = with_dead_letter().await;
    let (code, _, err) = run(&partner, &["forget", "--user-id", "u1"], &[]).await;
    assert_eq!(code, Some(1));
    assert!(
        err.contains("no account is configured and any API key is accepted: name the user's account with --account"),
        "{err}"
    );
    let name = partner.kept()[0].0.clone();
    let (code, out, err) = run(&partner, &["forget", "--user-id", "u1", "--account", &name], &[]).await;
    assert_eq!((code, &*out), (Some(0), "erased: 1 dead letter\n"), "{err}");
}

#[tokio::test]
async fn the_key_of_a_configured_account_opens_the_dead_letters_of_all() {
    let partner = Partner::start(&[("REFERSION_API_KEY", API_KEY)]).await;
    let ann = partner.refersions.accept(ANN);
    ann.script_for(Operation::New, [Fault::unprocessable("no"), Fault::unprocessable("no")]);
    assert_eq!(partner.send(ANN, &identify("m1", "u1", &Value::Null)).await.brief(), "400 rejected");
    let (code, out, err) = run(&partner, &["dead-letters", "list"], &[("REFERSION_API_KEY", API_KEY)]).await;
    assert!(code == Some(0) && out.contains("key-"), "{out}{err}");
}

#[tokio::test]
async fn the_service_stops_in_order_although_the_refersion_of_a_merchant_hangs() {
    let partner = Partner::start(&[("REFERSION_TIMEOUT", "1h"), ("SERVER_DRAIN", "50ms")]).await;
    let ann = partner.refersions.accept(ANN);
    assert_eq!(partner.send(ANN, &identify("m0", "u0", &Value::Null)).await.brief(), "200 delivered");
    ann.script([Fault::Hang { effect: false }]);
    let event = identify("m1", "u1", &Value::Null);
    let send = partner.service.http.post(partner.service.url("/segment")).header("Authorization", basic(ANN));
    let response = tokio::spawn(Answer::to(send.body(event.to_string())));
    within(ann.until(|ann| ann.pending_faults() == 0)).await;
    let partner = partner.again(&[]).await;
    assert_eq!(within(response).await.expect("answered").brief(), "202 accepted", "a response that waits is sent");
    within(ann.until(|ann| ann.affiliates().len() == 2)).await;
    assert_eq!(partner.send(ANN, &json!([event])).await.brief(), "200 duplicate");
}
