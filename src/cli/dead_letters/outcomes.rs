//! Waits for the results of replayed events, and prints them.
//!
//! In: the results of a replay. Out: a line for each event, in the order in which they end; and whether each event was carried out, or had
//! nothing to do. Invariant: the wait ends after the given time; an event that is still pending is reported as such.

use crate::cli::admin_client::AdminClient;
use crate::store::{EventRecord, EventState, ReplayResult};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The pause before the service is asked again: longer each time, so that a long wait costs little.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Waits for the end of these events for at most `timeout`. `show` prints a line, which is JSON if `json`.
pub(super) async fn wait(
    api: &AdminClient,
    mut replayed: Vec<ReplayResult>,
    timeout: Duration,
    mut show: impl FnMut(String),
    json: bool,
) -> Result<bool, String> {
    let (deadline, mut pause, mut all_delivered) = (Instant::now() + timeout, FIRST_PAUSE, true);
    loop {
        let mut pending = Vec::new();
        for result in replayed {
            match look_at(api, result).await? {
                Some(event) if event.state == EventState::Pending => pending.push((result, event)),
                event => {
                    all_delivered &= event.as_ref().is_none_or(|event| event.state == EventState::Settled);
                    show(line(result, event.as_ref(), json));
                }
            }
        }
        if pending.is_empty() {
            return Ok(all_delivered);
        }
        if Instant::now() >= deadline {
            for (result, event) in &pending {
                show(line(*result, Some(event), json));
            }
            return Ok(false);
        }
        replayed = pending.into_iter().map(|(result, _)| result).collect();
        sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn look_at(api: &AdminClient, result: ReplayResult) -> Result<Option<EventRecord>, String> {
    match result.seq {
        Some(seq) => api.find(&format!("/api/v1/events/{seq}")).await,
        None => Ok(None),
    }
}

fn line(result: ReplayResult, event: Option<&EventRecord>, json: bool) -> String {
    if json {
        let mut line = json!(result);
        if let Some(event) = event {
            line["state"] = json!(event.state);
            if let Some(outcome) = &event.outcome {
                line["event_outcome"] = json!(outcome);
            }
            if let Some(reason) = &event.reason {
                line["reason"] = json!(reason);
            }
        }
        return line.to_string();
    }
    let seq = result.seq.unwrap_or_default();
    let what = match event {
        None => "its result is no longer known".to_owned(),
        Some(EventRecord { state: EventState::Pending, .. }) => "still pending".to_owned(),
        Some(EventRecord { state: EventState::Settled, outcome, .. }) => outcome.clone().unwrap_or_default(),
        Some(EventRecord { outcome, reason, .. }) => {
            let (outcome, reason) = (outcome.as_deref().unwrap_or_default(), reason.as_deref().unwrap_or_default());
            format!("a dead letter again ({outcome}): {reason}")
        }
    };
    format!("{}: pending again as {seq}: {what}", result.id)
}
