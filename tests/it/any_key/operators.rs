//! The operators' API and commands if no account is configured.

use super::{ANN, ANY, BOB, Partner};
use crate::support::process::binary;
use crate::support::{API_KEY, Answer, OPS_TOKEN, identify, within};
use refersion_destination::sandbox::{Fault, Operation};
use reqwest::Method;
use serde_json::{Value, json};

/// Runs a command while the service runs. Returns its exit code, standard output and standard error.
async fn run(partner: &Partner, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let store = format!("sqlite://{}/store.db", partner.service.folder.path().display());
    let ops = partner.service.addresses.ops.to_string();
    let mut command = binary();
    command.args(arguments).envs([("STORE_URL", &*store), ("OPS_LISTEN", &*ops), ("OPS_TOKEN", OPS_TOKEN)]).envs(ANY);
    command.envs(settings.iter().copied());
    let ran = tokio::task::spawn_blocking(move || command.output().expect("ends"));
    let ran = within(ran).await.expect("waits");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

/// Asks the operators' API with the token.
async fn ask(partner: &Partner, method: Method, path: &str) -> Answer {
    let url = format!("http://{}/api/v1/{path}", partner.service.addresses.ops);
    Answer::to(partner.service.http.request(method, url).bearer_auth(OPS_TOKEN)).await
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
async fn the_token_opens_the_dead_letters_of_every_account() {
    let partner = with_dead_letter().await;
    let (code, out, err) = run(&partner, &["dead-letters", "list", "--json"], &[]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(&partner.kept()[0].0) && out.contains("refused"), "{out}");
    let partner = partner.again(&[("REFERSION_API_KEY", API_KEY)]).await;
    let (code, out, err) = run(&partner, &["dead-letters", "list"], &[]).await;
    assert!(code == Some(0) && out.contains("key-"), "{out}{err}");
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
    // Without the settings of the service, too, the choice is the service's.
    for settings in [&[("SEGMENT_ACCEPT_ANY_API_KEY", "false")][..], &[("REFERSION_API_KEY", API_KEY)], &[]] {
        for command in ["forget", "lookup"] {
            let (code, out, err) = run(&partner, &[command, "--user-id", "u1"], settings).await;
            assert!(code == Some(1) && err.contains("`account` is missing"), "{command} {settings:?}: {out}{err}");
        }
    }
    let name = partner.kept()[0].0.clone();
    let (code, out, err) = run(&partner, &["forget", "--user-id", "u1", "--account", &name], &[]).await;
    assert_eq!((code, out), (Some(0), format!("erased in account {name}: 1 dead letter\n")), "{err}");
}

#[tokio::test]
async fn kept_keys_are_listed_and_found_by_the_public_half_and_never_shown() {
    let partner = Partner::start(&[]).await;
    for key in [ANN, BOB] {
        partner.refersions.accept(key);
        assert_eq!(partner.send(key, &identify("m1", "u1", &Value::Null)).await.brief(), "200 delivered");
    }
    let kept: Vec<String> = partner.kept().into_iter().map(|(name, _)| name).collect();
    let key = |account: &str| json!({"account": account, "pending": 0});
    let all = ask(&partner, Method::GET, "keys").await;
    assert_eq!(all.json(), json!({"keys": [key(&kept[0]), key(&kept[1])], "next": null}));
    let first = ask(&partner, Method::GET, "keys?limit=1").await.json();
    assert_eq!(first, json!({"keys": [key(&kept[0])], "next": kept[0]}));
    let rest = ask(&partner, Method::GET, &format!("keys?limit=1&after={}", kept[0])).await.json();
    assert_eq!(rest, json!({"keys": [key(&kept[1])], "next": null}));
    for public in ["pub_ann", "pub_bob"] {
        let found = ask(&partner, Method::GET, &format!("keys?public_key={public}")).await.json();
        assert_eq!(found["keys"].as_array().map(Vec::len), Some(1), "{public}: {found}");
    }
    let unknown = ask(&partner, Method::GET, "keys?public_key=pub_eve").await.json();
    assert_eq!(unknown, json!({"keys": [], "next": null}));
    for secret in ["pub_ann", "sec_ann", "pub_bob", "sec_bob"] {
        assert!(!all.text.contains(secret), "{}", all.text);
    }
}

#[tokio::test]
async fn a_removed_key_delivers_nothing_more_until_it_arrives_again() {
    let partner = Partner::start(&[("SERVER_WAIT", "0s")]).await;
    let ann = partner.refersions.accept(ANN);
    ann.script_for(Operation::New, [Fault::too_many_calls(Some(5))]);
    assert_eq!(partner.send(ANN, &identify("m1", "u1", &Value::Null)).await.brief(), "202 accepted");
    within(ann.until(|ann| ann.pending_faults() == 0)).await;
    let (account, verified) = (partner.kept()[0].0.clone(), partner.refersions.verifications(ANN));
    let path = format!("keys/{account}");
    let removed = ask(&partner, Method::DELETE, &path).await;
    assert_eq!((removed.status, removed.json()), (200, json!({"account": account, "pending": 1})));
    assert_eq!((partner.kept(), ask(&partner, Method::DELETE, &path).await.status), (vec![], 404));
    let gone = ask(&partner, Method::GET, &format!("accounts/{account}")).await.json();
    assert_eq!((&gone["state"], &gone["pending"]), (&"no_worker".into(), &1.into()), "{gone}");
    let backlog = ask(&partner, Method::GET, &format!("backlog?account={account}")).await.json();
    assert_eq!(backlog["events"].as_array().map(Vec::len), Some(1), "its events stay: {backlog}");

    assert_eq!(partner.send(ANN, &identify("m2", "u2", &Value::Null)).await.brief(), "202 accepted");
    assert!(partner.refersions.verifications(ANN) > verified, "it is verified anew");
    assert_eq!(partner.kept()[0].0, account, "it is the same account");
    within(ann.until(|ann| ann.affiliates().len() == 2)).await;
    partner.service.until_drained().await;
    assert_eq!(ann.affiliates().len(), 2, "each event was delivered once");
}

#[tokio::test]
async fn an_account_with_pending_events_is_gone_only_once_its_kept_key_is_removed() {
    let partner = Partner::start(&[]).await;
    partner.refersions.accept(ANN).script_for(Operation::New, [Fault::too_many_calls(Some(3_600))]);
    partner.send(ANN, &json!([identify("m1", "u1", &Value::Null)])).await;
    let partner = partner.again(&[("SEGMENT_ACCEPT_ANY_API_KEY", "false"), ("REFERSION_API_KEY", API_KEY)]).await;
    let name = partner.kept()[0].0.clone();
    for (gone, then) in [(false, Method::DELETE), (true, Method::GET)] {
        assert_eq!(ask(&partner, Method::GET, &format!("accounts/{name}")).await.json()["gone"], gone);
        ask(&partner, then, &format!("keys/{name}")).await;
    }
}

#[tokio::test]
async fn the_service_stops_in_order_although_the_refersion_of_a_merchant_hangs() {
    let partner = Partner::start(&[("REFERSION_TIMEOUT", "1h"), ("SERVER_DRAIN", "50ms")]).await;
    let ann = partner.refersions.accept(ANN);
    assert_eq!(partner.send(ANN, &identify("m0", "u0", &Value::Null)).await.brief(), "200 delivered");
    ann.script([Fault::Hang { effect: false }]);
    let event = identify("m1", "u1", &Value::Null);
    let send = partner.service.http.post(partner.service.url("/segment"));
    let send = send.header("Authorization", crate::support::basic(ANN));
    let response = tokio::spawn(Answer::to(send.body(event.to_string())));
    within(ann.until(|ann| ann.pending_faults() == 0)).await;
    let partner = partner.again(&[]).await;
    assert_eq!(within(response).await.expect("answered").brief(), "202 accepted", "a response that waits is sent");
    within(ann.until(|ann| ann.affiliates().len() == 2)).await;
    assert_eq!(partner.send(ANN, &json!([event])).await.brief(), "200 duplicate");
}
