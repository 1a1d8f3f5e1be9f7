//! Verifies the API key of an account by one cheap call to Refersion, and compares this machine's clock with the date of the
//! answer.

use super::Finding;
use crate::cli::now;
use crate::config::AccountConfig;
use crate::delivery::{ApiKeyVerification, TransientFailure};
use crate::domain::Timestamp;
use crate::refersion::ConnectionPool;
use std::time::Duration;

/// The difference of the clocks that is accepted: the answer's date has no fractions of a second, and the answer takes a while.
const TOLERANCE: Duration = Duration::from_secs(60);

/// The time of this machine, and the one that an answer has.
pub(super) type Clocks = (Timestamp, Timestamp);

/// Whether Refersion accepts the key; and the clocks, if the answer had a date.
pub(super) async fn look_at(account: AccountConfig, timeout: Duration) -> (Finding, Option<Clocks>) {
    let AccountConfig { name, api_key, base_url: url, .. } = account;
    let found = |finding| Finding { account: Some(name.to_string()), ..finding };
    let public = api_key.public();
    let client = match ConnectionPool::new(&url, timeout).and_then(|pool| pool.client(&api_key)) {
        Ok(client) => client,
        Err(error) => return (found(Finding::bad("account", error.to_string())), None),
    };
    let (verification, date) = client.verify_api_key_with_date().await;
    let clocks = date.map(|date| (now(), date.into()));
    let finding = match verification {
        ApiKeyVerification::Accepted => Finding::good("account", format!("{url} accepts the API key {public}.…")),
        ApiKeyVerification::Rejected => Finding::bad(
            "account",
            format!("{url} rejects the API key {public}.…; compare it with the keys in Refersion's account settings"),
        ),
        ApiKeyVerification::Unknown(TransientFailure { what, .. }) => {
            Finding::bad("account", format!("cannot verify the API key {public}.… with {url}: {what}"))
        }
    };
    (found(finding), clocks)
}

/// The effect of a difference of the clocks.
pub(super) fn clock((here, there): Clocks) -> Finding {
    let (by, word) = if here >= there { (here.since(there), "ahead of") } else { (there.since(here), "behind") };
    if by <= TOLERANCE {
        return Finding::good("clock", "agrees with Refersion's");
    }
    let by = humantime::format_duration(Duration::from_secs(by.as_secs()));
    let message = format!(
        "{by} {word} Refersion's: what an event says counts as newer or older by this clock, too; synchronise it (NTP)"
    );
    Finding::bad("clock", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_differs_by_more_than_a_minute_is_reported() {
        for (here, there, ok, words) in [
            (1_000_000, 1_000_000, true, "agrees with Refersion's"),
            (1_060_999, 1_000_999, true, "agrees"),
            (1_000_000, 1_060_000, true, "agrees"),
            (1_061_000, 1_000_000, false, "1m 1s ahead of Refersion's"),
            (1_000_000, 4_600_000, false, "1h behind Refersion's"),
        ] {
            let finding = clock((Timestamp(here), Timestamp(there)));
            assert!(finding.ok == ok && finding.message.starts_with(words), "{here} {there}: {finding:?}");
        }
    }
}
