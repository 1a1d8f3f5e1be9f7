//! Tests of the scheduler: its rules as claims, and random histories held against a naive model.

mod claims;
mod model;
mod properties;

use super::{Entry, RetryWait};
use crate::domain::{AffiliateKey, EventId, LaneKey, Seq, Timestamp, UserKey};
use std::time::Duration;

/// The key that stands for `name`: of an e-mail if there is an `@` in it, else of a `userId`.
fn user(name: &str) -> UserKey {
    if name.contains('@') { UserKey::Email(bytes(name)) } else { UserKey::UserId(bytes(name)) }
}

/// The affiliate `name`.
fn affiliate(name: &str) -> AffiliateKey {
    AffiliateKey(bytes(name))
}

fn bytes(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// An entry with these keys, written as in [`user`]; `+code` is an affiliate to which they lead.
fn entry(seq: i64, keys: &[&str]) -> Entry {
    let key = |name: &&str| match name.strip_prefix('+') {
        Some(code) => LaneKey::Affiliate(affiliate(code)),
        None => LaneKey::User(user(name)),
    };
    Entry {
        seq: Seq(seq),
        id: EventId([0; 16]),
        lane_keys: keys.iter().map(key).collect(),
        attempted: false,
        followers: Vec::new(),
        retry: None,
    }
}

/// An entry that was begun before, with these others.
fn begun(seq: i64, keys: &[&str], followers: &[i64]) -> Entry {
    Entry { attempted: true, followers: seqs(followers), ..entry(seq, keys) }
}

/// An entry that is retried `wait` milliseconds after the moment `noted_at`.
fn failed(seq: i64, keys: &[&str], noted_at: i64, wait: u64) -> Entry {
    let retry = RetryWait { wait: Duration::from_millis(wait), noted_at: Timestamp(noted_at) };
    Entry { attempted: true, retry: Some(retry), ..entry(seq, keys) }
}

fn seqs(numbers: &[i64]) -> Vec<Seq> {
    numbers.iter().copied().map(Seq).collect()
}
