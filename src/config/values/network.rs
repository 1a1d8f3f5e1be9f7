//! Parsers for addresses and URLs. A URL that may contain credentials is not shown in a problem.

use super::{Parsed, refuse, scalar_text};
use crate::config::StoreUrl;
use crate::domain::is_loopback;
use std::net::SocketAddr;
use toml::Value;
use url::Url;

/// The base URL of Refersion's API. Its path ends with a slash, so that joining `affiliate/new` appends.
pub(in crate::config) fn base_url(value: &Value) -> Parsed<Url> {
    const ALLOWED: &str = "a URL such as \"https://api.refersion.com/v2\"";
    let mut url = plain_url(value, ALLOWED)?;
    if !["https", "http"].contains(&url.scheme()) {
        return refuse(value, ALLOWED);
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// The URL to which Segment sends a merchant back. It is used exactly as written, because Segment compares it letter by letter.
pub(in crate::config) fn redirect_url(value: &Value) -> Parsed<Url> {
    const ALLOWED: &str = "a URL such as \"https://your-host/connect/callback\"";
    let url = plain_url(value, ALLOWED)?;
    if !url.path().ends_with("/connect/callback") {
        return refuse(value, ALLOWED);
    }
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return refuse(value, format!("{ALLOWED}: https, or http to a loopback address"));
    }
    if scalar_text(value).as_deref() != Some(url.as_str()) {
        return refuse(value, format!("the same URL as it is sent: \"{url}\""));
    }
    Ok(url)
}

/// A URL with a host, and without credentials, query and fragment: these may be secrets.
fn plain_url(value: &Value, allowed: &str) -> Parsed<Url> {
    let text = scalar_text(value).unwrap_or_default();
    if text.contains(['@', '?', '#']) {
        return Err(format!("found a URL with credentials, a query or a fragment (not shown), expected {allowed}"));
    }
    let url = Url::parse(&text).ok().filter(Url::has_host);
    url.map_or_else(|| refuse(value, allowed), Ok)
}

/// The location of the store.
pub(in crate::config) fn store_url(value: &Value) -> Parsed<StoreUrl> {
    const FILE: &str = "sqlite://relative/path.db or sqlite:///absolute/path.db";
    const ALLOWED: &str =
        "sqlite://relative/path.db, sqlite:///absolute/path.db or postgres://user:password@host:5432/database";
    let text = scalar_text(value).unwrap_or_default();
    let Some((scheme, path)) = text.split_once("://") else {
        return match text.strip_prefix("sqlite:") {
            Some(":memory:") => Err(nothing_kept()),
            _ if text.contains('@') => Err(format!("found something else (not shown), expected {ALLOWED}")),
            _ => refuse(value, ALLOWED),
        };
    };
    match path {
        "" => Err(format!("found nothing behind {scheme}://, expected {ALLOWED}")),
        _ if ["postgres", "postgresql"].contains(&scheme) => Ok(StoreUrl::Postgres(text.into())),
        // The rest is not shown: the URL of another database may contain its password.
        _ if scheme != "sqlite" => {
            Err(format!("found a URL of the scheme {scheme:?}, expected {ALLOWED}; no other store is supported"))
        }
        _ if path.contains(":memory:") => Err(nothing_kept()),
        _ if path.contains('?') => refuse(value, format!("{FILE}, without options after a `?`")),
        _ if path.starts_with("~/") => refuse(value, format!("{FILE}; `~` means a folder to a shell only")),
        _ if path.ends_with('/') => refuse(value, format!("the path of a file: {FILE}")),
        _ => Ok(StoreUrl::Sqlite(path.into())),
    }
}

fn nothing_kept() -> String {
    "found a store in memory, expected a file (sqlite://path.db): an event is answered only once it is safe on disk"
        .to_owned()
}

/// An address to listen on; `:8080` is every IPv4 address.
pub(in crate::config) fn listen(value: &Value) -> Parsed<SocketAddr> {
    let text = scalar_text(value).unwrap_or_default();
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text };
    match full.parse() {
        Ok(address) => Ok(address),
        Err(_) => refuse(value, "an IP address and a port: \"127.0.0.1:8080\", \"[::]:8080\", or \":8080\" for any"),
    }
}
