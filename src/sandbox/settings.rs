//! How a sandbox behaves, decided once: a healthy Refersion unless told otherwise. What changes later is scripted.

use crate::domain::ApiKey;
use std::num::NonZeroU32;
use std::time::Duration;

/// How a sandbox behaves. The default is a healthy Refersion that accepts any key pair.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// How long every answer takes, half of it before the call takes effect.
    pub latency: Duration,
    /// The share of calls answered 500 by chance, 0 to 1.
    pub fail_rate: f64,
    /// What chance starts from.
    pub seed: u64,
    /// Calls per second; a second's worth may come at once. None: no limit.
    pub rate_limit: Option<NonZeroU32>,
    /// The only key pair accepted. None: any well-formed one.
    pub api_key: Option<ApiKey>,
    /// Results on a page of `search`, and of `list` without `limit`. Refersion's own is unpublished; this one is small, so
    /// that nobody gets away with reading the first page only.
    pub page_size: usize,
    /// The account's offers, the default one first. Empty: every offer exists, and the default one is 1.
    pub offers: Vec<u64>,
    /// Whether `get` answers the numeric id as a text, as it is declared, or as a number, as it is exemplified.
    pub ids_as_text: bool,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            fail_rate: 0.0,
            seed: 0,
            rate_limit: None,
            api_key: None,
            page_size: 3,
            offers: Vec::new(),
            ids_as_text: false,
        }
    }
}

impl SandboxSettings {
    pub(super) fn default_offer(&self) -> u64 {
        self.offers.first().copied().unwrap_or(1)
    }

    pub(super) fn has_offer(&self, offer: u64) -> bool {
        self.offers.is_empty() || self.offers.contains(&offer)
    }
}
