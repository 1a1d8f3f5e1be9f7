//! Calls: how many calls of Refersion's an event costs. Counts, which repeat; the same whatever the machine.

use crate::Bench;
use crate::event::{delete, fresh, identify};
use crate::refersion::Refersion;
use crate::report::{Goal, Row, Series};
use crate::requests::{Credentials, Kind, of_events, request};
use crate::service::{Service, folder};
use std::time::Duration;

const PART: &str = "calls";

/// What is sent: a name, how many events for each user, and the goal for the calls of an event.
const STEPS: [(&str, u64, Option<f64>); 4] = [
    ("first sync", 1, None),
    ("identical re-sync", 1, Some(0.0)),
    ("10 edits of each user in a burst", 10, None),
    ("mixed: 50 % same, 30 % changed, 15 % new, 5 % deleted", 1, None),
];

pub fn run(bench: &mut Bench) -> bool {
    let users = bench.scaled(2000);
    let mut steps = STEPS.map(|_| Vec::new());
    for build in &bench.builds {
        let (folder, refersion) = (folder(), Refersion::start(Duration::from_millis(5)));
        let service = Service::start(build, &refersion.base_url, folder.path(), &[]);
        let first = fresh(users * 2);
        for (step, series) in steps.iter_mut().enumerate() {
            let before = refersion.sandbox.calls_total();
            send_step(&service, step, first, users);
            service.until_drained();
            let calls = (refersion.sandbox.calls_total() - before) as f64;
            series.push(Series::once(calls / (users * STEPS[step].1) as f64));
        }
    }
    for ((name, _, most), series) in STEPS.iter().zip(steps) {
        let row = Row::new(format!("{name}, {users} users"), "calls an event", series);
        bench.report.add(PART, row.goal(most.map(Goal::AtMost)));
    }
    true
}

fn send_step(service: &Service, step: usize, first: u64, users: u64) {
    match step {
        0 | 1 => service.post_users(first, users, 0),
        2 => (first..first + users).step_by(100).for_each(|user| {
            send(service, (1..=10).flat_map(|revision| (user..user + 100).map(move |user| (user, revision))));
        }),
        _ => mixed(service, first, users),
    }
}

/// One array of these users and revisions.
fn send(service: &Service, events: impl Iterator<Item = (u64, u64)>) {
    let events = events.zip(fresh(1000)..).map(|((user, revision), message)| (message, user, revision));
    assert_eq!(service.connect().exchange(&of_events(Kind::new(1000), events)), 202);
}

/// One event for each user, in the order of the users; new ones come from users not met before.
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
    assert_eq!(service.connect().exchange(&request(Credentials::Basic, &body, &[])), 202);
}
