//! Events of an account that was removed from the configuration: kept, logged, and delivered once the account is back.

use super::Two;
use crate::support::process::binary;
use crate::support::service::Service;
use crate::support::{API_KEY, within};
use refersion_destination::sandbox::Fault;
use std::io::{BufRead, BufReader};

/// What `serve` logs on the store in `url` until it listens, where `main` is the only account.
async fn log_of_main_alone(url: String) -> String {
    let own = [("REFERSION_API_KEY", API_KEY), ("STORE_URL", &url)];
    let anywhere = [("SERVER_LISTEN", "127.0.0.1:0"), ("OPS_LISTEN", "127.0.0.1:0")];
    let mut child = binary().arg("serve").envs(own).envs(anywhere).spawn().expect("starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        while !text.contains("webhook on") && log.read_line(&mut text).expect("text") > 0 {}
        text
    });
    let text = within(read).await.expect("reads");
    child.kill().expect("running");
    child.wait().expect("ends");
    text
}

#[tokio::test]
async fn events_of_an_account_that_is_no_longer_configured_are_kept_and_logged() {
    let two = Two::start(&[], "concurrency = 1").await;
    two.other.sandbox.script([Fault::too_many_calls(Some(3600))]);
    two.backlog_of_other(3).await;
    two.other.until(|sandbox| sandbox.calls_total() == 1).await;
    let (refersion, folder) = two.main.stop().await;

    let log = log_of_main_alone(format!("sqlite://{}/store.db", folder.path().display())).await;
    let line = log.lines().find(|line| line.contains("an account that is not configured has pending events"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("WARN") && line.contains("account=other ") && line.contains("events=3"), "{line}");

    let file = folder.path().join("accounts.toml");
    let again = Service::configured(refersion, folder, &[], &[file]).await;
    two.other.until(|sandbox| sandbox.affiliates().len() == 3).await;
    again.until_drained().await;
}
