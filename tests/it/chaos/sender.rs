//! A sender of one user's events. It behaves as Segment does: it sends in order, and sends again until there is an answer.

use crate::support::{API_KEY, basic, client, within};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use refersion_destination::sandbox::Sandbox;
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::watch;

/// What an event says.
#[derive(Clone, Debug)]
pub enum What {
    /// The user's address, and whether another affiliate has it for good.
    Identify {
        email: String,
        taken: bool,
    },
    Delete,
}

/// An event that was answered, which the service must carry out from then on.
#[derive(Clone, Debug)]
pub struct Sent {
    pub number: u64,
    pub message_id: String,
    pub what: What,
    /// Since when it is true, in half seconds of the user's own clock: later for later events, unless it is late.
    pub at: u64,
    pub status: u16,
}

/// All that was sent of one user, in order.
#[derive(Debug, Default)]
pub struct Story {
    pub sent: Vec<Sent>,
    /// How often something was sent again because there was no answer, or one that asks for it.
    pub again: usize,
    /// How often something answered was sent once more, which must have no effect.
    pub repeats: usize,
}

/// What all senders share.
#[derive(Clone)]
pub struct World {
    pub sandbox: Sandbox,
    /// Where the service is, by each of its processes; another address after every restart.
    pub servers: watch::Receiver<Vec<String>>,
    /// How long an answer may take: a process that is frozen gives none.
    pub timeout: Duration,
    /// How many requests were answered well.
    pub answered: watch::Sender<u64>,
    pub enough: watch::Receiver<bool>,
}

/// The address of an affiliate that exists from the beginning and belongs to no user of this test.
pub fn taken(user: usize) -> String {
    format!("taken{user}@example.com")
}

/// The two traits that identify an event in the calls to Refersion.
pub fn marks(user: usize, number: u64) -> (String, String) {
    (format!("City {user} {number:06}"), format!(r#"Söhne & "Töchter" \ 東京 {user}/{number:06}"#))
}

/// Generates events. Invariant: the outcome of each is known, if nothing is lost, doubled or reordered.
struct EventGenerator {
    user: usize,
    number: u64,
    email: String,
    /// Whether the user is an affiliate that this service remembers.
    known: bool,
    /// Whether the events have timestamps, so that some of them can be older than others that came before.
    timestamps: bool,
    chance: StdRng,
}

/// How long a sender waits before it sends again where there are several processes.
const SEND_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// When the clock of a user's timestamps starts: in 2020, in seconds since 1970.
const CLOCK: u64 = 1_577_836_800;

impl EventGenerator {
    fn new(user: usize, seed: u64) -> Self {
        let chance = StdRng::seed_from_u64(seed ^ (user as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            user,
            number: 0,
            email: format!("user{user}.0@example.com"),
            known: false,
            timestamps: user % 2 == 1,
            chance,
        }
    }

    /// The moment of the event `number`, or, if it is late, one between two of the last events.
    fn moment(&mut self, is_late: bool) -> u64 {
        if is_late { 2 * self.number.saturating_sub(self.chance.random_range(1..4)) + 1 } else { 2 * self.number }
    }

    fn next(&mut self) -> (Value, Sent) {
        self.number += 1;
        let (user, number) = (self.user, self.number);
        let message_id = format!("m-{user}-{number}");
        let drawn = self.chance.random_range(0..100);
        let is_late = self.timestamps && self.known && matches!(drawn, 4..8 | 14..35);
        let at = self.moment(is_late);
        let mut sent = Sent { number, message_id, what: What::Delete, at, status: 0 };
        if self.known && drawn < 4 {
            self.known = false;
            let body = json!({"type": "delete", "messageId": sent.message_id, "userId": format!("u{user}")});
            return (self.stamped(body, at), sent);
        }
        let another = if self.known { (8..14).contains(&drawn) } else { number > 1 && drawn < 50 };
        if another {
            self.email = format!("user{user}.{number}@example.com");
        }
        let refused = self.known && (4..8).contains(&drawn);
        // Who was deleted and comes with the same address is left alone.
        self.known |= another || number == 1;
        let email = if refused { taken(user) } else { self.email.clone() };
        let (city, company) = marks(user, number);
        let body = json!({"type": "identify", "messageId": sent.message_id, "userId": format!("u{user}"), "traits":
            {"email": email, "name": format!("User {user}"), "city": city, "company": company}});
        sent.what = What::Identify { email, taken: refused };
        (self.stamped(body, at), sent)
    }

    /// The event with its timestamp, if it has one.
    fn stamped(&self, mut body: Value, at: u64) -> Value {
        if self.timestamps {
            let moment = UNIX_EPOCH + Duration::from_secs(CLOCK) + Duration::from_millis(500 * at);
            body["timestamp"] = jiff::Timestamp::try_from(moment).expect("a moment").to_string().into();
        }
        body
    }
}

/// Sends events of one user until it is enough, some by themselves, some together, some once more.
pub async fn send(user: usize, seed: u64, mut world: World) -> Story {
    // A connection of its own for each request: no answer then means that the process is gone.
    let client = client().pool_max_idle_per_host(0).timeout(world.timeout).build().expect("a client");
    let mut generator = EventGenerator::new(user, seed);
    let mut story = Story::default();
    let mut bodies: Vec<Value> = Vec::new();
    while !*world.enough.borrow() {
        let together = if generator.chance.random_bool(0.15) { generator.chance.random_range(2..6) } else { 1 };
        let (events, mut sent): (Vec<Value>, Vec<Sent>) = (0..together).map(|_| generator.next()).unzip();
        let body = if together == 1 { events[0].clone() } else { Value::Array(events.clone()) };
        let (status, _) = deliver(&client, &mut world, &mut generator.chance, &body, &mut story.again).await;
        for one in &mut sent {
            one.status = status;
        }
        story.sent.extend(sent);
        bodies.extend(events);
        world.answered.send_modify(|answered| *answered += 1);
        if generator.chance.random_bool(0.1) {
            let body = bodies.choose(&mut generator.chance).expect("something was sent");
            let (status, word) = deliver(&client, &mut world, &mut generator.chance, body, &mut story.again).await;
            assert_eq!((status, word.as_str()), (200, "duplicate"), "{body}");
            story.repeats += 1;
        }
    }
    story
}

/// Sends until there is an answer that ends it: its code and its word.
async fn deliver(
    client: &reqwest::Client,
    world: &mut World,
    chance: &mut StdRng,
    body: &Value,
    again: &mut usize,
) -> (u16, String) {
    loop {
        let servers = world.servers.borrow_and_update().clone();
        let url = format!("{}/segment", servers.choose(chance).expect("a server"));
        let calls = world.sandbox.calls_total();
        let request = client.post(url).header("Authorization", basic(API_KEY)).body(body.to_string());
        let answer = async {
            let response = request.send().await.ok()?;
            Some((response.status().as_u16(), response.text().await.ok()?))
        };
        match answer.await {
            // The backlog is full: there is room when something was delivered.
            Some((429, _)) => within(world.sandbox.until(|sandbox| sandbox.calls_total() > calls)).await,
            Some((503, _)) | None if servers.len() == 1 => {
                within(world.servers.changed()).await.expect("another process is started");
            }
            // Another process may be asked, if not at once.
            Some((503, _)) | None => tokio::time::sleep(SEND_AGAIN_AFTER).await,
            Some((status, text)) => {
                let answer: Value = serde_json::from_str(&text).expect("JSON");
                // With a 400 or a 401 the event is kept all the same: the answer waited for its result.
                assert!(matches!(status, 200 | 202 | 400 | 401), "{status}: {text}");
                return (status, answer["status"].as_str().expect("a word").to_owned());
            }
        }
        *again += 1;
    }
}
