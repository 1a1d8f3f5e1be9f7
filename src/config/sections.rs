//! Reads a [`Config`] from the layers, section by section, and checks values against each other.
//!
//! In: the layers. Out: a [`Config`], or every problem. Deliberately absent: the check of a single value ([`super::values`]).

use super::problem::SettingOrigin;
use super::read::{Read, Reader, read_all};
use super::{
    AccountConfig, Config, DeliveryConfig, LogConfig, Mode, OpsConfig, RefersionConfig, SegmentConfig, ServerConfig,
    StoreConfig, accounts, base_url, connect, rules, settings,
};
use crate::delivery::Policy;
use crate::mapping::Rules;
use crate::scheduling::Backoff;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use toml::Value;

/// The longest wait without a warning. Segment stops waiting for a response after 5 s; the rest is for the network.
const MAX_WAIT: Duration = Duration::from_secs(4);
/// The shortest window without a warning: Segment sends an event again for four hours.
const MIN_DEDUPLICATION_WINDOW: Duration = Duration::from_hours(4);

/// Reads everything, or notes every problem.
pub(super) fn config(reader: &mut Reader, mode: Mode) -> Read<Config> {
    let segment = segment(reader, mode);
    let any_key = segment.as_ref().map_or(true, |segment| segment.accept_any_api_key);
    let refersion = refersion(reader, mode, any_key);
    let connect = connect::read(reader, mode);
    let server = server(reader, mode);
    let ops = ops(reader);
    let store = store(reader, mode, matches!(&segment, Ok(segment) if segment.accept_any_api_key));
    let delivery = delivery(reader);
    let rules = rules::read(reader);
    let log = log(reader);
    let accounts = accounts::read(reader, mode);
    if remembers(&rules, &accounts) {
        reader.require_seal_key(
            mode,
            "required with mapping.remember_traits, which keeps what is remembered of users sealed only",
            "; or set remember_traits to \"off\"",
        );
    }
    if reader.layers.get(settings::REFERSION_API_KEY.spec).is_none() && (any_key || has_accounts(reader)) {
        let others = if has_accounts(reader) {
            "each of [[accounts]] has its own"
        } else {
            "an account whose API key arrives with its requests has none"
        };
        if let Some(secrets) = reader.layers.get(settings::SEGMENT_SHARED_SECRETS.spec) {
            let unused = "belongs to the account main, which has no API key (refersion.api_key), and is not used";
            reader.warnings.push(secrets.problem(format!("{unused}: {others}")));
        }
    }
    if let (Ok(server), Ok(ops)) = (&server, &ops)
        && collide(server.listen, ops.listen)
    {
        reader.conflict(settings::SERVER_LISTEN.spec, settings::OPS_LISTEN.spec, "two different ports");
    }
    reader.written.add_layers(&reader.layers);
    read_all!(Config {
        refersion: refersion,
        segment: segment,
        connect: connect,
        server: server,
        ops: ops,
        store: store,
        delivery: delivery,
        log: log,
        rules: rules,
        accounts: accounts,
        written: Read::Ok(std::mem::take(&mut reader.written)),
    })
}

/// Whether `[[accounts]]` is set, valid or not.
fn has_accounts(reader: &Reader) -> bool {
    reader.layers.accounts.as_ref().is_some_and(|accounts| accounts.value != Value::Array(Vec::new()))
}

fn refersion(reader: &mut Reader, mode: Mode, any_key: bool) -> Read<RefersionConfig> {
    let api_key = reader.optional(&settings::REFERSION_API_KEY);
    if mode == Mode::Live && matches!(api_key, Ok(None)) && !has_accounts(reader) && !any_key {
        reader.missing(
            settings::REFERSION_API_KEY.spec,
            "required: set REFERSION_API_KEY, or REFERSION_API_KEY_FILE to a file that holds it, to \
             `publickey.secretkey`, Refersion's two keys joined by a dot (--sandbox runs without)",
        );
    }
    read_all!(RefersionConfig {
        api_key: api_key,
        base_url: base_url::read(reader),
        timeout: reader.value(&settings::REFERSION_TIMEOUT),
        concurrency: reader.value(&settings::REFERSION_CONCURRENCY),
        max_requests_per_second: reader.optional(&settings::REFERSION_MAX_REQUESTS_PER_SECOND),
    })
}

fn segment(reader: &mut Reader, mode: Mode) -> Read<SegmentConfig> {
    let shared_secrets = reader.optional(&settings::SEGMENT_SHARED_SECRETS).map(Option::unwrap_or_default);
    let accept_any_api_key = reader.value(&settings::SEGMENT_ACCEPT_ANY_API_KEY);
    if matches!(accept_any_api_key, Ok(true)) && mode == Mode::Sandbox {
        let expected = "false with --sandbox, which simulates the account main alone";
        reader.refuse(settings::SEGMENT_ACCEPT_ANY_API_KEY.spec, expected);
    }
    read_all!(SegmentConfig { shared_secrets: shared_secrets, accept_any_api_key: accept_any_api_key })
}

fn server(reader: &mut Reader, mode: Mode) -> Read<ServerConfig> {
    let is_set =
        reader.layers.get(settings::SERVER_LISTEN.spec).is_some_and(|set| set.origin != SettingOrigin::Default);
    let mut listen = reader.value(&settings::SERVER_LISTEN);
    if let (Ok(address), Mode::Sandbox, false) = (&mut listen, mode, is_set) {
        address.set_ip(Ipv4Addr::LOCALHOST.into()); // a trial is for this machine
    }
    let config = read_all!(ServerConfig {
        listen: listen,
        wait: reader.value(&settings::SERVER_WAIT),
        drain: reader.value(&settings::SERVER_DRAIN),
    });
    if config.as_ref().is_ok_and(|config| config.wait > MAX_WAIT) {
        let consequences = ", longer than 4s: Segment may stop waiting first and send the event again";
        reader.warn(settings::SERVER_WAIT.spec, consequences);
    }
    config
}

fn ops(reader: &mut Reader) -> Read<OpsConfig> {
    read_all!(OpsConfig {
        listen: reader.value(&settings::OPS_LISTEN),
        token: reader.optional(&settings::OPS_TOKEN),
        metrics_accounts: reader.value(&settings::OPS_METRICS_ACCOUNTS),
    })
}

/// Whether two listeners would need the same port. Port 0 is a free port each time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && overlap
}

/// Whether traits of users who are no affiliates yet are remembered, in any account.
fn remembers(rules: &Read<Rules>, accounts: &Read<Vec<AccountConfig>>) -> bool {
    let accounts = accounts.as_deref().unwrap_or_default().iter().map(|account| &account.rules);
    rules.as_ref().ok().into_iter().chain(accounts).any(|rules| rules.remember_traits.is_some())
}

fn store(reader: &mut Reader, mode: Mode, seals: bool) -> Read<StoreConfig> {
    let config = read_all!(StoreConfig {
        url: reader.value(&settings::STORE_URL),
        deduplication_window: reader.value(&settings::STORE_DEDUPLICATION_WINDOW),
        deduplication_memory: reader.value(&settings::STORE_DEDUPLICATION_MEMORY_MB),
        ledger_window: reader.value(&settings::STORE_LEDGER_WINDOW),
        lease: reader.value(&settings::STORE_LEASE),
        seal_keys: reader.optional(&settings::STORE_SEAL_KEY).map(Option::unwrap_or_default),
    });
    if config.as_ref().is_ok_and(|config| config.deduplication_window < MIN_DEDUPLICATION_WINDOW) {
        let consequences = ", shorter than 4h: Segment may send an event again after it was forgotten";
        reader.warn(settings::STORE_DEDUPLICATION_WINDOW.spec, consequences);
    }
    if seals {
        reader.require_seal_key(
            mode,
            "required where any API key is accepted (segment.accept_any_api_key), which the store keeps sealed only",
            "",
        );
    }
    config
}

fn delivery(reader: &mut Reader) -> Read<DeliveryConfig> {
    let backoff = read_all!(Backoff {
        min: reader.value(&settings::DELIVERY_RETRY_MIN),
        max: reader.value(&settings::DELIVERY_RETRY_MAX),
    });
    if backoff.as_ref().is_ok_and(|backoff| backoff.min > backoff.max) {
        let expected = "the first to be no longer than the second";
        reader.conflict(settings::DELIVERY_RETRY_MIN.spec, settings::DELIVERY_RETRY_MAX.spec, expected);
    }
    read_all!(DeliveryConfig {
        backoff: backoff,
        max_age: reader.value(&settings::DELIVERY_MAX_AGE),
        max_backlog: reader.value(&settings::DELIVERY_MAX_BACKLOG),
        policy: read_all!(Policy {
            on_existing: reader.value(&settings::DELIVERY_ON_EXISTING),
            on_delete: reader.value(&settings::DELIVERY_ON_DELETE),
            on_other_user: reader.value(&settings::DELIVERY_ON_OTHER_USER),
            on_stale: reader.value(&settings::DELIVERY_STALE),
        }),
        learn: reader.value(&settings::DELIVERY_LEARN),
    })
}

fn log(reader: &mut Reader) -> Read<LogConfig> {
    read_all!(LogConfig { format: reader.value(&settings::LOG_FORMAT), filter: reader.value(&settings::LOG_FILTER) })
}
