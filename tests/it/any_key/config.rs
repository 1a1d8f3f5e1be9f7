//! `accept_any_api_key` and `seal_key`: what is required, and the messages for what is refused.

use super::{ANY, OTHER_SEAL, SEAL};
use crate::support::process::binary;
use crate::support::within;
use insta::assert_snapshot;
use refersion_destination::config::{Config, Mode, Warning};

const MODE: (&str, &str) = ("SEGMENT_ACCEPT_ANY_API_KEY", "true");

fn load(env: &[(&str, &str)], mode: Mode) -> Result<(Config, Vec<Warning>), String> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(&[], env, mode).map_err(|problems| problems.to_string())
}

fn problems(env: &[(&str, &str)], mode: Mode) -> String {
    load(env, mode).map(|_| ()).expect_err("has problems")
}

#[test]
fn a_seal_key_is_required_and_an_api_key_is_not() {
    let (config, warnings) = load(&ANY, Mode::Live).expect("valid");
    assert!(config.segment.accept_any_api_key && config.every_account().is_empty());
    assert_eq!((config.store.seal_keys.len(), warnings), (1, vec![]));
    assert_snapshot!(problems(&[MODE], Mode::Live), @"
    the configuration has a problem:
      store.seal_key (not set): required where any API key is accepted (segment.accept_any_api_key), which the store keeps sealed only: set STORE_SEAL_KEY, or STORE_SEAL_KEY_FILE to a file that holds it, to what `openssl rand -base64 32` prints
    ");
    assert!(problems(&[], Mode::Live).contains("refersion.api_key (not set)"));
    assert!(problems(&[("STORE_SEAL_KEY", SEAL)], Mode::Live).contains("refersion.api_key (not set)"));
    assert!(load(&[MODE], Mode::Offline).is_ok());
}

#[test]
fn a_trial_simulates_only_main() {
    assert_snapshot!(problems(&ANY, Mode::Sandbox), @r#"
    the configuration has a problem:
      SEGMENT_ACCEPT_ANY_API_KEY (environment): found "true", expected false with --sandbox, which simulates the account main alone
    "#);
}

#[test]
fn seal_keys_are_32_bytes_as_base64_or_hex_and_never_printed() {
    let (config, _) =
        load(&[MODE, ("STORE_SEAL_KEY", &format!("{SEAL}, {OTHER_SEAL},\n"))], Mode::Live).expect("valid");
    assert_eq!(config.store.seal_keys.len(), 2);
    let message = format!("{config:?}");
    assert!(!message.contains(SEAL) && !message.contains(OTHER_SEAL) && !message.contains("115, 101"), "{message}");
    for wrong in ["hunter2", &SEAL[1..], &OTHER_SEAL[1..], &format!("{SEAL},hunter2"), &format!("{SEAL}{SEAL}"), ","] {
        let message = problems(&[MODE, ("STORE_SEAL_KEY", wrong)], Mode::Live);
        assert!(!message.contains("hunter2") && !message.contains(&SEAL[1..40]), "{message}");
        assert!(
            message.contains("STORE_SEAL_KEY (environment): found another text (not shown), expected 32 random bytes"),
            "{message}"
        );
    }
    assert_snapshot!(problems(&[MODE, ("STORE_SEAL_KEY", "hunter2")], Mode::Live), @"
    the configuration has a problem:
      STORE_SEAL_KEY (environment): found another text (not shown), expected 32 random bytes as base64 or hex, as `openssl rand -base64 32` prints them; of several, the first seals and all open
    ");
}

#[test]
fn shared_secrets_without_main_are_reported_as_unused() {
    let (_, warnings) = load(&[ANY[0], ANY[1], ("SEGMENT_SHARED_SECRETS", "hunter2")], Mode::Live).expect("valid");
    let message: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(message.join("\n"), @"SEGMENT_SHARED_SECRETS (environment): belongs to the account main, which has no API key (refersion.api_key), and is not used: an account whose API key arrives with its requests has none");
}

#[tokio::test]
async fn a_seal_key_is_read_from_a_file_and_check_reports_a_missing_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("seal");
    std::fs::write(&file, format!("{SEAL}\n{OTHER_SEAL}\n")).expect("writes");
    let check = async |env: Vec<(&'static str, String)>| {
        let mut command = binary();
        command.arg("check").envs([MODE]).envs(env);
        let ran = tokio::task::spawn_blocking(move || command.output().expect("ends"));
        let ran = within(ran).await.expect("waits");
        (
            ran.status.code(),
            String::from_utf8_lossy(&ran.stdout).into_owned(),
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    let (code, out, err) = check(vec![("STORE_SEAL_KEY_FILE", file.display().to_string())]).await;
    assert_eq!((code, &*err), (Some(0), ""));
    let expected = "\nany other API key: verified with https://api.refersion.com/v2/ when it first arrives\n";
    assert!(out.starts_with("configuration: no problem\n") && out.ends_with(expected), "{out}");
    let (code, out, err) = check(vec![]).await;
    assert_eq!((code, &*out), (Some(64), ""));
    assert!(err.contains("store.seal_key (not set): required"), "{err}");
}
