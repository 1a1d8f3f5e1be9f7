//! What was called and what was answered, in the order it took effect.
//!
//! Invariants: bounded in number and in size, whatever is sent; no password and no key is kept. Deliberately absent: calls
//! that name no operation, which never reached the account.

use super::Operation;
use crate::domain::Timestamp;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{self, Write};

const CAPACITY: usize = 10_000;
/// Bodies and answers beyond this many bytes of JSON are kept as their size only.
const MAX_BYTES: usize = 4096;

/// One call of an operation.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CallRecord {
    /// Counted from 1; never reused.
    pub number: u64,
    /// When it was carried out.
    pub at: Timestamp,
    /// What was called.
    pub operation: Operation,
    /// The JSON sent, with passwords blanked to `…`; `null` when it was none.
    pub body: Value,
    /// The status the client was sent; none when no answer was, or will be.
    pub status: Option<u16>,
    /// The body of the answer; of a lost one, what it said. A 204's is kept here although HTTP does not carry it.
    pub response: Value,
    /// What befell the call: a [`Fault`](super::Fault) by its name in scripts, `rate_limit` or `fail_rate`.
    pub fault: Option<&'static str>,
}

/// The last calls, oldest first.
#[derive(Default)]
pub(super) struct CallLog {
    calls: VecDeque<CallRecord>,
    total: u64,
}

impl CallLog {
    /// Adds a call; its number is given here.
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

    /// How many calls there ever were.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The calls still remembered, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &CallRecord> {
        self.calls.iter()
    }
}

/// Wherever a password was sent, even to an operation that knows none.
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
    let mut size = Size(0);
    // Err: counting does not fail.
    let _ = serde_json::to_writer(&mut size, &value);
    let Size(bytes) = size;
    if bytes > MAX_BYTES { format!("… {bytes} bytes").into() } else { value }
}

/// Counts what is written, and keeps none of it.
struct Size(usize);

impl Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
