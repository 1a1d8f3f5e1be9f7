//! The log of calls and their responses, in the order in which they took effect.
//!
//! Invariants: the number of calls and the size of each are bounded, whatever is sent; no password and no API key is kept.
//! Deliberately absent: requests for an unknown operation.

use super::Operation;
use crate::domain::Timestamp;
use serde_json::Value;
use std::collections::VecDeque;

const CAPACITY: usize = 10_000;
/// The most bytes of JSON that are kept of a request or a response. Only the size of a larger one is kept.
const MAX_BYTES: usize = 4096;

/// One call of an operation.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CallRecord {
    /// Counted from 1; never reused.
    pub number: u64,
    /// When it was handled.
    pub at: Timestamp,
    /// The operation.
    pub operation: Operation,
    /// The JSON body of the request, with `…` for passwords; `null` if it was not JSON.
    pub body: Value,
    /// The status that the client received; `None` if it receives no response.
    pub status: Option<u16>,
    /// The body of the response, also if the response was lost. The body of a 204 is kept here although HTTP does not send it.
    pub response: Value,
    /// The fault of the call: a [`Fault`](super::Fault) by its name in scripts, `rate_limit` or `fail_rate`.
    pub fault: Option<&'static str>,
}

/// The last calls, oldest first.
#[derive(Default)]
pub(super) struct CallLog {
    calls: VecDeque<CallRecord>,
    total: u64,
}

impl CallLog {
    /// Adds a call and assigns its number.
    pub(super) fn add(&mut self, mut call: CallRecord) {
        self.total += 1;
        call.number = self.total;
        blank_passwords(&mut call.body);
        call.body = bounded(call.body);
        call.response = bounded(call.response);
        if self.calls.len() == CAPACITY {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    /// The number of calls since the start.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The calls that are kept, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &CallRecord> {
        self.calls.iter()
    }
}

/// Replaces each password, also in requests to operations without a password.
fn blank_passwords(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if name.eq_ignore_ascii_case("password") {
                    *value = "…".into();
                } else {
                    blank_passwords(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(blank_passwords),
        _ => {}
    }
}

fn bounded(value: Value) -> Value {
    let bytes = value.to_string().len();
    if bytes > MAX_BYTES { format!("… {bytes} bytes").into() } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(body: Value) -> CallRecord {
        let at = Timestamp::default();
        CallRecord { number: 0, at, operation: Operation::New, body, status: None, response: Value::Null, fault: None }
    }

    #[test]
    fn the_last_calls_are_kept_and_all_are_counted() {
        let mut call_log = CallLog::default();
        (0..CAPACITY + 5).for_each(|_| call_log.add(call(Value::Null)));
        assert_eq!(call_log.total(), CAPACITY as u64 + 5);
        let numbers: Vec<_> = call_log.iter().map(|call| call.number).collect();
        assert_eq!((numbers.len(), numbers[0]), (CAPACITY, 6));
    }

    #[test]
    fn passwords_are_blanked_wherever_they_stand_and_long_bodies_are_not_kept() {
        for (sent, kept) in [
            (json!({"password": "Abc-12345", "city": "Rome"}), json!({"password": "…", "city": "Rome"})),
            (json!({"affiliates": [{"Password": {"x": 1}}]}), json!({"affiliates": [{"Password": "…"}]})),
            (json!({"city": "x".repeat(5000)}), json!("… 5011 bytes")),
        ] {
            let mut call_log = CallLog::default();
            call_log.add(call(sent.clone()));
            assert_eq!(call_log.iter().next().map(|call| &call.body), Some(&kept), "{sent}");
        }
    }
}
