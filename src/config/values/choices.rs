//! Parsers for values from a closed list of words, in any case.

use super::{Parsed, refuse, scalar_text, text};
use crate::config::did_you_mean::nearest;
use crate::config::problem::either;
use crate::domain::AffiliateStatus;
use toml::Value;

/// `true` or `false`.
pub(in crate::config) fn boolean(value: &Value) -> Parsed<bool> {
    choice(value, &[("true", true), ("false", false)])
}

/// One of some names, in any case.
pub(in crate::config) fn choice<T: Copy>(value: &Value, names: &[(&str, T)]) -> Parsed<T> {
    let text = scalar_text(value).unwrap_or_default();
    match names.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text)) {
        Some((_, meant)) => Ok(*meant),
        None => refuse(value, either(&names.iter().map(|(name, _)| *name).collect::<Vec<_>>())),
    }
}

/// A status that an audience may set.
pub(in crate::config) fn audience_status(value: &Value) -> Parsed<AffiliateStatus> {
    use AffiliateStatus::{Active, Denied, Disabled};
    choice(value, &[("ACTIVE", Active), ("DENIED", Denied), ("DISABLED", Disabled)])
}

/// The filter of log lines: directives of `tracing_subscriber`'s `Targets`, without the blanks that may be around them. Empty: only errors.
pub(in crate::config) fn log_filter(value: &Value) -> Parsed<String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let filter = text(value)?;
    // `module=` means `module`: all its log lines.
    let directives = filter.split(',').map(|directive| directive.trim().trim_end_matches('='));
    let directives: Vec<&str> = directives.filter(|directive| !directive.is_empty()).collect();
    // `Targets` takes a single word that is no level as the name of a module, so `debg` would turn all logging off.
    let words = directives.iter().filter(|directive| !LEVELS.iter().any(|l| l.eq_ignore_ascii_case(directive)));
    let meant = |word: &&str| LEVELS.into_iter().find(|l| word.starts_with(l)).or_else(|| nearest(word, LEVELS));
    if let Some(meant) = words.filter(|word| !word.contains(['=', ':', '['])).find_map(meant) {
        return refuse(value, format!("a level; did you mean {meant:?}?"));
    }
    let filter = if directives.is_empty() { LEVELS[0].to_owned() } else { directives.join(",") };
    // `Targets` takes any text as the name of a module, also a directive about a span, such as `hyper[request]=debug`.
    let begins = |directive: &str| directive.starts_with(|c: char| c.is_alphanumeric() || ['-', ':', '_'].contains(&c));
    let are_names = directives.iter().all(|directive| begins(directive) && !directive.contains('['));
    match filter.parse::<tracing_subscriber::filter::Targets>() {
        Ok(_) if are_names => Ok(filter),
        _ => refuse(value, format!("{}, or \"info,tower_http=debug\" for one part alone", either(&LEVELS))),
    }
}
