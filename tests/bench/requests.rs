//! Requests as bytes: of events that are listed, and prepared ones of which only numbers and signature change.
//!
//! Every field that differs from event to event has a fixed width, so a prepared request is built once and its numbers are
//! overwritten: making the next request costs the load generator well under a microsecond (a signed one: one HMAC).

use crate::event::{API_KEY, basic, fresh, identify, signature};
use std::io::Write as _;

/// How requests are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The API key as Basic credentials.
    Basic,
    /// The API key of another account.
    Key(&'static str),
    /// `X-Signature` over the event; of an array, over its first.
    Signed,
}

/// Whose events are sent.
#[derive(Clone, Copy, Debug)]
pub enum Users {
    /// Each of a user of its own.
    New,
    /// By turns one of a new user, and one of a user among the `count` from number `first` on, spread evenly.
    HalfKnown { first: u64, count: u64 },
}

/// What requests are made of. No event is sent twice.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub credentials: Credentials,
    /// 1: the event by itself; more: an array.
    pub events: u64,
    pub users: Users,
}

impl Kind {
    /// Requests of `events` each, of new users, with the API key.
    pub fn new(events: u64) -> Self {
        Self { credentials: Credentials::Basic, events, users: Users::New }
    }

    fn user(&self, message: u64) -> u64 {
        match self.users {
            Users::HalfKnown { first, count } if message.is_multiple_of(2) => first + spread(message) % count,
            Users::New | Users::HalfKnown { .. } => message,
        }
    }
}

/// Neighbouring numbers far apart (Fibonacci hashing).
fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

/// The whole request with `body`, whose first event is `first`.
pub fn request(credentials: Credentials, body: &[u8], first: &[u8]) -> Vec<u8> {
    let mut out =
        b"POST /segment HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Segment.io/1.0\r\nAccept: */*\r\n".to_vec();
    out.extend_from_slice(b"Content-Type: application/json\r\n");
    match credentials {
        Credentials::Basic => write!(out, "Authorization: {}\r\n", basic(API_KEY)),
        Credentials::Key(key) => write!(out, "Authorization: {}\r\n", basic(key)),
        Credentials::Signed => write!(out, "{SIGNATURE}{}\r\n", signature(first)),
    }
    .and_then(|()| write!(out, "Content-Length: {}\r\n\r\n", body.len()))
    .expect("memory takes it");
    out.extend_from_slice(body);
    out
}

const SIGNATURE: &str = "X-Signature: ";
/// The length of a signature, in hexadecimal digits.
const SIGNATURE_DIGITS: usize = 40;

/// A request of these events: message, user, revision.
pub fn of_events(kind: Kind, events: impl Iterator<Item = (u64, u64, u64)>) -> Vec<u8> {
    let (mut body, mut first_end) = (Vec::new(), 0);
    let array = kind.events > 1;
    for (number, (message, user, revision)) in events.enumerate() {
        if array {
            body.push(if number == 0 { b'[' } else { b',' });
        }
        identify(&mut body, message, user, revision);
        if number == 0 {
            first_end = body.len();
        }
    }
    if array {
        body.push(b']');
    }
    request(kind.credentials, &body, &body[usize::from(array)..first_end])
}

/// How many digits of a number are overwritten.
const DIGITS: usize = 12;
/// Numbers that stand in a prepared request where those of its events will.
const MESSAGE: u64 = 777_777_777_777;
const USER: u64 = 888_888_888_888;

/// A prepared request, and the next ones of its kind.
pub struct Requests {
    kind: Kind,
    bytes: Vec<u8>,
    /// Where the first event lies, and from one event to the next.
    first: std::ops::Range<usize>,
    stride: usize,
    /// Where the numbers stand within an event.
    messages: Vec<usize>,
    users: Vec<usize>,
    signature: Option<usize>,
}

impl Requests {
    pub fn new(kind: Kind) -> Self {
        let mut event = Vec::new();
        identify(&mut event, MESSAGE, USER, 0);
        let bytes = of_events(kind, (0..kind.events).map(|_| (MESSAGE, USER, 0)));
        let begin = places(&bytes, &event)[0];
        Self {
            kind,
            first: begin..begin + event.len(),
            stride: event.len() + 1,
            messages: places(&event, MESSAGE.to_string().as_bytes()),
            users: places(&event, USER.to_string().as_bytes()),
            signature: places(&bytes[..begin], SIGNATURE.as_bytes()).first().map(|at| at + SIGNATURE.len()),
            bytes,
        }
    }

    /// The request made last.
    pub fn current(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes the next request, of events that nobody has sent.
    pub fn next(&mut self) -> &[u8] {
        let messages = fresh(self.kind.events)..;
        for (number, message) in (0..self.kind.events as usize).zip(messages) {
            let event = &mut self.bytes[self.first.start + number * self.stride..];
            self.messages.iter().for_each(|at| overwrite(&mut event[*at..], message));
            self.users.iter().for_each(|at| overwrite(&mut event[*at..], self.kind.user(message)));
        }
        if let Some(at) = self.signature {
            let signature = signature(&self.bytes[self.first.clone()]);
            self.bytes[at..at + SIGNATURE_DIGITS].copy_from_slice(signature.as_bytes());
        }
        &self.bytes
    }
}

/// Where `wanted` begins in `bytes`, every time.
fn places(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    bytes.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted).map(|(at, _)| at).collect()
}

fn overwrite(digits: &mut [u8], mut number: u64) {
    for digit in digits[..DIGITS].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
