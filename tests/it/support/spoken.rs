//! Everything that the service says during the whole suite passes here: what its processes print, its answers, and the output
//! of its commands. None of it may hold a secret, a password or an e-mail address.
//!
//! Secrets are those of the settings that tests start the service with, and what [`keep`] is told; an address is known by its
//! looks, so that no test can forget to tell one. Not asked: commands and answers that show an event or an affiliate because
//! that is what they are for.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

static KEPT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Settings that hold secrets, several of them between commas; of an API key the part after the dot is one.
const SECRETS: [&str; 3] = ["REFERSION_API_KEY", "SEGMENT_SHARED_SECRETS", "STORE_SEAL_KEY"];

/// From now on nobody may say `secret`.
pub fn keep(secret: &str) {
    // What is shorter may well be part of a word.
    if secret.len() >= 8 {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned());
    }
}

/// Keeps the secrets among settings.
pub fn keep_settings<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (_, value) in settings.into_iter().filter(|(name, _)| SECRETS.contains(name)) {
        value.split(',').for_each(|secret| keep(secret.split_once('.').map_or(secret, |(_, secret)| secret).trim()));
    }
}

/// What of `text` should not have been said.
pub fn leak(text: &str) -> Option<String> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.iter().find(|secret| text.contains(&**secret)).cloned().or_else(|| address(text).map(str::to_owned))
}

/// Fails the test if `text` holds what should not have been said.
pub fn check(text: &str) {
    if let Some(leak) = leak(text) {
        panic!("{leak:?} was told:\n{text}");
    }
}

/// An e-mail address in `text`: something before an `@`, and after it a host with a dot, or what an escape in a URL makes of
/// both.
fn address(text: &str) -> Option<&str> {
    let inside = |c: char| c.is_alphanumeric() || "@%._+-".contains(c);
    let words = text.split(|c| !inside(c));
    let found = words.filter_map(|word| Some((word, word.split_once('@').or_else(|| word.split_once("%40"))?)));
    let mut found = found.filter(|(_, (name, host))| !name.is_empty() && host.trim_matches('.').contains('.'));
    found.next().map(|(word, _)| word)
}
