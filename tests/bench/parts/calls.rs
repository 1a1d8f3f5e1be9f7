//! Calls: how many calls of Refersion's an event costs. Counts, which repeat; the same whatever the machine.

use crate::Bench;
use crate::event::{API_KEY, Builder, Kind, Proof, basic, delete, fresh, identify};
use crate::refersion::Refersion;
use crate::report::{Figure, Reach, Row};
use crate::service::{Service, folder};
use crate::wire::Connection;
use std::time::Duration;

const PART: &str = "calls";

pub fn run(bench: &mut Bench) -> bool {
    let users = bench.scaled(2000);
    let (folder, refersion) = (folder(), Refersion::start(Duration::from_millis(5)));
    let service = Service::start(&refersion.base_url, folder.path(), &[]);
    let first = fresh(users * 2);
    let calls = |bench: &mut Bench, what: String, events: u64, reach: Option<f64>, send: &dyn Fn()| {
        let before = refersion.sandbox.calls_total();
        send();
        service.until_drained();
        let calls = (refersion.sandbox.calls_total() - before) as f64 / events as f64;
        let row = Row::new(what, Figure::of(&[calls]), "calls an event");
        bench.report.add(PART, reach.map(Reach::AtMost).into_iter().fold(row, Row::reach));
    };
    calls(bench, format!("first sync of {users} users"), users, None, &|| service.post_users(first, users, 0));
    calls(bench, "identical re-sync".to_owned(), users, Some(0.0), &|| service.post_users(first, users, 0));
    calls(bench, "10 edits of each user in a burst".to_owned(), users * 10, None, &|| {
        for user in (first..first + users).step_by(100) {
            send(&service, (1..=10).flat_map(|revision| (user..user + 100).map(move |user| (user, revision))));
        }
    });
    calls(bench, "mixed: 50 % same, 30 % changed, 15 % new, 5 % deleted".to_owned(), users, None, &|| {
        mixed(&service, first, users);
    });
    true
}

/// One array of these users and revisions.
fn send(service: &Service, events: impl Iterator<Item = (u64, u64)>) {
    let mut requests = Builder::new(Kind { proof: Proof::Basic, events: 1000 });
    let message = fresh(1000);
    let request = requests.events(events.zip(message..).map(|((user, revision), message)| (message, user, revision)));
    assert_eq!(Connection::open(service.server).exchange(request), 202);
}

/// One event for each user, in the order of the users; what is new comes from users not met before.
fn mixed(service: &Service, first: u64, users: u64) {
    let message = fresh(users);
    let mut body = b"[".to_vec();
    for n in 0..users {
        if n > 0 {
            body.push(b',');
        }
        match n % 20 {
            0..10 => identify(&mut body, message + n, first + n, 10),
            10..16 => identify(&mut body, message + n, first + n, 11),
            16..19 => identify(&mut body, message + n, first + users + n, 0),
            _ => delete(&mut body, message + n, first + n),
        }
    }
    body.push(b']');
    let head = format!(
        "POST /segment HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n",
        basic(API_KEY),
        body.len()
    );
    assert_eq!(Connection::open(service.server).exchange(&[head.as_bytes(), &body].concat()), 202);
}
