//! The parsers of values: from a TOML value or a text to a checked, typed value.
//!
//! A parser that rejects a value says `found …, expected …`. Files and the environment are read alike: `16`, `"16"` and
//! `REFERSION_CONCURRENCY=16` are the same number. A URL that may contain credentials is not shown.

use super::did_you_mean::nearest;
use super::problem::either;
use super::{LogFormat, StoreUrl};
use crate::delivery::{OnDelete, OnExisting};
use crate::domain::{AffiliateStatus, ApiKey, SealKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Value;
use url::{Host, Url};

/// More calls in flight than this are a typo.
const MAX_CONCURRENCY: u64 = 1024;
/// More memory for event ids than a terabyte is a typo.
const MAX_MEMORY_MB: u64 = 1024 * 1024;

/// A checked value, or `found …, expected …`.
pub(super) type Parsed<T> = Result<T, String>;

/// A value as written, to be shown in a problem. Not for secrets.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        scalar => scalar_text(scalar).unwrap_or_default(),
    }
}

/// The text of anything but a list or a table.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Datetime(moment) => Some(moment.to_string()),
        Value::Array(_) | Value::Table(_) => None,
    }
}

fn reject<T>(value: &Value, allowed: impl Display) -> Parsed<T> {
    Err(format!("found {}, expected {allowed}", found(value)))
}

/// A text that is not blank.
pub(super) fn text(value: &Value) -> Parsed<String> {
    match scalar_text(value) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => reject(value, "a text that is not empty"),
    }
}

/// An id at Refersion, as a text of digits.
pub(super) fn id(value: &Value) -> Parsed<String> {
    match scalar_text(value) {
        Some(text) if is_id(&text) => Ok(text),
        _ => reject(value, "an id of Refersion's: digits, such as \"1234\""),
    }
}

/// Whether this can be an id at Refersion.
pub(super) fn is_id(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value) -> Parsed<bool> {
    choice(value, &[("true", true), ("false", false)])
}

/// One of some names, in any case.
fn choice<T: Copy>(value: &Value, names: &[(&str, T)]) -> Parsed<T> {
    let text = scalar_text(value).unwrap_or_default();
    match names.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text)) {
        Some((_, meant)) => Ok(*meant),
        None => reject(value, either(&names.iter().map(|(name, _)| *name).collect::<Vec<_>>())),
    }
}

/// The status of new affiliates.
pub(super) fn initial_status(value: &Value) -> Parsed<AffiliateStatus> {
    choice(value, &[("PENDING", AffiliateStatus::Pending), ("ACTIVE", AffiliateStatus::Active)])
}

/// A status that an audience may set.
pub(super) fn audience_status(value: &Value) -> Parsed<AffiliateStatus> {
    use AffiliateStatus::{Active, Denied, Disabled};
    choice(value, &[("ACTIVE", Active), ("DENIED", Denied), ("DISABLED", Disabled)])
}

/// What happens to affiliates that existed before.
pub(super) fn on_existing(value: &Value) -> Parsed<OnExisting> {
    choice(value, &[("update", OnExisting::Update), ("ignore", OnExisting::Ignore)])
}

/// What a delete event does.
pub(super) fn on_delete(value: &Value) -> Parsed<OnDelete> {
    choice(value, &[("disable", OnDelete::Disable), ("anonymize", OnDelete::Anonymize)])
}

/// The format of log lines.
pub(super) fn log_format(value: &Value) -> Parsed<LogFormat> {
    choice(value, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

/// A whole number within bounds.
fn whole(value: &Value, allowed: RangeInclusive<u64>) -> Parsed<u64> {
    match scalar_text(value).and_then(|text| text.parse().ok()) {
        Some(number) if allowed.contains(&number) => Ok(number),
        _ if *allowed.end() == u64::MAX => reject(value, format!("a whole number of at least {}", allowed.start())),
        _ => reject(value, format!("a whole number from {} to {}", allowed.start(), allowed.end())),
    }
}

/// A whole number of at least one.
pub(super) fn at_least_one(value: &Value) -> Parsed<u64> {
    whole(value, 1..=u64::MAX)
}

/// An amount of memory, written in MB and returned in bytes.
pub(super) fn megabytes(value: &Value) -> Parsed<usize> {
    let megabytes = whole(value, 1..=MAX_MEMORY_MB)?;
    Ok(usize::try_from(megabytes << 20).unwrap_or(usize::MAX))
}

/// A number above zero, with or without a fraction.
pub(super) fn above_zero(value: &Value) -> Parsed<f64> {
    match scalar_text(value).and_then(|text| text.parse::<f64>().ok()) {
        Some(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => reject(value, "a number above 0, such as 5 or 0.5"),
    }
}

/// A duration with units; zero is refused.
pub(super) fn duration(value: &Value) -> Parsed<Duration> {
    match duration_or_zero(value)? {
        Duration::ZERO => reject(value, "a duration longer than zero, such as \"10s\" or \"5m\""),
        duration => Ok(duration),
    }
}

/// A duration with units; zero is allowed. Longer units are refused: `5M` would be five months.
pub(super) fn duration_or_zero(value: &Value) -> Parsed<Duration> {
    let text = scalar_text(value).unwrap_or_default();
    let mut units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty()).peekable();
    if units.peek().is_none() {
        return reject(value, "a duration with a unit, such as \"10s\" or \"5m\"");
    }
    match humantime::parse_duration(&text) {
        Ok(duration) if units.all(|unit| ["ms", "s", "m", "h", "d"].contains(&unit)) => Ok(duration),
        _ => reject(value, "a duration in ms, s, m, h or d, such as \"10s\" or \"5m\""),
    }
}

/// An address to listen on; `:8080` is every IPv4 address.
pub(super) fn listen(value: &Value) -> Parsed<SocketAddr> {
    let text = scalar_text(value).unwrap_or_default();
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text };
    match full.parse() {
        Ok(address) => Ok(address),
        Err(_) => reject(value, "an IP address and a port: \"127.0.0.1:8080\", \"[::]:8080\", or \":8080\" for any"),
    }
}

/// The base URL of Refersion's API. Its path ends with a slash, so that joining `affiliate/new` appends.
pub(super) fn base_url(value: &Value) -> Parsed<Url> {
    const ALLOWED: &str = "a URL such as \"https://api.refersion.com/v2\"";
    let text = scalar_text(value).unwrap_or_default();
    if text.contains(['@', '?', '#']) {
        return Err(format!("found a URL with credentials, a query or a fragment (not shown), expected {ALLOWED}"));
    }
    let Ok(mut url) = Url::parse(&text) else { return reject(value, ALLOWED) };
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return reject(value, ALLOWED),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => {
            return reject(value, "https: API keys must not be sent unencrypted (http only to a loopback address)");
        }
        _ => return reject(value, ALLOWED),
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// The location of the store.
pub(super) fn store_url(value: &Value) -> Parsed<StoreUrl> {
    const ALLOWED: &str = "sqlite://relative/path.db or sqlite:///absolute/path.db";
    let text = scalar_text(value).unwrap_or_default();
    let Some((scheme, path)) = text.split_once("://") else {
        return match text.strip_prefix("sqlite:") {
            Some(":memory:") => Err(nothing_kept()),
            _ if text.contains('@') => Err(format!("found something else (not shown), expected {ALLOWED}")),
            _ => reject(value, ALLOWED),
        };
    };
    match path {
        // The rest is not shown: the URL of another database may contain its password.
        _ if scheme != "sqlite" => {
            Err(format!("found a URL of the scheme {scheme:?}, expected {ALLOWED}; no other store is supported"))
        }
        "" => Err(format!("found no path, expected {ALLOWED}")),
        _ if path.contains(":memory:") => Err(nothing_kept()),
        _ if path.contains('?') => reject(value, format!("{ALLOWED}, without options after a `?`")),
        _ if path.ends_with('/') => reject(value, format!("the path of a file: {ALLOWED}")),
        _ => Ok(StoreUrl::Sqlite(path.into())),
    }
}

fn nothing_kept() -> String {
    "found a store in memory, expected a file (sqlite://path.db): an event is answered only once it is safe on disk"
        .to_owned()
}

/// The filter of log lines: directives of `tracing_subscriber`'s `EnvFilter`.
pub(super) fn log_filter(value: &Value) -> Parsed<String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let filter = text(value)?;
    // A single word that is not a level is taken for the name of a module, so `debg` would turn all logging off.
    let words = filter.split(',').map(str::trim).filter(|part| !LEVELS.iter().any(|l| l.eq_ignore_ascii_case(part)));
    let meant = |word: &str| LEVELS.into_iter().find(|l| word.starts_with(l)).or_else(|| nearest(word, LEVELS));
    if let Some(meant) = words.filter(|word| !word.contains(['=', ':', '['])).find_map(meant) {
        return reject(value, format!("a level; did you mean {meant:?}?"));
    }
    match tracing_subscriber::EnvFilter::builder().parse(&filter) {
        Ok(_) => Ok(filter),
        Err(_) => reject(value, format!("{}, or \"info,tower_http=debug\" for one part alone", either(&LEVELS))),
    }
}

/// The items of a list: TOML's, or a text's between commas and line ends; blanks trimmed, empty items dropped.
pub(super) fn list(value: &Value) -> Option<Vec<String>> {
    let items = match value {
        Value::Array(items) => items.iter().map(scalar_text).collect::<Option<Vec<_>>>()?,
        Value::Table(_) => return None,
        scalar => scalar_text(scalar)?.split([',', '\n']).map(|item| item.trim().to_owned()).collect(),
    };
    Some(items.into_iter().filter(|item| !item.is_empty()).collect())
}

/// A key pair.
pub(super) fn api_key(value: &Value) -> Parsed<ApiKey> {
    let text = value.as_str().ok_or("found no text (not shown), expected `publickey.secretkey` in quotes")?;
    ApiKey::parse(text).map_err(|error| format!("found {error}"))
}

/// How many requests may be in flight at once.
pub(super) fn concurrency(value: &Value) -> Parsed<NonZeroUsize> {
    let number = whole(value, 1..=MAX_CONCURRENCY)?;
    Ok(usize::try_from(number).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN))
}

/// Shared secrets. They are never shown in a problem.
pub(super) fn shared_secrets(value: &Value) -> Parsed<Vec<SecretString>> {
    let secrets = list(value).ok_or("found something else (not shown), expected a list of texts")?;
    Ok(secrets.into_iter().map(SecretString::from).collect())
}

/// One or more seal keys. They are never shown in a problem.
pub(super) fn seal_keys(value: &Value) -> Parsed<Vec<SealKey>> {
    let expected = "expected 32 random bytes as base64 or hex, as `openssl rand -base64 32` prints them; of several, the \
                    first seals and all open";
    let key = |text: String| {
        let bytes = hex::decode(&text).ok().or_else(|| STANDARD.decode(&text).ok());
        bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(SealKey::new)
    };
    match list(value).map(|texts| texts.into_iter().map(key).collect::<Option<Vec<_>>>()) {
        Some(Some(keys)) if !keys.is_empty() => Ok(keys),
        Some(_) => Err(format!("found another text (not shown), {expected}")),
        None => Err(format!("found something else (not shown), {expected}")),
    }
}
