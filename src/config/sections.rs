//! From layers to a [`Config`], section by section, and what must hold between values.

use super::read::{Read, Reader};
use super::values::{above_zero, base_url, choice, duration, duration_or_zero, flag, listen, log_filter};
use super::values::{api_key, concurrency, found, seal_keys, shared_secrets, store_url, whole};
use super::{
    Config, DeliveryConfig, LogConfig, LogFormat, Mode, OpsConfig, RefersionConfig, SegmentConfig, ServerConfig,
    StoreConfig, accounts, rules,
};
use crate::delivery::{OnDelete, OnExisting, Policy};
use crate::scheduling::Backoff;
use std::net::SocketAddr;
use std::time::Duration;
use toml::Value;

/// Segment stops waiting for an answer after 5 s; what is left is for the way there and back.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// A terabyte of event ids is a mistake.
const MAX_MEMORY_MB: u64 = 1024 * 1024;
/// Segment sends an event again for four hours.
const SHORTEST_MEMORY: Duration = Duration::from_hours(4);
/// Reads everything, or notes every problem.
pub(super) fn config(reader: &mut Reader, mode: Mode) -> Read<Config> {
    let segment = segment(reader, mode);
    let any_key = segment.as_ref().map_or(true, |segment| segment.accept_any_api_key);
    let refersion = refersion(reader, mode, any_key);
    let server = server(reader);
    let ops = reader.value("ops.listen", listen).map(|listen| OpsConfig { listen });
    let store = store(reader, mode, matches!(&segment, Ok(segment) if segment.accept_any_api_key));
    let delivery = delivery(reader);
    let rules = rules::read(reader);
    let log = log(reader);
    let accounts = accounts::read(reader, mode);
    if reader.layers.get("refersion.api_key").is_none() && (any_key || has_accounts(reader)) {
        let others = if has_accounts(reader) {
            "each of [[accounts]] has its own"
        } else {
            "an account whose key arrives with its requests has none"
        };
        reader.surprise("segment.shared_secrets", |_| {
            format!("belongs to the account main, which has no key (refersion.api_key), and is not used: {others}")
        });
    }
    if let (Ok(server), Ok(ops)) = (&server, &ops)
        && collide(server.listen, ops.listen)
    {
        reader.clash("server.listen", "ops.listen", |one, other| {
            format!("found {} and {}, expected two different ports", found(one), found(other))
        });
    }
    Ok(Config {
        refersion: refersion?,
        segment: segment?,
        server: server?,
        ops: ops?,
        store: store?,
        delivery: delivery?,
        log: log?,
        rules: rules?,
        accounts: accounts?,
    })
}

/// Whether there are `[[accounts]]`, be they right or wrong.
fn has_accounts(reader: &Reader) -> bool {
    reader.layers.accounts.as_ref().is_some_and(|accounts| accounts.value != Value::Array(Vec::new()))
}

fn refersion(reader: &mut Reader, mode: Mode, any_key: bool) -> Read<RefersionConfig> {
    let api_key = reader.optional("refersion.api_key", api_key);
    if mode == Mode::Live && matches!(api_key, Ok(None)) && !has_accounts(reader) && !any_key {
        reader.missing(
            "refersion.api_key",
            "required: set REFERSION_API_KEY, or REFERSION_API_KEY_FILE to a file that holds it, to \
             `publickey.secretkey`, Refersion's two keys joined by a dot (--sandbox runs without)",
        );
    }
    let base_url = reader.value("refersion.base_url", base_url);
    let timeout = reader.value("refersion.timeout", duration);
    let concurrency = reader.value("refersion.concurrency", concurrency);
    let max_requests_per_second = reader.optional("refersion.max_requests_per_second", above_zero);
    Ok(RefersionConfig {
        api_key: api_key?,
        base_url: base_url?,
        timeout: timeout?,
        concurrency: concurrency?,
        max_requests_per_second: max_requests_per_second?,
    })
}

fn segment(reader: &mut Reader, mode: Mode) -> Read<SegmentConfig> {
    let secrets = reader.optional("segment.shared_secrets", shared_secrets);
    let accept_any_api_key = reader.value("segment.accept_any_api_key", flag);
    if matches!(accept_any_api_key, Ok(true)) && mode == Mode::Sandbox {
        reader.refuse("segment.accept_any_api_key", |value| {
            format!("found {}, expected false with --sandbox, which simulates the account main alone", found(value))
        });
    }
    Ok(SegmentConfig { shared_secrets: secrets?.unwrap_or_default(), accept_any_api_key: accept_any_api_key? })
}

fn server(reader: &mut Reader) -> Read<ServerConfig> {
    let listen = reader.value("server.listen", listen);
    let wait = reader.value("server.wait", duration_or_zero);
    let drain = reader.value("server.drain", duration);
    if wait.as_ref().is_ok_and(|wait| *wait > LONGEST_WAIT) {
        reader.surprise("server.wait", |value| {
            format!("found {}, longer than 4s: Segment may stop waiting first and send the event again", found(value))
        });
    }
    Ok(ServerConfig { listen: listen?, wait: wait?, drain: drain? })
}

/// Whether one socket would find its port taken by the other; port 0 is a different one each time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && overlap
}

fn store(reader: &mut Reader, mode: Mode, seals: bool) -> Read<StoreConfig> {
    let url = reader.value("store.url", store_url);
    let deduplication_window = reader.value("store.deduplication_window", duration);
    if deduplication_window.as_ref().is_ok_and(|window| *window < SHORTEST_MEMORY) {
        reader.surprise("store.deduplication_window", |value| {
            format!("found {}, shorter than 4h: Segment may send an event again after it was forgotten", found(value))
        });
    }
    let memory = reader.value("store.deduplication_memory_mb", whole(1..=MAX_MEMORY_MB));
    let seal_keys = reader.optional("store.seal_key", seal_keys);
    if mode == Mode::Live && seals && matches!(seal_keys, Ok(None)) {
        reader.missing(
            "store.seal_key",
            "required where any API key is accepted (segment.accept_any_api_key), which the store keeps sealed only: set \
             STORE_SEAL_KEY, or STORE_SEAL_KEY_FILE to a file that holds it, to what `openssl rand -base64 32` prints",
        );
    }
    let seal_keys = seal_keys?.unwrap_or_default();
    let deduplication_memory = usize::try_from(memory? << 20).unwrap_or(usize::MAX);
    Ok(StoreConfig { url: url?, deduplication_window: deduplication_window?, deduplication_memory, seal_keys })
}

fn delivery(reader: &mut Reader) -> Read<DeliveryConfig> {
    let min = reader.value("delivery.retry_min", duration);
    let max = reader.value("delivery.retry_max", duration);
    let max_age = reader.value("delivery.max_age", duration);
    let max_backlog = reader.value("delivery.max_backlog", whole(1..=u64::MAX));
    let on_existing = [("update", OnExisting::Update), ("ignore", OnExisting::Ignore)];
    let on_existing = reader.value("delivery.on_existing", choice(&on_existing));
    let on_delete = [("disable", OnDelete::Disable), ("anonymize", OnDelete::Anonymize)];
    let on_delete = reader.value("delivery.on_delete", choice(&on_delete));
    if let (Ok(min), Ok(max)) = (&min, &max)
        && min > max
    {
        reader.clash("delivery.retry_min", "delivery.retry_max", |min, max| {
            format!("found {} and {}, expected the first to be no longer than the second", found(min), found(max))
        });
    }
    Ok(DeliveryConfig {
        backoff: Backoff { min: min?, max: max? },
        max_age: max_age?,
        max_backlog: max_backlog?,
        policy: Policy { on_existing: on_existing?, on_delete: on_delete? },
    })
}

fn log(reader: &mut Reader) -> Read<LogConfig> {
    let format = reader.value("log.format", choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    let filter = reader.value("log.filter", log_filter);
    Ok(LogConfig { format: format?, filter: filter? })
}
