//! `[[accounts]]`: what an account inherits from the sections, what it sets itself, and the messages for what is refused.

use insta::assert_snapshot;
use refersion_destination::config::{AccountConfig, Config, Mode, Problems, Warning};
use refersion_destination::domain::AffiliateStatus;
use secrecy::ExposeSecret;
use std::path::PathBuf;

const KEY: (&str, &str) = ("REFERSION_API_KEY", "pub_main.sec_main");

/// Loads files of these texts, in this order; `{folder}` in a text is their folder, which is taken out of every problem.
fn load(texts: &[&str], env: &[(&str, &str)], mode: Mode) -> Result<(Config, Vec<Warning>), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let place = format!("{}/", folder.path().display());
    for (name, text) in [("key", "pub_f.sec_f\n"), ("secrets", "one\ntwo\n"), ("empty", "")] {
        std::fs::write(folder.path().join(name), text).expect("writes");
    }
    let file = |(n, text): (usize, &&str)| {
        let path = folder.path().join(format!("{n}.toml"));
        std::fs::write(&path, text.replace("{folder}/", &place)).expect("writes");
        path
    };
    let files: Vec<PathBuf> = (1..).zip(texts).map(file).collect();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(&files, env, mode).map_err(|problems: Problems| problems.to_string().replace(&place, ""))
}

fn accounts(text: &str, env: &[(&str, &str)]) -> Vec<AccountConfig> {
    load(&[text], env, Mode::Live).expect("valid").0.every_account()
}

fn problems(text: &str) -> String {
    load(&[text], &[KEY], Mode::Live).map(|_| ()).expect_err("has problems")
}

fn names(accounts: &[AccountConfig]) -> Vec<&str> {
    accounts.iter().map(|account| account.name.as_str()).collect()
}

#[test]
fn an_account_inherits_from_the_sections_the_settings_that_it_does_not_set() {
    let text = r#"
        [refersion]
        status = "ACTIVE"
        offer = 1
        concurrency = 3
        [segment]
        shared_secrets = ["of-main"]
        [mapping]
        missing_name = "?"
        custom_fields = { plan = 1, tier = 2 }
        create_if = { trait = "wants", equals = true }
        [[mapping.audiences]]
        trait = "vip"
        on_true = { status = "ACTIVE" }
        [[accounts]]
        name = "plain"
        api_key = "pub_p.sec_p"
        [[accounts]]
        name = "own-1_x"
        api_key_file = "{folder}/key"
        shared_secrets_file = "{folder}/secrets"
        base_url = "https://eu.refersion.example/v3"
        status = "PENDING"
        offer = 2
        send_welcome = true
        concurrency = 5
        max_requests_per_second = 0.5
        missing_name = "!"
        custom_fields = { tier = 9 }
        audiences = []
        create_if = {}
    "#;
    let [main, plain, own] = <[_; 3]>::try_from(accounts(text, &[KEY])).expect("three");
    assert_eq!((main.name.as_str(), main.api_key.public()), ("main", "pub_main"));
    assert_eq!(main.shared_secrets.len(), 1);
    assert_eq!((plain.name.as_str(), plain.api_key.public()), ("plain", "pub_p"));
    assert_eq!((plain.rules, plain.concurrency, plain.base_url), (main.rules.clone(), main.concurrency, main.base_url));
    assert_eq!(
        (plain.shared_secrets.len(), plain.max_requests_per_second),
        (0, None),
        "no other account has the secrets"
    );

    assert_eq!((own.name.as_str(), own.api_key.public()), ("own-1_x", "pub_f"));
    let secrets: Vec<_> = own.shared_secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["one", "two"]);
    assert_eq!(own.base_url.as_str(), "https://eu.refersion.example/v3/");
    assert_eq!((own.concurrency.get(), own.max_requests_per_second), (5, Some(0.5)));
    assert_eq!((own.rules.status, own.rules.offer.as_deref()), (AffiliateStatus::Pending, Some("2")));
    assert_eq!((own.rules.send_welcome, &*own.rules.missing_name), (true, "!"));
    let fields: Vec<_> = own.rules.custom_fields.iter().map(|field| (&*field.trait_name, &*field.id)).collect();
    assert_eq!(fields, [("tier", "9")], "a table stands instead of the section's, it is not merged");
    assert_eq!((own.rules.audiences.len(), own.rules.create_if), (0, None), "an empty one is none");
}

#[test]
fn main_is_required_only_if_there_is_no_other_account() {
    let one = "[[accounts]]\nname = \"b\"\napi_key = \"pub_b.sec_b\"\n[segment]\nshared_secrets = [\"s\"]";
    assert_eq!(names(&accounts(one, &[KEY])), ["main", "b"]);
    let (config, warnings) = load(&[one], &[], Mode::Live).expect("valid");
    assert_eq!(names(&config.every_account()), ["b"]);
    let message = warnings[0].to_string();
    let (_, message) = message.rsplit_once('/').expect("a path");
    assert_snapshot!(message, @"1.toml): belongs to the account main, which has no API key (refersion.api_key), and is not used: each of [[accounts]] has its own");
    assert!(
        load(&["accounts = []"], &[], Mode::Live).is_err_and(|message| message.contains("refersion.api_key (not set)"))
    );
    assert!(load(&["accounts = []"], &[KEY], Mode::Live).is_ok());
}

#[test]
fn a_later_file_replaces_all_accounts() {
    let of = |name: &str| format!("[[accounts]]\nname = \"{name}\"\napi_key = \"pub_{name}.sec\"");
    let (config, _) = load(&[&of("b"), &of("c"), "[log]\nformat = \"json\""], &[], Mode::Live).expect("valid");
    assert_eq!(names(&config.every_account()), ["c"]);
}

#[test]
fn every_problem_of_every_account_is_reported_at_once() {
    assert_snapshot!(problems(r#"
        [refersion]
        concurrency = 0
        [[accounts]]
        [[accounts]]
        name = "main"
        api_key = "nodot"
        status = "GONE"
        [[accounts]]
        name = "Brand B"
        api_key = "pub_b.sec_b"
        api_key_file = "key"
        shared_secrets = { a = "b" }
        shared_secret = ["x"]
        concurrency = 5000
        custom_fields = 1
        audiences = { trait = "vip" }
        create_if = { trait = "x" }
        [[accounts]]
        name = ""
        api_key_file = "{folder}/empty"
        shared_secrets_file = "{folder}/absent"
        base_url = "http://api.refersion.com"
        custom_fields = { city = "x" }
        [[accounts.audiences]]
        trait = "vip"
        on_true = { status = "PENDING" }
        [[accounts]]
        name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        api_key = 7
    "#), @r#"
    the configuration has 22 problems:
      refersion.concurrency (1.toml): found 0, expected a whole number from 1 to 1024
      accounts #1 (1.toml): found no `name`, expected the account's name
      accounts #1 (1.toml): found no `api_key`, expected `api_key` or `api_key_file`
      accounts #2.name (1.toml): found "main", which is the account of [refersion] and [segment]; expected another name
      accounts #2.api_key (1.toml): found a text without `.`; expected `publickey.secretkey`, Refersion's two keys joined by a dot
      accounts #2.status (1.toml): found "GONE", expected PENDING or ACTIVE
      accounts #3.shared_secret (1.toml): unknown setting; did you mean "shared_secrets"?
      accounts #3.name (1.toml): found "Brand B", expected a name of 1 to 40 of a–z, 0–9, `-` and `_`
      accounts #3.api_key (1.toml): found beside api_key_file, expected only one of the two
      accounts #3.shared_secrets (1.toml): found something else (not shown), expected a list of texts
      accounts #3.custom_fields (1.toml): found a number, expected a table, such as [accounts.custom_fields]
      accounts #3.audiences (1.toml): found a table, expected a list of tables: [[accounts.audiences]]
      accounts #3.concurrency (1.toml): found 5000, expected a whole number from 1 to 1024
      accounts #3.create_if (1.toml): found no `equals`, expected `trait` and `equals`
      accounts #4.name (1.toml): found "", expected a name of 1 to 40 of a–z, 0–9, `-` and `_`
      accounts #4.api_key_file (1.toml): found "empty", which is empty; expected a file that holds the secret
      accounts #4.shared_secrets_file (1.toml): found "absent", which cannot be read: No such file or directory (os error 2); expected the path of the secret's file
      accounts #4.base_url (1.toml): found "http://api.refersion.com", expected https: API keys must not be sent unencrypted (http only to a loopback address, or with REFERSION_ALLOW_PLAIN_HTTP=true)
      accounts #4.custom_fields.city (1.toml): found "x", expected an id of Refersion's: digits, such as "1234"
      accounts #4.audiences #1.on_true.status (1.toml): found "PENDING", expected ACTIVE, DENIED or DISABLED
      accounts #5.name (1.toml): found a text (not shown), expected a name of 1 to 40 of a–z, 0–9, `-` and `_`
      accounts #5.api_key (1.toml): found no text (not shown), expected `publickey.secretkey` in quotes
    "#);
    assert_snapshot!(problems("accounts = [\"pub.sec\", 7]"), @r#"
    the configuration has 2 problems:
      accounts #1 (1.toml): found a text, expected a table with `name` and `api_key`
      accounts #2 (1.toml): found a number, expected a table with `name` and `api_key`
    "#);
    assert_snapshot!(problems("[accounts]\nname = \"b\""), @r#"
    the configuration has a problem:
      accounts (1.toml): found a table, expected a list of tables: [[accounts]]
    "#);
}

#[test]
fn two_accounts_have_different_names_and_keys() {
    assert_snapshot!(problems(r#"
        [refersion]
        concurrency = "many"
        [[accounts]]
        name = "b"
        api_key = "pub_main.sec_main"
        [[accounts]]
        name = "b"
        api_key = "pub_f.sec_f"
        [[accounts]]
        name = "c"
        api_key_file = "{folder}/key"
        [[accounts]]
        name = "d"
        api_key = "pub_main.another"
    "#), @r#"
    the configuration has 5 problems:
      refersion.concurrency (1.toml): found "many", expected a whole number from 1 to 1024
      accounts #2.name (1.toml): found "b" again; expected each name once
      REFERSION_API_KEY (environment) and accounts #1.api_key (1.toml): found the same public key in both, expected an account of Refersion's for each
      accounts #2.api_key (1.toml) and accounts #3.api_key_file (1.toml): found the same public key in both, expected an account of Refersion's for each
      REFERSION_API_KEY (environment) and accounts #4.api_key (1.toml): found the same public key in both, expected an account of Refersion's for each
    "#);
}

#[test]
fn a_trial_simulates_only_main() {
    let text = "[[accounts]]\nname = \"b\"\napi_key = \"pub_b.sec_b\"";
    let message = load(&[text], &[KEY], Mode::Sandbox).map(|_| ()).expect_err("refused");
    assert_snapshot!(message, @r#"
    the configuration has a problem:
      accounts (1.toml): found 1, expected none with --sandbox, which simulates the account main alone
    "#);
    assert!(load(&[text], &[KEY], Mode::Offline).is_ok());
}

#[test]
fn no_secret_of_an_account_is_printed() {
    for text in [
        "[[accounts]]\nname = \"b\"\napi_key = \"pub_b.hunter2\"\nshared_secrets = [\"hunter2\"]",
        "[[accounts]]\nname = \"pub_b.hunter2\"",
        "[[accounts]]\nname = [\"hunter2\"]\napi_key = [\"hunter2\"]",
        "[[accounts]]\napi_key = \"hunter2\"\nshared_secrets = { a = \"hunter2\" }",
        "[[accounts]]\napi_key_file = \"pub.hunter2\"\nshared_secrets_file = [\"hunter2\"]",
        "[[accounts]]\nkey = \"hunter2\"\nsecret = \"hunter2\"",
        "[[accounts]]\nname = \"main\"\napi_key = \"pub_main.hunter2\"",
        "accounts = [\"hunter2\"]",
        "accounts = \"hunter2\"",
        "[accounts]\napi_key = \"hunter2\"",
    ] {
        let message = match load(&[text], &[KEY], Mode::Live) {
            Ok((config, warnings)) => format!("{config:?} {warnings:?}"),
            Err(problems) => problems,
        };
        assert!(!message.contains("hunter2"), "{text:?}: {message}");
    }
}
