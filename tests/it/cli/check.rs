//! `check` and `healthcheck`: what is wrong is told, a secret never is.

use super::run;
use crate::support::API_KEY;
use crate::support::service::{Refersion, Service};
use insta::assert_snapshot;
use refersion_destination::sandbox::Fault;

#[tokio::test]
async fn every_problem_of_the_configuration_is_told_at_once() {
    let environment =
        [("REFERSION_API_KEY", "nodot-marker"), ("REFERSION_TIMEOUT", "10"), ("DELIVERY_RETRY_MEN", "1s")];
    let ran = run(&["check"], &environment, "").await;
    assert_eq!((ran.code, &*ran.out), (Some(64), ""));
    assert_snapshot!(ran.err, @r#"
    the configuration has 3 problems:
      DELIVERY_RETRY_MEN (environment): unknown setting; did you mean DELIVERY_RETRY_MIN?
      REFERSION_API_KEY (environment): found a text without `.`; expected `publickey.secretkey`, Refersion's two keys joined by a dot
      REFERSION_TIMEOUT (environment): found "10", expected a duration with a unit, such as "10s" or "5m"
    "#);
}

#[tokio::test]
async fn a_key_is_proved_by_one_cheap_call_and_never_printed() {
    let refersion = Refersion::start().await;
    let base = ("REFERSION_BASE_URL", refersion.base_url.as_str());
    let proved = run(&["check"], &[base, ("REFERSION_API_KEY", API_KEY)], "").await;
    assert_eq!((proved.code, &*proved.err), (Some(0), ""));
    let out = proved.out.replace(&refersion.base_url, "BASE");
    assert_eq!(out, "configuration: no problem\naccount main: BASE/ accepts the API key pub_test.…\n");
    assert_eq!(refersion.operations(), ["list"]);

    let refused = run(&["check"], &[base, ("REFERSION_API_KEY", "pub_test.marker")], "").await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("refuses the API key pub_test.…; compare it"), "{}", refused.err);
    assert!(!format!("{}{}", refused.out, refused.err).contains("marker"), "{}", refused.err);

    refersion.sandbox.script([Fault::html(200)]);
    let page = run(&["check"], &[base, ("REFERSION_API_KEY", API_KEY)], "").await;
    assert_eq!(page.code, Some(1));
    assert!(page.err.ends_with("Refersion answered 200 to list without the expected fields\n"), "{}", page.err);
}

#[tokio::test]
async fn an_unreachable_refersion_proves_nothing() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let base = format!("http://{closed}/v2");
    let ran = run(&["check"], &[("REFERSION_BASE_URL", &base), ("REFERSION_API_KEY", "pub_test.marker")], "").await;
    assert_eq!(ran.code, Some(1));
    let expected =
        format!("account main: cannot verify the API key pub_test.… with {base}/: no connection to Refersion\n");
    assert_eq!(ran.err, expected);
}

#[tokio::test]
async fn a_probe_of_health_says_whether_somebody_is_well() {
    let service = Service::start(&[]).await;
    let ops = service.addresses.ops.to_string();
    let well = run(&["healthcheck"], &[("OPS_LISTEN", &ops)], "").await;
    assert_eq!((well.code, &*well.out), (Some(0), "healthy\n"));
    let ready = run(&["healthcheck", &format!("http://{ops}/readyz")], &[], "").await;
    assert_eq!(ready.code, Some(0));
    let wrong = run(&["healthcheck", &format!("http://{ops}/nowhere")], &[], "").await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.ends_with("/nowhere answered 404\n"), "{}", wrong.err);
    service.stop().await;
    let gone = run(&["healthcheck"], &[("OPS_LISTEN", &ops)], "").await;
    assert_eq!(gone.code, Some(1));
    assert!(gone.err.contains("Connection refused"), "{}", gone.err);
}

#[tokio::test]
async fn the_key_of_every_account_is_proved_and_reported() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("accounts.toml");
    let account = |name: &str, key: &str| format!("[[accounts]]\nname = \"{name}\"\napi_key = \"{key}\"\n");
    let text = account("wrong", "pub_w.marker") + &account("unsaid", "pub_u.marker");
    std::fs::write(&file, text).expect("writes");
    let environment = [("REFERSION_BASE_URL", refersion.base_url.as_str()), ("REFERSION_API_KEY", API_KEY)];
    let file = file.to_str().expect("UTF-8");
    let ran = run(&["check", "--config", file], &environment, "").await;
    assert_eq!(ran.code, Some(1), "one account that is not well is enough");
    let out = ran.out.replace(&refersion.base_url, "BASE");
    assert_eq!(out, "configuration: no problem\naccount main: BASE/ accepts the API key pub_test.…\n");
    let told: Vec<_> = ran.err.lines().filter_map(|line| line.split_once("; compare")).map(|(line, _)| line).collect();
    let refuses =
        |name: &str, public: &str| format!("account {name}: {}/ refuses the API key {public}.…", refersion.base_url);
    assert_eq!(told, [refuses("wrong", "pub_w"), refuses("unsaid", "pub_u")]);
    assert!(!format!("{}{}", ran.out, ran.err).contains("marker"), "{}", ran.err);
    assert_eq!(refersion.operations(), ["list"; 3], "one cheap call each");
    let trial = run(&["serve", "--sandbox", "--config", file], &[], "").await;
    assert_eq!(trial.code, Some(64));
    assert!(trial.err.contains("expected none with --sandbox"), "{}", trial.err);
}
