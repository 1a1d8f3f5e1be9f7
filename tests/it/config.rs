//! The configuration: its manual, the order of its layers, the values it rejects, and the exact messages.

use insta::assert_snapshot;
use refersion_destination::config::{
    Config, LogFormat, MANUAL, Mode, Problems, SETTINGS, StoreUrl, ValueKind, Warning,
};
use refersion_destination::delivery::{OnDelete, OnExisting};
use refersion_destination::domain::AffiliateStatus;
use refersion_destination::mapping::{Audience, CreateIf, CustomField, Effect, Rules};
use secrecy::ExposeSecret;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const KEY: (&str, &str) = ("REFERSION_API_KEY", "pub_abc.sec_abc");
const SEAL: &str = "c2VhbC1rZXktb25lLW9mLXRoaXJ0eS10d28tYnl0ZXM=";

/// A temporary folder with files. Its path is removed from messages.
struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("writes");
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, files: &[&str], env: &[(&str, &str)], mode: Mode) -> Result<(Config, Vec<Warning>), Problems> {
        let files: Vec<_> = files.iter().map(|name| self.path(name)).collect();
        Config::load(&files, env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), mode)
    }

    fn problems(&self, files: &[&str], env: &[(&str, &str)], mode: Mode) -> String {
        let problems = self.load(files, env, mode).map(|_| ()).expect_err("has problems");
        problems.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// The configuration from an environment alone.
fn from_env(env: &[(&str, &str)]) -> Result<(Config, Vec<Warning>), Problems> {
    Folder::with(&[]).load(&[], env, Mode::Offline)
}

fn problem_of(env: &[(&str, &str)]) -> String {
    let problems = from_env(env).map(|_| ()).expect_err("has a problem");
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The configuration from one file.
fn from_file(text: &str) -> Result<Config, Problems> {
    let folder = Folder::with(&[("it.toml", text)]);
    folder.load(&["it.toml"], &[], Mode::Offline).map(|(config, _)| config)
}

fn problems_of_file(text: &str) -> String {
    Folder::with(&[("it.toml", text)]).problems(&["it.toml"], &[], Mode::Offline)
}

#[test]
fn all_problems_are_reported_at_once_in_a_stable_order() {
    let folder = Folder::with(&[
        (
            "partner.toml",
            r#"
            timeout = "10s"
            [refersion]
            tmeout = "3s"
            concurrency = 0
            base_url = "http://api.refersion.com/v2"
            [sever]
            listen = ":8080"
            [delivery]
            retry_max = "10s"
            on_delete = "remove"
            url = "sqlite://x.db"
            [[mapping.audiences]]
            trait = "vip"
            on_true = { offer = "gold", status = "PENDING", custom_fields = { city = "Paris" } }
            on_flase = { status = "DISABLED" }
            "#,
        ),
        ("broken.toml", "[log]\nformat = json\n"),
    ]);
    let env = [
        ("DELIVERY_RETRY_MIN", "1m"),
        ("LOG_FILTER", "debg"),
        ("REFERSION_TIMEOUT", "10"),
        ("REFERSION_API_KYE", "pub_abc.sec_abc"),
        ("SERVER_LISTEN", "8080"),
        ("STORE_URL", "mysql://user:hunter2@db/x"),
    ];
    assert_snapshot!(folder.problems(&["partner.toml", "broken.toml", "absent.toml"], &env, Mode::Live), @r#"
    the configuration has 19 problems:
      delivery.url (partner.toml): unknown setting; `url` belongs under [store]
      refersion.tmeout (partner.toml): unknown setting; did you mean "timeout"?
      sever (partner.toml): unknown section; did you mean [server]?
      timeout (partner.toml): found outside of any section; `timeout` belongs under [refersion]
      refersion.base_url (partner.toml): found "http://api.refersion.com/v2", expected https: API keys must not be sent unencrypted (http only to a loopback address, or with REFERSION_ALLOW_PLAIN_HTTP=true)
      refersion.concurrency (partner.toml): found 0, expected a whole number from 1 to 1024
      delivery.on_delete (partner.toml): found "remove", expected disable or anonymize
      mapping.audiences #1.on_flase (partner.toml): unknown setting; did you mean "on_false"?
      mapping.audiences #1.on_true.offer (partner.toml): found "gold", expected an id of Refersion's: digits, such as "1234"
      mapping.audiences #1.on_true.status (partner.toml): found "PENDING", expected ACTIVE, DENIED or DISABLED
      mapping.audiences #1.on_true.custom_fields.city (partner.toml): found "city", expected the id of a custom field: digits, such as "1234"
      broken.toml: line 2, column 10: not TOML: string values must be quoted, expected literal string
      absent.toml: cannot be read: No such file or directory (os error 2); expected a TOML file
      REFERSION_API_KYE (environment): unknown setting; did you mean REFERSION_API_KEY?
      REFERSION_TIMEOUT (environment): found "10", expected a duration with a unit, such as "10s" or "5m"
      SERVER_LISTEN (environment): found "8080", expected an IP address and a port: "127.0.0.1:8080", "[::]:8080", or ":8080" for any
      STORE_URL (environment): found a URL of the scheme "mysql", expected sqlite://relative/path.db, sqlite:///absolute/path.db or postgres://user:password@host:5432/database; no other store is supported
      LOG_FILTER (environment): found "debg", expected a level; did you mean "debug"?
      DELIVERY_RETRY_MIN (environment) and delivery.retry_max (partner.toml): found "1m" and "10s", expected the first to be no longer than the second
    "#);
}

/// A redirect URL of [connect].
const BACK: &str = "https://your-host/connect/callback";

#[test]
fn every_setting_is_read_from_the_variable_named_after_it() {
    for setting in SETTINGS {
        let name = format!("{}_{}", setting.section, setting.name).to_uppercase();
        let (wrong, problem) = match (setting.section, setting.name) {
            // Any text is valid here, so the test checks that a valid one arrives.
            ("mapping", "missing_name") => {
                let (config, _) = from_env(&[(&name, "n/a")]).expect("valid");
                assert_eq!(config.rules.missing_name, "n/a");
                continue;
            }
            ("segment", "shared_secrets") => {
                let (config, _) = from_env(&[(&name, " one, ,two,")]).expect("valid");
                let secrets: Vec<_> = config.segment.shared_secrets.iter().map(ExposeSecret::expose_secret).collect();
                assert_eq!(secrets, ["one", "two"]);
                continue;
            }
            ("connect", "client_id" | "client_secret") => {
                let all = [("CONNECT_CLIENT_ID", "?"), ("CONNECT_CLIENT_SECRET", "?"), ("CONNECT_REDIRECT_URL", BACK)];
                let (config, _) = from_env(&all).expect("valid");
                let connect = config.connect.expect("set");
                assert_eq!((&*connect.client_id, connect.client_secret.expose_secret()), ("?", "?"));
                continue;
            }
            ("segment", "trusted_projects") | ("mapping", "ignored_user_ids") => {
                let (config, _) = from_env(&[(&name, " one, ,two,")]).expect("valid");
                let Rules { trusted_projects, ignored_user_ids, .. } = config.rules;
                assert!([trusted_projects, ignored_user_ids].contains(&vec!["one".to_owned(), "two".to_owned()]));
                continue;
            }
            _ => ("?", format!("{name} (environment): found ")),
        };
        assert!(problem_of(&[(&name, wrong)]).starts_with(&problem), "{name}");
        assert!(from_env(&[(&name, "  ")]).is_ok(), "{name}: empty counts as not set");
    }
}

#[test]
fn every_kind_of_value_can_be_written_in_the_environment() {
    let (config, warnings) = from_env(&[
        KEY,
        ("REFERSION_BASE_URL", "http://127.0.0.1:9000"),
        ("REFERSION_ALLOW_PLAIN_HTTP", "FALSE"),
        ("REFERSION_STATUS", "active"),
        ("REFERSION_OFFER", "5678"),
        ("REFERSION_SEND_WELCOME", "TRUE"),
        ("REFERSION_TIMEOUT", "500ms"),
        ("REFERSION_CONCURRENCY", " 4 "),
        ("REFERSION_MAX_REQUESTS_PER_SECOND", "2.5"),
        ("SEGMENT_ACCEPT_ANY_API_KEY", "TRUE"),
        ("STORE_SEAL_KEY", SEAL),
        ("SERVER_LISTEN", ":80"),
        ("SERVER_WAIT", "0s"),
        ("SERVER_DRAIN", "25s"),
        ("OPS_LISTEN", "[::1]:9090"),
        ("OPS_TOKEN", " sixteen-letters:1 "),
        ("STORE_URL", "sqlite:///var/lib/it/x.db"),
        ("STORE_DEDUPLICATION_WINDOW", "1d 12h"),
        ("STORE_LEDGER_WINDOW", "30d"),
        ("STORE_LEASE", "2s"),
        ("DELIVERY_RETRY_MIN", "2s"),
        ("DELIVERY_RETRY_MAX", "2s"),
        ("DELIVERY_MAX_AGE", "7d"),
        ("DELIVERY_MAX_BACKLOG", "10"),
        ("DELIVERY_ON_EXISTING", "ignore"),
        ("DELIVERY_ON_DELETE", "anonymize"),
        ("LOG_FORMAT", "json"),
        ("LOG_FILTER", "info,tower_http=debug"),
        ("MAPPING_CUSTOM_FIELDS", r#"{ plan = "12" }"#),
        ("MAPPING_AUDIENCES", r#"[{ trait = "vip", on_false = { status = "DISABLED" } }]"#),
        ("MAPPING_CREATE_IF", r#"{ trait = "wants", equals = true }"#),
    ])
    .expect("valid");
    assert_eq!(warnings, []);
    assert_eq!(config.refersion.api_key.expect("given").public(), "pub_abc");
    assert_eq!(config.refersion.base_url.as_str(), "http://127.0.0.1:9000/");
    assert_eq!(config.refersion.timeout, Duration::from_millis(500));
    assert_eq!(config.refersion.concurrency.get(), 4);
    assert_eq!(config.refersion.max_requests_per_second, Some(2.5));
    assert!(config.segment.accept_any_api_key);
    assert_eq!(config.store.seal_keys.len(), 1);
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:80");
    assert_eq!((config.server.wait, config.server.drain), (Duration::ZERO, Duration::from_secs(25)));
    assert_eq!(config.ops.listen.to_string(), "[::1]:9090");
    assert_eq!(config.ops.token.expect("given").expose_secret(), "sixteen-letters:1");
    assert!(matches!(&config.store.url, StoreUrl::Sqlite(path) if path.as_os_str() == "/var/lib/it/x.db"));
    assert_eq!(config.store.deduplication_window, Duration::from_hours(36));
    assert_eq!(config.store.ledger_window, Duration::from_hours(30 * 24));
    assert_eq!(config.store.lease, Duration::from_secs(2));
    assert_eq!(config.delivery.backoff.min, config.delivery.backoff.max);
    assert_eq!(config.delivery.max_age, Duration::from_hours(7 * 24));
    assert_eq!(config.delivery.max_backlog, 10);
    assert_eq!(config.delivery.policy.on_existing, OnExisting::Ignore);
    assert_eq!(config.delivery.policy.on_delete, OnDelete::Anonymize);
    assert_eq!((config.log.format, config.log.filter.as_str()), (LogFormat::Json, "info,tower_http=debug"));
    let disabled = Effect { status: Some(AffiliateStatus::Disabled), ..Effect::default() };
    let rules = Rules {
        status: AffiliateStatus::Active,
        offer: Some("5678".into()),
        send_welcome: true,
        custom_fields: vec![CustomField { trait_name: "plan".into(), id: "12".into() }],
        audiences: vec![Audience { trait_name: "vip".into(), on_true: Effect::default(), on_false: disabled }],
        create_if: Some(CreateIf { trait_name: "wants".into(), equals: "true".into() }),
        ..Rules::default()
    };
    assert_eq!(config.rules, rules);
}

#[test]
fn the_defaults_are_as_documented() {
    let (config, warnings) = from_env(&[]).expect("the manual is a configuration");
    assert_eq!(warnings, []);
    assert_snapshot!(format!("{config:#?}"), @r#"
    Config {
        refersion: RefersionConfig {
            api_key: None,
            base_url: Url {
                scheme: "https",
                cannot_be_a_base: false,
                username: "",
                password: None,
                host: Some(
                    Domain(
                        "api.refersion.com",
                    ),
                ),
                port: None,
                path: "/v2/",
                query: None,
                fragment: None,
            },
            timeout: 10s,
            concurrency: 16,
            max_requests_per_second: None,
        },
        segment: SegmentConfig {
            shared_secrets: [],
            accept_any_api_key: false,
        },
        connect: None,
        server: ServerConfig {
            listen: 0.0.0.0:8080,
            wait: 2s,
            drain: 8s,
        },
        ops: OpsConfig {
            listen: 127.0.0.1:9090,
            token: None,
            metrics_accounts: 100,
        },
        store: StoreConfig {
            url: Sqlite(
                "data/refersion-destination.db",
            ),
            deduplication_window: 86400s,
            deduplication_memory: 67108864,
            ledger_window: 604800s,
            lease: 10s,
            seal_keys: [],
        },
        delivery: DeliveryConfig {
            backoff: Backoff {
                min: 1s,
                max: 300s,
            },
            max_age: 259200s,
            max_backlog: 1000000,
            policy: Policy {
                on_existing: Update,
                on_delete: Disable,
                on_stale: Ignore,
                on_other_user: Ignore,
            },
            learn: Once,
        },
        log: LogConfig {
            format: Text,
            filter: "info",
        },
        rules: Rules {
            status: Pending,
            offer: None,
            send_welcome: false,
            missing_name: "-",
            trusted_projects: [],
            ignored_user_ids: [
                "undefined",
                "null",
                "(null)",
                "nil",
                "none",
                "NaN",
                "0",
                "-1",
                "anonymous",
                "guest",
                "unknown",
                "[object Object]",
            ],
            paypal_email: false,
            custom_fields: [],
            audiences: [],
            create_if: None,
            remember_traits: None,
        },
        accounts: [],
        written: SettingsAsWritten(…),
    }
    "#);
}

#[test]
fn the_manual_has_every_setting_with_its_environment_name() {
    for setting in SETTINGS {
        let section = MANUAL.split(&format!("\n[{}]\n", setting.section)).nth(1).expect(setting.section);
        let section = section.split("\n\n\n").next().unwrap_or_default();
        let written = match setting.kind {
            ValueKind::Plain | ValueKind::Secret => format!("{} = ", setting.name),
            ValueKind::Table => format!("[{}]", setting.path()),
            ValueKind::Tables => format!("[[{}]]", setting.path()),
        };
        let line = section.lines().find(|line| line.trim_start_matches("# ").starts_with(&written));
        assert!(line.is_some(), "{} has no line", setting.path());
        for name in [Some(setting.env()), setting.env_file()].into_iter().flatten() {
            assert!(section.contains(&name), "{} does not name {name}", setting.path());
        }
    }
}

#[test]
fn the_examples_of_the_manual_are_valid_once_uncommented() {
    let example = |line: &str| {
        let word = line.split(" = ").next().unwrap_or_default();
        let key =
            line.contains(" = ") && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        key || line.starts_with("[mapping.") || line.starts_with("[[mapping.") || line == "[[accounts]]"
    };
    let uncomment = |line: &'static str| match line.strip_prefix("# ") {
        Some(rest) if example(rest) => rest,
        _ => line,
    };
    let text = MANUAL.lines().map(uncomment).collect::<Vec<_>>().join("\n");
    let config = from_file(&text).expect("the examples are right");
    assert_eq!(config.refersion.api_key.as_ref().expect("given").public(), "publickey");
    assert_eq!(config.refersion.max_requests_per_second, Some(5.0));
    assert_eq!(config.segment.shared_secrets.len(), 2);
    let effect = Effect {
        offer: Some("5678".into()),
        status: Some(AffiliateStatus::Active),
        custom_fields: vec![("1234".into(), "yes".into())],
    };
    let disabled = Effect { status: Some(AffiliateStatus::Disabled), ..Effect::default() };
    let rules = Rules {
        offer: Some("1234".into()),
        trusted_projects: vec!["the-project-of-our-servers".into()],
        custom_fields: vec![CustomField { trait_name: "total_revenue_180_days".into(), id: "1234".into() }],
        audiences: vec![Audience { trait_name: "vip_partners".into(), on_true: effect, on_false: disabled }],
        create_if: Some(CreateIf { trait_name: "wants_to_be_affiliate".into(), equals: "true".into() }),
        ..Rules::default()
    };
    assert_eq!(config.rules, rules);
    let [main, other] = <[_; 2]>::try_from(config.every_account()).expect("two accounts");
    assert_eq!((main.name.as_str(), main.rules), ("main", rules.clone()));
    assert_eq!((other.name.as_str(), other.api_key.public()), ("brand-b", "publickey-b"));
    assert_eq!((other.shared_secrets.len(), other.concurrency.get()), (1, 4));
    let own = vec![CustomField { trait_name: "total_revenue_180_days".into(), id: "4321".into() }];
    let (status, offer) = (AffiliateStatus::Active, Some("9876".into()));
    assert_eq!(other.rules, Rules { status, offer, custom_fields: own, audiences: Vec::new(), ..rules });
}

#[test]
fn a_later_layer_wins_and_tables_merge_by_key() {
    let folder = Folder::with(&[
        (
            "one.toml",
            r#"
            refersion = { timeout = "1s", concurrency = 1, status = "ACTIVE" }
            segment = { shared_secrets = ["a", "b"] }
            mapping = { custom_fields = { plan = 1, tier = 2 }, create_if = { trait = "x", equals = 1 } }
            "#,
        ),
        (
            "two.toml",
            r#"
            refersion = { timeout = "2s", concurrency = 2 }
            segment = { shared_secrets = ["c"] }
            mapping = { custom_fields = { tier = 3 }, create_if = { equals = 2 } }
            "#,
        ),
    ]);
    let env = [("REFERSION_TIMEOUT", "3s"), ("MAPPING_CUSTOM_FIELDS", "{ size = 4 }")];
    let (config, _) = folder.load(&["one.toml", "two.toml"], &env, Mode::Offline).expect("valid");
    assert_eq!(config.refersion.timeout, Duration::from_secs(3), "the environment wins over files");
    assert_eq!(config.refersion.concurrency.get(), 2, "a later file wins over an earlier one");
    assert_eq!(config.rules.status, AffiliateStatus::Active, "a file wins over the default");
    assert_eq!(config.segment.shared_secrets.len(), 1, "lists are replaced");
    let fields: Vec<_> = config.rules.custom_fields.iter().map(|f| (f.trait_name.as_str(), f.id.as_str())).collect();
    assert_eq!(fields, [("plan", "1"), ("size", "4"), ("tier", "3")], "tables merge, layer upon layer");
    assert_eq!(config.rules.create_if, Some(CreateIf { trait_name: "x".into(), equals: "2".into() }));
}

#[test]
fn the_files_that_the_environment_names_are_below_those_of_the_command_line() {
    let file = |n: u8| format!("[refersion]\ntimeout = \"{n}s\"\n[log]\nfilter = \"info,x{n}=debug\"\n");
    let folder =
        Folder::with(&[("1.toml", &file(1)), ("2.toml", &file(2)), ("3.toml", "[refersion]\ntimeout = \"3s\"\n")]);
    let path = |name: &str| folder.path(name).display().to_string();
    let named = format!(" {}, {} ,", path("1.toml"), path("2.toml"));
    let env = [("CONFIG_FILES", &*named)];
    let (config, warnings) = folder.load(&[], &env, Mode::Offline).expect("valid");
    assert_eq!((config.refersion.timeout, warnings), (Duration::from_secs(2), vec![]), "the later of two files wins");
    let (config, _) = folder.load(&["3.toml"], &env, Mode::Offline).expect("valid");
    assert_eq!((config.refersion.timeout, &*config.log.filter), (Duration::from_secs(3), "info,x2=debug"));
    let (config, _) = folder.load(&["3.toml"], &[env[0], ("REFERSION_TIMEOUT", "4s")], Mode::Offline).expect("valid");
    assert_eq!(config.refersion.timeout, Duration::from_secs(4), "a variable wins over every file");
    assert!(from_env(&[("CONFIG_FILES", " ")]).is_ok(), "empty counts as not set");
    let (_, warnings) = from_env(&[("CONFIG_FILE", "x.toml")]).expect("only a warning");
    assert_snapshot!(warnings[0].to_string(), @"CONFIG_FILE (environment): is not a setting of this service and is ignored; did you mean CONFIG_FILES?");
    assert_snapshot!(folder.problems(&[], &[("CONFIG_FILES", &path("4.toml"))], Mode::Offline), @r#"
    the configuration has a problem:
      4.toml: cannot be read: No such file or directory (os error 2); expected a TOML file
    "#);
}

#[test]
fn keys_are_sent_unencrypted_to_another_machine_only_if_that_is_allowed() {
    let url = ("REFERSION_BASE_URL", "http://sandbox:9099/v2");
    let allow = ("REFERSION_ALLOW_PLAIN_HTTP", "true");
    let unencrypted = r#"found "http://sandbox:9099/v2": API keys and personal data are sent unencrypted"#;
    let (config, warnings) = from_env(&[url, allow]).expect("allowed");
    assert_eq!(config.refersion.base_url.as_str(), "http://sandbox:9099/v2/");
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, [format!("REFERSION_BASE_URL (environment): {unencrypted}")]);
    assert!(problem_of(&[url, ("REFERSION_ALLOW_PLAIN_HTTP", "false")]).contains("expected https"));
    for fine in ["http://localhost:1", "https://sandbox:9099/v2"] {
        let (_, warnings) = from_env(&[("REFERSION_BASE_URL", fine), allow]).expect("valid");
        assert_eq!(warnings, [], "{fine}");
    }

    let account = "[[accounts]]\nname = \"b\"\napi_key = \"pub_b.sec_b\"\n";
    let own = format!("{account}base_url = \"http://sandbox:9099/v2\"\n");
    let folder = Folder::with(&[("own.toml", &own), ("same.toml", account)]);
    assert!(folder.problems(&["own.toml"], &[], Mode::Offline).contains("accounts #1.base_url (own.toml): found"));
    let warnings = |file, env: &[_]| {
        let (_, warnings) = folder.load(&[file], env, Mode::Offline).expect("allowed");
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings("own.toml", &[allow]),
        [format!("accounts #1.base_url ({}): {unencrypted}", folder.path("own.toml").display())]
    );
    assert_eq!(warnings("same.toml", &[allow, url]).len(), 1, "said once");
}

#[test]
fn an_api_key_is_required_only_if_refersion_is_called() {
    let folder = Folder::with(&[]);
    assert!(folder.load(&[], &[], Mode::Sandbox).is_ok());
    assert!(folder.load(&[], &[], Mode::Offline).is_ok());
    assert!(folder.load(&[], &[KEY], Mode::Live).is_ok());
    assert_snapshot!(folder.problems(&[], &[], Mode::Live), @r#"
    the configuration has a problem:
      refersion.api_key (not set): required: set REFERSION_API_KEY, or REFERSION_API_KEY_FILE to a file that holds it, to `publickey.secretkey`, Refersion's two keys joined by a dot (--sandbox runs without)
    "#);
}

#[test]
fn secrets_are_read_from_files() {
    let files =
        [("key", "pub_f.sec_f\n"), ("secrets", "\u{feff}one\r\ntwo, three\n\n"), ("url", "sqlite:///data/it.db\n")];
    let folder = Folder::with(&files);
    let (key, secrets, url) = (folder.path("key"), folder.path("secrets"), folder.path("url"));
    let env = [
        ("REFERSION_API_KEY_FILE", key.to_str().expect("UTF-8")),
        ("SEGMENT_SHARED_SECRETS_FILE", secrets.to_str().expect("UTF-8")),
        ("STORE_URL_FILE", url.to_str().expect("UTF-8")),
    ];
    let (config, _) = folder.load(&[], &env, Mode::Live).expect("valid");
    assert!(config.refersion.api_key.expect("given").matches(b"pub_f.sec_f"));
    let secrets: Vec<_> = config.segment.shared_secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["one", "two", "three"]);
    assert!(matches!(&config.store.url, StoreUrl::Sqlite(path) if path.as_os_str() == "/data/it.db"));
}

#[test]
fn an_unusable_secret_file_is_reported_once() {
    let folder = Folder::with(&[("key", "pub_f\n"), ("empty", " \n")]);
    let path = |name: &str| folder.path(name).to_str().expect("UTF-8").to_owned();
    let of = |env: &[(&str, &str)]| folder.problems(&[], env, Mode::Live);
    assert_snapshot!(of(&[("REFERSION_API_KEY_FILE", &path("absent"))]), @r#"
    the configuration has a problem:
      REFERSION_API_KEY_FILE (environment): found "absent", which cannot be read: No such file or directory (os error 2); expected the path of the secret's file
    "#);
    assert_snapshot!(of(&[("REFERSION_API_KEY_FILE", &path("empty"))]), @r#"
    the configuration has a problem:
      REFERSION_API_KEY_FILE (environment): found "empty", which is empty; expected a file that holds the secret
    "#);
    assert_snapshot!(of(&[("REFERSION_API_KEY_FILE", &path("key"))]), @r#"
    the configuration has a problem:
      REFERSION_API_KEY_FILE (environment): found a text without `.`; expected `publickey.secretkey`, Refersion's two keys joined by a dot
    "#);
    assert_snapshot!(of(&[("REFERSION_API_KEY_FILE", "pub_abc.sec_abc")]), @r#"
    the configuration has a problem:
      REFERSION_API_KEY_FILE (environment): found a name without any `/`, which cannot be read: No such file or directory (os error 2); expected the path of the secret's file
    "#);
    assert_snapshot!(of(&[("REFERSION_API_KEY_FILE", &path("key")), KEY]), @r#"
    the configuration has a problem:
      REFERSION_API_KEY (environment): found beside REFERSION_API_KEY_FILE, expected only one of the two
    "#);
}

#[test]
fn a_secret_is_never_printed() {
    const SECRET: &str = "hunter2";
    let reported = |files: &str, env: &[(&str, &str)]| {
        let folder = Folder::with(&[("it.toml", files)]);
        match folder.load(&["it.toml"], env, Mode::Live) {
            Ok((config, warnings)) => format!("{config:?} {warnings:?}"),
            Err(problems) => format!("{problems} {problems:?}"),
        }
    };
    let key = "pub_abc.hunter2";
    for (file, env) in [
        ("", &[("REFERSION_API_KEY", key), ("SEGMENT_SHARED_SECRETS", SECRET)][..]),
        ("", &[("REFERSION_API_KEY", SECRET)]),
        ("", &[("REFERSION_API_KEY", "pub abc.hunter2")]),
        ("", &[("REFERSION_API_KYE", key)]),
        ("", &[("REFERSION_API_KEY_FILE", key)]),
        ("", &[KEY, ("SERVER_TOKEN", SECRET)]),
        ("", &[("OPS_TOKEN", "hunter2")]),
        ("[ops]\ntoken = [\"hunter2\"]", &[]),
        ("", &[("STORE_URL", "mysql://root:hunter2@db/x")]),
        ("", &[KEY, ("STORE_URL", "postgres://root:hunter2@db/x")]),
        ("", &[("STORE_URL", "root:hunter2@db/x")]),
        ("", &[("REFERSION_BASE_URL", "https://root:hunter2@api.refersion.com")]),
        ("", &[("REFERSION_BASE_URL", "https://api.refersion.com/?key=hunter2")]),
        ("[refersion]\napi_key = \"pub_abc.hunter2\"", &[]),
        ("[refersion]\napi_key = [\"pub_abc.hunter2\"]", &[]),
        ("[refersion]\napi_key = pub_abc.hunter2", &[]),
        ("[refersion]\napi_key = \"pub_abc.hunter2", &[]),
        ("[segment]\nshared_secrets = { a = \"hunter2\" }", &[]),
        ("segment = \"hunter2\"", &[]),
        ("api_key = \"hunter2\"", &[]),
        ("[segment]\nsecret = \"hunter2\"", &[]),
    ] {
        let reported = reported(file, env);
        assert!(!reported.contains(SECRET), "{file:?} {env:?}: {reported}");
    }
}

#[test]
fn kubernetes_service_links_do_not_stop_the_start() {
    let ip = "10.0.0.7";
    let url = "tcp://10.0.0.7:8080";
    let mut env = vec![];
    for service in [
        "REFERSION_DESTINATION",
        "REFERSION",
        "SERVER",
        "STORE",
        "LOG",
        "OPS",
        "CONNECT",
        "SEGMENT",
        "DELIVERY",
        "MAPPING",
    ] {
        for (name, value) in [
            ("SERVICE_HOST", ip),
            ("SERVICE_PORT", "8080"),
            ("SERVICE_PORT_HTTP", "8080"),
            ("PORT", url),
            ("PORT_8080_TCP", url),
            ("PORT_8080_TCP_PROTO", "tcp"),
            ("PORT_8080_TCP_PORT", "8080"),
            ("PORT_8080_TCP_ADDR", ip),
        ] {
            env.push((format!("{service}_{name}"), value));
        }
    }
    let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let (_, warnings) = from_env(&env).expect("starts");
    assert_eq!(warnings, []);
}

#[test]
fn an_unknown_variable_is_a_typo_or_of_another_program() {
    assert!(
        from_env(&[("PATH", "/bin"), ("STOREFRONT", "1"), ("SEGMENT_PUBLIC_API_TOKEN", "t"), ("RUST_LOG", "info")])
            .is_ok_and(|(_, w)| w.is_empty())
    );
    for env in [
        ("LOG_LEVEL", "debug"),
        ("CONNECT_GROUP_ID", "x"),
        ("SERVER_NAME", "x"),
        ("STORE_ID", "1"),
        ("OPS_TEAM", "x"),
        ("SERVER_PORT", "80"),
    ] {
        let (_, warnings) = from_env(&[env]).expect("only a warning");
        assert!(
            warnings[0].to_string().starts_with(&format!("{} (environment): is not a setting", env.0)),
            "{warnings:?}"
        );
    }
    let of = |name| problem_of(&[(name, "1")]);
    assert_snapshot!(from_env(&[("LOG_LEVEL", "debug")]).expect("a warning").1[0].to_string(), @r#"LOG_LEVEL (environment): is not a setting of this service and is ignored; settings are LOG_FORMAT, LOG_FILTER"#);
    assert_snapshot!(of("LOG_FITLER"), @r#"LOG_FITLER (environment): unknown setting; did you mean LOG_FILTER?"#);
    assert_snapshot!(of("REFERSION_API_KEYS"), @r#"REFERSION_API_KEYS (environment): unknown setting; did you mean REFERSION_API_KEY?"#);
    assert_snapshot!(of("DELIVERY_RETRIES"), @r#"DELIVERY_RETRIES (environment): unknown setting; expected DELIVERY_RETRY_MIN, DELIVERY_RETRY_MAX, DELIVERY_MAX_AGE, DELIVERY_MAX_BACKLOG, DELIVERY_ON_EXISTING, DELIVERY_ON_DELETE, DELIVERY_ON_OTHER_USER, DELIVERY_STALE or DELIVERY_LEARN"#);
    assert_snapshot!(of("SEGMENT_SHARED_SECRET"), @r#"SEGMENT_SHARED_SECRET (environment): unknown setting; did you mean SEGMENT_SHARED_SECRETS?"#);
    assert_snapshot!(of("SERVER_WAITS"), @r#"SERVER_WAITS (environment): unknown setting; did you mean SERVER_WAIT?"#);
}

#[test]
fn each_mistake_in_a_file_is_reported_with_its_location() {
    for (text, reported) in [
        ("[server]\nlistn = \":1\"", "server.listn (it.toml): unknown setting; did you mean \"listen\"?"),
        (
            "[ops]
host = \"x\"",
            "ops.host (it.toml): unknown setting; expected listen, token or metrics_accounts",
        ),
        ("[log]\nlevel = \"info\"", "log.level (it.toml): unknown setting; expected format or filter"),
        (
            "[server]\ntimeout = \"1s\"",
            "server.timeout (it.toml): unknown setting; `timeout` belongs under [refersion]",
        ),
        ("listen = \":1\"", "listen (it.toml): found outside of any section; `listen` belongs under [server] or [ops]"),
        ("[sever]", "sever (it.toml): unknown section; did you mean [server]?"),
        ("server = 1", "server (it.toml): found a number, expected a section: [server]"),
        (
            "[database]",
            "database (it.toml): unknown section; expected [refersion], [segment], [connect], [server], [ops], [store], [delivery], \
             [mapping], [log] or [[accounts]]",
        ),
        ("[[acounts]]", "acounts (it.toml): unknown section; did you mean [[accounts]]?"),
        (
            "[refersion]\ntimeout = [1]",
            "refersion.timeout (it.toml): found a list, expected a duration with a unit, such as \"10s\" or \"5m\"",
        ),
        ("[refersion]\nsend_welcome = 1", "refersion.send_welcome (it.toml): found 1, expected true or false"),
        ("[log]\nformat = true", "log.format (it.toml): found true, expected text or json"),
        ("[log]\nformat = \"te\nxt\"", "it.toml: line 2, column 13: not TOML: invalid basic string, expected `\"`"),
        ("[log]\n[log]", "it.toml: line 2, column 2: not TOML: duplicate key"),
    ] {
        let expected = format!("the configuration has a problem:\n  {reported}");
        assert_eq!(problems_of_file(text), expected);
    }
}

#[test]
fn a_value_out_of_bounds_is_reported_with_the_allowed_values() {
    let durations = "expected a duration in ms, s, m, h or d, such as \"10s\" or \"5m\"";
    let with_unit = "expected a duration with a unit, such as \"10s\" or \"5m\"";
    let above_zero = "expected a duration longer than zero, such as \"10s\" or \"5m\"";
    let url = "expected a URL such as \"https://api.refersion.com/v2\"";
    let https = "expected https: API keys must not be sent unencrypted (http only to a loopback address, or with \
                 REFERSION_ALLOW_PLAIN_HTTP=true)";
    let hidden = "found a URL with credentials, a query or a fragment (not shown)";
    let address = "expected an IP address and a port: \"127.0.0.1:8080\", \"[::]:8080\", or \":8080\" for any";
    let file = "expected sqlite://relative/path.db or sqlite:///absolute/path.db";
    let store =
        "expected sqlite://relative/path.db, sqlite:///absolute/path.db or postgres://user:password@host:5432/database";
    let token = "expected at least 16 characters of ASCII without blanks, such as `openssl rand -hex 32` prints";
    let memory = "found a store in memory, expected a file (sqlite://path.db): an event is answered only once it is safe on disk";
    for (name, value, reported) in [
        ("REFERSION_TIMEOUT", "10", format!("found \"10\", {with_unit}")),
        ("REFERSION_TIMEOUT", "5M", format!("found \"5M\", {durations}")),
        ("REFERSION_TIMEOUT", "soon", format!("found \"soon\", {durations}")),
        ("REFERSION_TIMEOUT", "0s", format!("found \"0s\", {above_zero}")),
        ("SERVER_WAIT", "0", format!("found \"0\", {with_unit}")),
        ("REFERSION_CONCURRENCY", "0", "found \"0\", expected a whole number from 1 to 1024".into()),
        ("REFERSION_CONCURRENCY", "1e9", "found \"1e9\", expected a whole number from 1 to 1024".into()),
        ("DELIVERY_MAX_BACKLOG", "-1", "found \"-1\", expected a whole number of at least 1".into()),
        ("REFERSION_MAX_REQUESTS_PER_SECOND", "0", "found \"0\", expected a number above 0, such as 5 or 0.5".into()),
        ("REFERSION_MAX_REQUESTS_PER_SECOND", "inf", "found \"inf\", expected a number above 0, such as 5 or 0.5".into()),
        ("REFERSION_STATUS", "DENIED", "found \"DENIED\", expected PENDING or ACTIVE".into()),
        ("REFERSION_OFFER", "gold", "found \"gold\", expected an id of Refersion's: digits, such as \"1234\"".into()),
        ("REFERSION_BASE_URL", "api.refersion.com", format!("found \"api.refersion.com\", {url}")),
        ("REFERSION_BASE_URL", "ftp://x/", format!("found \"ftp://x/\", {url}")),
        ("REFERSION_BASE_URL", "http://10.0.0.1", format!("found \"http://10.0.0.1\", {https}")),
        ("REFERSION_BASE_URL", "http://localhost.evil.io", format!("found \"http://localhost.evil.io\", {https}")),
        ("REFERSION_BASE_URL", "https://u:p@x.io", format!("{hidden}, {url}")),
        ("REFERSION_BASE_URL", "https://x.io/#v2", format!("{hidden}, {url}")),
        ("SERVER_LISTEN", "8080", format!("found \"8080\", {address}")),
        ("SERVER_LISTEN", "localhost:8080", format!("found \"localhost:8080\", {address}")),
        ("OPS_LISTEN", ":99999", format!("found \":99999\", {address}")),
        ("OPS_TOKEN", "fifteen-letters", format!("found 15 characters (not shown), {token}")),
        ("OPS_TOKEN", "sixteen letters and a blank", format!("found a blank or a character outside of ASCII (not shown), {token}")),
        ("OPS_TOKEN", "sixteen-l\u{e9}tters", format!("found a blank or a character outside of ASCII (not shown), {token}")),
        ("STORE_URL", "data/x.db", format!("found \"data/x.db\", {store}")),
        ("STORE_URL", "sqlite://", format!("found nothing behind sqlite://, {store}")),
        ("STORE_URL", "sqlite://data/", format!("found \"sqlite://data/\", expected the path of a file: {}", &file[9..])),
        ("STORE_URL", "sqlite://~/x.db", format!("found \"sqlite://~/x.db\", {file}; `~` means a folder to a shell only")),
        ("STORE_URL", "sqlite://x?mode=rwc", format!("found \"sqlite://x?mode=rwc\", {file}, without options after a `?`")),
        ("STORE_URL", "sqlite://:memory:", memory.into()),
        ("STORE_URL", "sqlite::memory:", memory.into()),
        ("STORE_URL", "mysql://u:p@db/x", format!("found a URL of the scheme \"mysql\", {store}; no other store is supported")),
        ("STORE_URL", "postgres://", format!("found nothing behind postgres://, {store}")),
        ("LOG_FILTER", "debg", "found \"debg\", expected a level; did you mean \"debug\"?".into()),
        ("LOG_FILTER", "warning", "found \"warning\", expected a level; did you mean \"warn\"?".into()),
        (
            "LOG_FILTER",
            "info,tower_http=loud",
            "found \"info,tower_http=loud\", expected error, warn, info, debug, trace or off, or \"info,tower_http=debug\" \
             for one part alone"
                .into(),
        ),
        (
            "LOG_FILTER",
            "info,hyper[request]=debug",
            "found \"info,hyper[request]=debug\", expected error, warn, info, debug, trace or off, or \
             \"info,tower_http=debug\" for one part alone"
                .into(),
        ),
        ("MAPPING_CREATE_IF", "yes", "found no TOML (string values must be quoted, expected literal string), expected a value such as { trait = \"…\" }".into()),
    ] {
        assert_eq!(problem_of(&[(name, value)]), format!("{name} (environment): {reported}"));
    }
    for fine in ["http://localhost:1", "http://127.9.9.9", "http://[::1]:1/v2/", "https://x.io/v2"] {
        assert!(from_env(&[("REFERSION_BASE_URL", fine)]).is_ok(), "{fine}");
    }
}

#[test]
fn a_filter_of_log_lines_may_have_blanks_and_empty_parts_and_without_parts_lets_errors_through() {
    for (filter, read) in [
        ("info", "info"),
        ("INFO, refersion_destination::http=debug", "INFO,refersion_destination::http=debug"),
        (" warn,,tower_http= ,", "warn,tower_http"),
        ("refersion_destination::app=info", "refersion_destination::app=info"),
        ("off", "off"),
        (" , ", "error"),
    ] {
        assert_eq!(from_env(&[("LOG_FILTER", filter)]).expect("valid").0.log.filter, read, "{filter}");
    }
}

#[test]
fn a_trial_listens_on_this_machine_alone_unless_an_address_is_set() {
    for (set, expected) in
        [(None, "127.0.0.1:8080"), (Some(":8080"), "0.0.0.0:8080"), (Some("10.0.0.1:80"), "10.0.0.1:80")]
    {
        let environment = set.map(|address| ("SERVER_LISTEN".to_owned(), address.to_owned()));
        let (config, _) = Config::load(&[], environment.into_iter(), Mode::Sandbox).expect("valid");
        assert_eq!(config.server.listen.to_string(), expected);
    }
}

#[test]
fn values_that_contradict_each_other_are_reported() {
    let of = |one, other| problem_of(&[one, other]);
    assert_snapshot!(of(("DELIVERY_RETRY_MIN", "10m"), ("LOG_FORMAT", "text")), @r#"DELIVERY_RETRY_MIN (environment) and delivery.retry_max (default): found "10m" and "5m", expected the first to be no longer than the second"#);
    assert_snapshot!(of(("OPS_LISTEN", "127.0.0.1:8080"), ("LOG_FORMAT", "text")), @r#"server.listen (default) and OPS_LISTEN (environment): found "0.0.0.0:8080" and "127.0.0.1:8080", expected two different ports"#);
    assert!(from_env(&[("OPS_LISTEN", "127.0.0.1:0"), ("SERVER_LISTEN", "127.0.0.1:0")]).is_ok());
    let (_, warnings) =
        from_env(&[("SERVER_WAIT", "10s"), ("STORE_DEDUPLICATION_WINDOW", "1h")]).expect("warnings only");
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(warnings.join("\n"), @r#"
    SERVER_WAIT (environment): found "10s", longer than 4s: Segment may stop waiting first and send the event again
    STORE_DEDUPLICATION_WINDOW (environment): found "1h", shorter than 4h: Segment may send an event again after it was forgotten
    "#);
}

#[test]
fn the_mapping_tables_are_checked_at_every_level() {
    let problems = problems_of_file(
        r#"
        [mapping.custom_fields]
        plan = "gold"
        Total-Revenue = 1
        total_revenue = 2
        totalRevenue = 3
        [mapping.create_if]
        trait = "wants"
        equal = true
        [[mapping.audiences]]
        trait = "vip"
        [[mapping.audiences]]
        trait = "VIP"
        on_true = { offer = -1, status = "PENDING", field = 1 }
        on_false = { status = "GONE", custom_fields = { city = "x" } }
        [[mapping.audiences]]
        on_true = { custom_fields = { 12 = "" }, ofer = 1 }
        on_false = "DISABLED"
        "#,
    );
    assert_snapshot!(problems, @r#"
    the configuration has 15 problems:
      mapping.custom_fields.plan (it.toml): found "gold", expected an id of Refersion's: digits, such as "1234"
      mapping.custom_fields.total_revenue (it.toml): found the trait "total_revenue" again, after "Total-Revenue"; expected each trait once, in any casing
      mapping.audiences #1 (it.toml): found no effect, expected `on_true` or `on_false` with an offer, a status or custom_fields
      mapping.audiences #2.trait (it.toml): found the trait "VIP" again, after "vip"; expected each trait once, in any casing
      mapping.audiences #2.on_true.field (it.toml): unknown setting; expected offer, status or custom_fields
      mapping.audiences #2.on_true.offer (it.toml): found -1, expected an id of Refersion's: digits, such as "1234"
      mapping.audiences #2.on_true.status (it.toml): found "PENDING", expected ACTIVE, DENIED or DISABLED
      mapping.audiences #2.on_false.status (it.toml): found "GONE", expected ACTIVE, DENIED or DISABLED
      mapping.audiences #2.on_false.custom_fields.city (it.toml): found "city", expected the id of a custom field: digits, such as "1234"
      mapping.audiences #3 (it.toml): found no `trait`, expected the audience's trait
      mapping.audiences #3.on_true.ofer (it.toml): unknown setting; did you mean "offer"?
      mapping.audiences #3.on_true.custom_fields.12 (it.toml): found "", expected a text that is not empty
      mapping.audiences #3.on_false (it.toml): found "DISABLED", expected a table with offer, status or custom_fields
      mapping.create_if.equal (it.toml): unknown setting; did you mean "equals"?
      mapping.create_if (it.toml): found no `equals`, expected `trait` and `equals`
    "#);
    assert_snapshot!(problems_of_file("[mapping]\naudiences = { trait = 1 }\ncustom_fields = 1\ncreate_if = {}"), @r#"
    the configuration has 4 problems:
      mapping.custom_fields (it.toml): found 1, expected a table, such as [mapping.custom_fields]
      mapping.audiences (it.toml): found a table, expected a list of tables: [[mapping.audiences]]
      mapping.create_if (it.toml): found no `trait`, expected `trait` and `equals`
      mapping.create_if (it.toml): found no `equals`, expected `trait` and `equals`
    "#);
}

#[test]
fn numbers_and_booleans_are_accepted_as_text() {
    let config = from_file(
        r#"
        [refersion]
        offer = 77
        concurrency = "8"
        send_welcome = "true"
        max_requests_per_second = 2
        [mapping.custom_fields]
        plan = 12
        [[mapping.audiences]]
        trait = "vip"
        on_true = { offer = 5678, custom_fields = { 12 = true, 13 = 1.5 } }
        "#,
    )
    .expect("valid");
    assert_eq!(config.refersion.concurrency.get(), 8);
    assert_eq!(config.refersion.max_requests_per_second, Some(2.0));
    assert_eq!((config.rules.offer.as_deref(), config.rules.send_welcome), (Some("77"), true));
    let effect = &config.rules.audiences[0].on_true;
    assert_eq!(effect.offer.as_deref(), Some("5678"));
    assert_eq!(effect.custom_fields, [("12".into(), "true".into()), ("13".into(), "1.5".into())]);
}

#[test]
fn remembering_traits_requires_a_seal_key_in_any_account() {
    let account = "[[accounts]]\nname = \"b\"\napi_key = \"pub_b.sec_b\"\nremember_traits = \"7d\"\n";
    let folder = Folder::with(&[("it.toml", account)]);
    let main = ("MAPPING_REMEMBER_TRAITS", "30d");
    for (files, env) in [(&[][..], vec![KEY, main]), (&["it.toml"][..], vec![KEY])] {
        let problems = folder.problems(files, &env, Mode::Live);
        assert!(problems.contains("store.seal_key") && problems.contains("openssl rand -base64 32"), "{problems}");
        assert!(problems.contains("mapping.remember_traits"), "{problems}");
        let sealed = [&env[..], &[("STORE_SEAL_KEY", SEAL)]].concat();
        assert!(folder.load(files, &sealed, Mode::Live).is_ok(), "{files:?}");
        assert!(folder.load(files, &env, Mode::Offline).is_ok(), "`map` needs none");
    }
    for (value, remembered) in [("off", None), ("OFF", None), ("36h", Some(Duration::from_hours(36)))] {
        let (config, _) = from_env(&[("MAPPING_REMEMBER_TRAITS", value)]).expect("valid");
        assert_eq!(config.rules.remember_traits, remembered, "{value}");
    }
    for value in ["0s", "30", "1M", "on"] {
        let problem = problem_of(&[("MAPPING_REMEMBER_TRAITS", value)]);
        assert!(problem.contains("expected off, or a duration"), "{problem}");
    }
}
