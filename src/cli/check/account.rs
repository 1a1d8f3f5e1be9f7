//! Verifies the API key of an account by one cheap call to Refersion, and compares this machine's clock with the date of the
//! answer.

use super::Finding;
use crate::cli::now;
use crate::config::AccountConfig;
use crate::domain::Timestamp;
use crate::refersion::{ApiKeyVerification, ConnectionPool};
use std::time::Duration;

/// The clocks may differ by so much: the answer's date has no fractions of a second, and the answer takes a while.
const TOLERANCE: Duration = Duration::from_secs(60);

/// How far this machine's clock is ahead of another one, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockDifference {
    Ahead(Duration),
    Behind(Duration),
}

/// Whether Refersion accepts the key; and the difference of the clocks, if the answer had a date.
pub(super) async fn look_at(account: AccountConfig, timeout: Duration) -> (Finding, Option<ClockDifference>) {
    let name = Some(account.name.to_string());
    let (accepted, clock) = verify(&account, timeout).await;
    let finding = match accepted {
        Ok(message) => Finding::good("account", message),
        Err(message) => Finding::bad("account", message),
    };
    (Finding { account: name, ..finding }, clock)
}

async fn verify(account: &AccountConfig, timeout: Duration) -> (Result<String, String>, Option<ClockDifference>) {
    let AccountConfig { api_key, base_url: url, .. } = account;
    let public = api_key.public();
    let client = match ConnectionPool::new(url, timeout).and_then(|pool| pool.client(api_key)) {
        Ok(client) => client,
        Err(error) => return (Err(error.to_string()), None),
    };
    let (verification, date) = client.verify_api_key_with_date().await;
    let clock = date.map(|date| difference(now(), date.into()));
    let accepted = match verification {
        ApiKeyVerification::Accepted => Ok(format!("{url} accepts the API key {public}.…")),
        ApiKeyVerification::Rejected => Err(format!(
            "{url} rejects the API key {public}.…; compare it with the keys in Refersion's account settings"
        )),
        ApiKeyVerification::Unknown { reason, .. } => {
            Err(format!("cannot verify the API key {public}.… with {url}: {reason}"))
        }
    };
    (accepted, clock)
}

fn difference(here: Timestamp, there: Timestamp) -> ClockDifference {
    if here >= there { ClockDifference::Ahead(here.since(there)) } else { ClockDifference::Behind(there.since(here)) }
}

/// What a difference of the clocks means.
pub(super) fn clock(difference: ClockDifference) -> Finding {
    let (by, word) = match difference {
        ClockDifference::Ahead(by) => (by, "ahead of"),
        ClockDifference::Behind(by) => (by, "behind"),
    };
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
            let finding = clock(difference(Timestamp(here), Timestamp(there)));
            assert!(finding.ok == ok && finding.message.starts_with(words), "{here} {there}: {finding:?}");
        }
    }
}
