//! A front before the simulated Refersion: each user's calls are answered as that user's list says, then well.
//!
//! It relays bytes. A call for several users is answered by the list of the first of them that has something left. Invariant:
//! a call is refused for good only while it is known what its users' earlier calls did: so a refused event had no effect. That
//! nothing had to be changed tells nobody what a call without an answer did.

use crate::support::spoken;
use refersion_destination::sandbox::Sandbox;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prescribed {
    Well,
    /// Well, but a few bytes at a time.
    Trickled,
    /// Carried out, and no answer.
    Lost,
    /// Not carried out, and no answer.
    Cut,
    Failed,
    Html,
    TooMany,
    TooManyNow,
    TooManyForASecond,
    /// 204, which is a refusal.
    NoContent,
    Refused,
}

pub const EVERY: [Prescribed; 11] = [
    Prescribed::Well,
    Prescribed::Trickled,
    Prescribed::Lost,
    Prescribed::Cut,
    Prescribed::Failed,
    Prescribed::Html,
    Prescribed::TooMany,
    Prescribed::TooManyNow,
    Prescribed::TooManyForASecond,
    Prescribed::NoContent,
    Prescribed::Refused,
];

impl Prescribed {
    /// The whole answer, of those that are not Refersion's own.
    fn bytes(self) -> String {
        let (head, body) = match self {
            Self::Failed => ("500 Internal Server Error\r\n", r#"{"error": "Error"}"#),
            Self::Html => ("502 Bad Gateway\r\nContent-Type: text/html\r\n", "<html><h1>502</h1></html>"),
            Self::TooMany => ("429 Too Many Requests\r\n", TOO_MANY),
            Self::TooManyNow => ("429 Too Many Requests\r\nRetry-After: 0\r\n", TOO_MANY),
            Self::TooManyForASecond => ("429 Too Many Requests\r\nRetry-After: 1\r\n", TOO_MANY),
            Self::NoContent => return "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            _ => ("422 Unprocessable Entity\r\n", r#"{"errors": ["Value exceed the char limit"]}"#),
        };
        format!("HTTP/1.1 {head}Content-Length: {}\r\n\r\n{body}", body.len())
    }
}

const TOO_MANY: &str = r#"{"error": "You're making too many API calls"}"#;

/// What is prescribed and what was given.
pub struct Front {
    sandbox: Sandbox,
    behind: SocketAddr,
    state: Mutex<State>,
}

struct State {
    /// By e-mail.
    lists: BTreeMap<String, VecDeque<Prescribed>>,
    /// Users with a call that was carried out, of which the service does not know it.
    unsure: BTreeSet<String>,
    given: BTreeMap<Prescribed, usize>,
}

impl Front {
    /// Stands before `sandbox`, which listens at `behind`; the base URL.
    pub async fn start(
        sandbox: Sandbox,
        behind: SocketAddr,
        lists: BTreeMap<String, VecDeque<Prescribed>>,
    ) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
        let state = State { lists, unsure: BTreeSet::new(), given: BTreeMap::new() };
        let front = Arc::new(Self { sandbox, behind, state: Mutex::new(state) });
        let serving = Arc::clone(&front);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        (front, base_url)
    }

    /// How often each answer was given.
    pub fn given(&self) -> BTreeMap<Prescribed, usize> {
        self.state.lock().expect("sound").given.clone()
    }

    /// One connection. None: it ended, or was cut.
    async fn serve(self: Arc<Self>, mut client: TcpStream) -> Option<()> {
        let mut behind = TcpStream::connect(self.behind).await.ok()?;
        loop {
            let request = Message::read(&mut client).await?;
            let operation = request.operation();
            if let Some(password) = request.json()["password"].as_str() {
                spoken::keep(password);
            }
            let users = self.users(&operation, &request.json());
            let prescribed = self.next(&operation, &users);
            let relayed = matches!(prescribed, Prescribed::Well | Prescribed::Trickled | Prescribed::Lost);
            if !relayed {
                if prescribed == Prescribed::Cut {
                    return None;
                }
                client.write_all(prescribed.bytes().as_bytes()).await.ok()?;
                continue;
            }
            behind.write_all(&request.bytes).await.ok()?;
            let answer = Message::read(&mut behind).await?;
            let told = if operation == "edit" { self.users("ids", &answer.json()) } else { users.clone() };
            if answer.is_well() {
                self.note(&operation, users, &told, prescribed);
            }
            match prescribed {
                Prescribed::Lost => return None,
                Prescribed::Trickled => trickle(&mut client, &answer.bytes).await?,
                _ => client.write_all(&answer.bytes).await.ok()?,
            }
        }
    }

    /// The e-mails of the users a call is about, or (`ids`) the answer to an edit.
    fn users(&self, operation: &str, body: &Value) -> Vec<String> {
        let affiliates = self.sandbox.affiliates();
        let whose = |id: &Value| {
            let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            let found = affiliates.iter().find(|one| id == one.code.0 || id.parse() == Ok(one.id.0));
            found.map(|one| one.email().to_owned())
        };
        match operation {
            "new" => body["email"].as_str().map(str::to_owned).into_iter().collect(),
            "search" => body["keyword"].as_str().map(str::to_owned).into_iter().collect(),
            "get" => whose(&body["id"]).or_else(|| whose(&body["affiliate_code"])).into_iter().collect(),
            "edit" => body["affiliates"].as_array().into_iter().flatten().filter_map(|one| whose(&one["id"])).collect(),
            "ids" => body["ids_changed"].as_array().into_iter().flatten().filter_map(whose).collect(),
            _ => body["ids"].as_array().into_iter().flatten().filter_map(whose).collect(),
        }
    }

    fn next(&self, operation: &str, users: &[String]) -> Prescribed {
        let mut state = self.state.lock().expect("sound");
        let state = &mut *state;
        let left = |user: &&String| state.lists.get(*user).is_some_and(|list| !list.is_empty());
        let first = users.iter().find(left);
        let mut next = first.and_then(|user| state.lists.get_mut(user)?.pop_front()).unwrap_or(Prescribed::Well);
        let refuses = matches!(next, Prescribed::NoContent | Prescribed::Refused);
        let sure = ["new", "edit"].contains(&operation) && users.iter().all(|user| !state.unsure.contains(user));
        if refuses && !sure {
            next = Prescribed::Well;
        }
        *state.given.entry(next).or_default() += 1;
        next
    }

    /// Notes whether the service knows what became of a call that was carried out: an answer tells it of the users `told`.
    fn note(&self, operation: &str, users: Vec<String>, told: &[String], prescribed: Prescribed) {
        if ["search", "get"].contains(&operation) {
            return;
        }
        let unsure = &mut self.state.lock().expect("sound").unsure;
        if prescribed == Prescribed::Lost {
            unsure.extend(users);
        } else {
            unsure.retain(|user| !told.contains(user));
        }
    }
}

async fn trickle(client: &mut TcpStream, bytes: &[u8]) -> Option<()> {
    client.set_nodelay(true).ok()?;
    for few in bytes.chunks(40) {
        client.write_all(few).await.ok()?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Some(())
}

/// A request or an answer.
struct Message {
    bytes: Vec<u8>,
    /// Where the body begins.
    body: usize,
}

impl Message {
    /// None: the connection ended.
    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
            if let Some(body) = head.filter(|body| bytes.len() >= body + length(&bytes[..*body])) {
                return Some(Self { bytes, body });
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes[self.body..]).unwrap_or_default()
    }

    fn operation(&self) -> String {
        let head = String::from_utf8_lossy(&self.bytes[..self.body]).into_owned();
        head.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned()
    }

    fn is_well(&self) -> bool {
        self.bytes.starts_with(b"HTTP/1.1 200")
    }
}

/// What the head says of the body's length.
fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length:").map(str::to_owned));
    line.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}
