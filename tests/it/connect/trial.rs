//! A newcomer connects a source in a trial: `serve --sandbox` says where, and the simulated Segment is clicked through.

use super::Browser;
use crate::support::process::binary;
use crate::support::{http, within};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

/// A command that is killed at the end.
struct Trial(Child);

impl Drop for Trial {
    fn drop(&mut self) {
        // Err: it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a command; what it prints up to and with the line that contains `last`.
fn start(arguments: &[&str], environment: &[(&str, &str)], last: &str) -> (Trial, String) {
    let mut command = binary();
    command.args(arguments).envs(environment.iter().copied()).stderr(Stdio::null());
    let mut child = command.spawn().expect("starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let (trial, mut text) = (Trial(child), String::new());
    while !text.lines().last().is_some_and(|line| line.contains(last)) {
        assert!(out.read_line(&mut text).expect("text") > 0, "ended too early:\n{text}");
    }
    (trial, text)
}

fn url(text: &str, suffix: &str) -> String {
    let found = text.split_whitespace().find(|word| word.starts_with("http://") && word.ends_with(suffix));
    found.unwrap_or_else(|| panic!("no {suffix} in {text}")).to_owned()
}

async fn click_through(connect: &str, key: &str) -> String {
    let service = connect.trim_end_matches("/connect");
    let mut browser = Browser::new(service);
    let asked = browser.enter(key).await;
    let callback = browser.decide(&asked, "backend", "allow").await;
    let page = browser.get(callback.trim_start_matches(service)).await;
    assert_eq!(page.brief(), "200 Your source is connected");
    let segment = asked.split_once("/oauth2").expect("Segment").0;
    let shown = within(http().get(segment).send()).await.expect("an answer");
    shown.text().await.expect("text")
}

#[tokio::test]
async fn a_trial_is_clicked_through_to_the_end() {
    let environment = [("SERVER_LISTEN", "127.0.0.1:0"), ("OPS_LISTEN", "127.0.0.1:0")];
    let (_trial, printed) = start(&["serve", "--sandbox"], &environment, "Stop with Ctrl-C");
    let workspace = click_through(&url(&printed, "/connect"), "pub_sandbox.sec_sandbox").await;
    assert!(workspace.contains("<td>backend</td><td><span class=\"good\">on</span>"), "{workspace}");
    assert!(workspace.contains("pub_sandbox.…") && !workspace.contains("sec_sandbox"), "{workspace}");
}

#[tokio::test]
async fn a_simulated_segment_by_itself_prints_the_settings_of_a_service_that_uses_it() {
    let listen = ["sandbox", "--listen", "127.0.0.1:0", "--segment", "--segment-listen", "127.0.0.1:0"];
    let redirect = format!("{}/connect/callback", super::BEHIND);
    let (_sandbox, printed) = start(&[&listen[..], &["--redirect-url", &redirect]].concat(), &[], "STORE_SEAL_KEY");
    let setting = |name: &str| {
        let line = printed.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name} in {printed}")).to_owned()
    };
    let names = ["CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URL", "AUTH_BASE_URL", "API_BASE_URL"];
    let settings: Vec<(String, String)> =
        names.iter().map(|name| format!("CONNECT_{name}")).map(|name| (name.clone(), setting(&name))).collect();
    let base = printed.strip_prefix("base URL: ").and_then(|rest| rest.lines().next()).expect("the base URL");
    let folder = tempfile::tempdir().expect("a folder");
    let mut environment: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    environment.push(("STORE_SEAL_KEY", super::SEAL));
    let process = crate::support::process::Process::start(base, folder.path(), &environment);
    let mut browser = Browser::new(&process.server);
    let asked = browser.enter(crate::support::API_KEY).await;
    let callback = browser.decide(&asked, "website", "allow").await;
    assert_eq!(browser.get(&callback).await.brief(), "200 Your source is connected");
}
