//! The leak check: no output of the service may hold a secret, a password or an e-mail address.
//!
//! Every test passes what its service prints and answers, and what its commands print, to [`check`]. Secrets are those among
//! the settings that tests start the service with, and those given to [`register`]; an e-mail address is known by its form,
//! so that no test can forget to register one. Not checked: commands and answers whose purpose is to show an event or an
//! affiliate.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

static REGISTERED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Settings that hold secrets, several of them between commas; of an API key the part after the dot is one.
const SECRET_SETTINGS: [&str; 5] =
    ["CONNECT_CLIENT_SECRET", "OPS_TOKEN", "REFERSION_API_KEY", "SEGMENT_SHARED_SECRETS", "STORE_SEAL_KEY"];

/// From now on, no output may hold `secret`.
pub fn register(secret: &str) {
    // A shorter secret may well be part of a word.
    if secret.len() >= 8 {
        REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned());
    }
}

/// Registers the secrets among settings.
pub fn register_settings<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (_, value) in settings.into_iter().filter(|(name, _)| SECRET_SETTINGS.contains(name)) {
        value
            .split(',')
            .for_each(|secret| register(secret.split_once('.').map_or(secret, |(_, secret)| secret).trim()));
    }
}

/// The first secret or e-mail address in `text`.
pub fn leak(text: &str) -> Option<String> {
    let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    registered.iter().find(|secret| text.contains(&**secret)).cloned().or_else(|| address(text).map(str::to_owned))
}

/// Fails the test if `text` holds a secret or an e-mail address.
pub fn check(text: &str) {
    if let Some(leak) = leak(text) {
        panic!("{leak:?} leaked into:\n{text}");
    }
}

/// An e-mail address in `text`: something before an `@`, and after it a host with a dot; also with the `@` as `%40`, as in a
/// URL.
fn address(text: &str) -> Option<&str> {
    let inside = |c: char| c.is_alphanumeric() || "@%._+-".contains(c);
    let words = text.split(|c| !inside(c));
    let found = words.filter_map(|word| Some((word, word.split_once('@').or_else(|| word.split_once("%40"))?)));
    let mut found = found.filter(|(_, (name, host))| !name.is_empty() && host.trim_matches('.').contains('.'));
    found.next().map(|(word, _)| word)
}
