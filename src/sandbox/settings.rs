//! The settings of a sandbox, which do not change while it runs. Faults that change are scripted: [`Fault`](super::Fault).

use super::account::FIRST_NUMBERS;
use crate::domain::ApiKey;
use std::num::NonZeroU32;
use std::time::Duration;

/// The settings of a sandbox. The default is a healthy Refersion that accepts any API key.
#[derive(Clone, Debug)]
pub struct SandboxSettings {
    /// How long every response takes; half of it passes before the call takes effect.
    pub latency: Duration,
    /// The share of calls that fail at random with a 500: 0 to 1.
    pub fail_rate: f64,
    /// The seed of the random failures.
    pub seed: u64,
    /// Calls per second; the calls of one second may come at once. `None`: no limit.
    pub rate_limit: Option<NonZeroU32>,
    /// The only API key that is accepted. `None`: any well-formed one.
    pub api_key: Option<ApiKey>,
    /// The number of results on a page of `search`, and of `list` without `limit`. Refersion does not publish its own; this one is
    /// small, so that a client has to read more than the first page.
    pub page_size: usize,
    /// The offers of the account, the default offer first. Empty: every offer exists, and the default is 1.
    pub offers: Vec<u64>,
    /// The number of the first affiliate: its id and its code follow from it, and 0 is the affiliate of the contract's examples. Random by
    /// default: a service may keep its store while the sandbox is restarted, and must not take a new affiliate for an earlier one.
    pub first_affiliate: u64,
    /// Whether `get` shows the numeric id as a text, as in the contract's declaration, or as a number, as in its example.
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
            first_affiliate: rand::random_range(0..FIRST_NUMBERS),
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
