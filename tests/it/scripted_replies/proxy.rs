//! A proxy before the simulated Refersion that answers each user's calls from that user's list of replies; once the list is
//! used up, it relays every call.
//!
//! Some values are refused in every call, also after the list is used up: an event of several is found by halving. It relays bytes. A call
//! for several users takes its reply from the list of the first of them whose list is not used up. Invariant: a call is refused for good
//! only if the service knows what its users' earlier calls did, so a refused event had no effect. An answer that nothing had to be changed
//! does not say what an earlier call without an answer did.

use crate::support::leaks;
use refersion_destination::sandbox::Sandbox;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A field and the value stated for it.
pub type Stated = (String, String);

/// One reply to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScriptedReply {
    /// Relayed.
    Success,
    /// Relayed, but a few bytes at a time.
    Trickled,
    /// Relayed, and then the connection is closed without an answer.
    Lost,
    /// The connection is closed; the call is not relayed.
    Cut,
    Failed,
    Html,
    TooMany,
    TooManyNow,
    TooManyForASecond,
    /// 204, by which Refersion rejects a call.
    NoContent,
    Refused,
}

pub const ALL_REPLIES: [ScriptedReply; 11] = [
    ScriptedReply::Success,
    ScriptedReply::Trickled,
    ScriptedReply::Lost,
    ScriptedReply::Cut,
    ScriptedReply::Failed,
    ScriptedReply::Html,
    ScriptedReply::TooMany,
    ScriptedReply::TooManyNow,
    ScriptedReply::TooManyForASecond,
    ScriptedReply::NoContent,
    ScriptedReply::Refused,
];

impl ScriptedReply {
    /// Whether it rejects the call for good.
    pub fn refuses(self) -> bool {
        matches!(self, Self::NoContent | Self::Refused)
    }

    /// The response, for replies that are not relayed.
    fn bytes(self) -> String {
        let (head, body) = match self {
            Self::Failed => ("500 Internal Server Error\r\n", r#"{"error": "Error"}"#),
            Self::Html => ("502 Bad Gateway\r\nContent-Type: text/html\r\n", "<html><h1>502</h1></html>"),
            Self::TooMany => ("429 Too Many Requests\r\n", TOO_MANY),
            Self::TooManyNow => ("429 Too Many Requests\r\nRetry-After: 0\r\n", TOO_MANY),
            Self::TooManyForASecond => ("429 Too Many Requests\r\nRetry-After: 1\r\n", TOO_MANY),
            Self::NoContent => return "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            _ => return rejection("Value exceed the char limit"),
        };
        format!("HTTP/1.1 {head}Content-Length: {}\r\n\r\n{body}", body.len())
    }
}

const TOO_MANY: &str = r#"{"error": "You're making too many API calls"}"#;

/// A response that rejects a value.
fn rejection(words: &str) -> String {
    let body = serde_json::json!({"errors": [words]}).to_string();
    format!("HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The proxy.
pub struct ReplyProxy {
    sandbox: Sandbox,
    upstream: SocketAddr,
    state: Mutex<State>,
}

struct State {
    /// The replies that are left, by the user's e-mail.
    lists: BTreeMap<String, VecDeque<ScriptedReply>>,
    /// Users with a call that had its effect, while the service does not know that.
    uncertain: BTreeSet<String>,
    sent: BTreeMap<ScriptedReply, usize>,
    /// Values that are refused in every call that has them, and the words.
    never: BTreeMap<Stated, String>,
    /// The values that were in a refused call about one user alone.
    refused: BTreeSet<Stated>,
}

impl ReplyProxy {
    /// Starts a proxy before `sandbox`, which listens at `upstream`. Returns its base URL, too.
    pub async fn start(
        sandbox: Sandbox,
        upstream: SocketAddr,
        lists: BTreeMap<String, VecDeque<ScriptedReply>>,
        never: BTreeMap<Stated, String>,
    ) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
        let state = State { lists, uncertain: BTreeSet::new(), sent: BTreeMap::new(), never, refused: BTreeSet::new() };
        let proxy = Arc::new(Self { sandbox, upstream, state: Mutex::new(state) });
        let serving = Arc::clone(&proxy);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        (proxy, base_url)
    }

    /// How often each reply was sent.
    pub fn sent(&self) -> BTreeMap<ScriptedReply, usize> {
        self.state.lock().expect("sound").sent.clone()
    }

    /// The values that were in a refused call about one user alone: nothing else may be left out.
    pub fn refused(&self) -> BTreeSet<Stated> {
        self.state.lock().expect("sound").refused.clone()
    }

    /// One connection. None: it ended, or was cut.
    async fn serve(self: Arc<Self>, mut client: TcpStream) -> Option<()> {
        let mut upstream = TcpStream::connect(self.upstream).await.ok()?;
        loop {
            let request = Message::read(&mut client).await?;
            let operation = request.operation();
            if let Some(password) = request.json()["password"].as_str() {
                leaks::register(password);
            }
            let users = self.users(&operation, &request.json());
            if let Some(words) = self.never(&users, &request.json()) {
                client.write_all(rejection(&words).as_bytes()).await.ok()?;
                continue;
            }
            let reply = self.next(&operation, &users);
            let relayed = matches!(reply, ScriptedReply::Success | ScriptedReply::Trickled | ScriptedReply::Lost);
            if !relayed {
                if reply == ScriptedReply::Cut {
                    return None;
                }
                if reply.refuses() && users.len() == 1 {
                    self.state.lock().expect("sound").refused.extend(stated(&request.json()));
                }
                client.write_all(reply.bytes().as_bytes()).await.ok()?;
                continue;
            }
            upstream.write_all(&request.bytes).await.ok()?;
            let answer = Message::read(&mut upstream).await?;
            let answered = if operation == "edit" { self.users("ids", &answer.json()) } else { users.clone() };
            if answer.is_well() {
                self.note(&operation, users, &answered, reply);
            }
            match reply {
                ScriptedReply::Lost => return None,
                ScriptedReply::Trickled => trickle(&mut client, &answer.bytes).await?,
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

    /// The words with which a call is refused because of a value in it.
    fn never(&self, users: &[String], body: &Value) -> Option<String> {
        let stated = stated(body);
        let mut state = self.state.lock().expect("sound");
        let words = stated.iter().find_map(|stated| state.never.get(stated))?.clone();
        if users.len() == 1 {
            state.refused.extend(stated);
        }
        Some(words)
    }

    fn next(&self, operation: &str, users: &[String]) -> ScriptedReply {
        let mut state = self.state.lock().expect("sound");
        let state = &mut *state;
        let left = |user: &&String| state.lists.get(*user).is_some_and(|list| !list.is_empty());
        let first = users.iter().find(left);
        let mut next = first.and_then(|user| state.lists.get_mut(user)?.pop_front()).unwrap_or(ScriptedReply::Success);
        let sure = ["new", "edit"].contains(&operation) && users.iter().all(|user| !state.uncertain.contains(user));
        if next.refuses() && !sure {
            next = ScriptedReply::Success;
        }
        *state.sent.entry(next).or_default() += 1;
        next
    }

    /// Notes whether the service knows the effect of a relayed call: the answer is about the users `answered`.
    fn note(&self, operation: &str, users: Vec<String>, answered: &[String], reply: ScriptedReply) {
        if ["search", "get"].contains(&operation) {
            return;
        }
        let uncertain = &mut self.state.lock().expect("sound").uncertain;
        if reply == ScriptedReply::Lost {
            uncertain.extend(users);
        } else {
            uncertain.retain(|user| !answered.contains(user));
        }
    }
}

/// The texts in a call's body, each with its field.
fn stated(body: &Value) -> Vec<Stated> {
    let affiliates = body["affiliates"].as_array().into_iter().flatten();
    let fields = affiliates.chain([body]).filter_map(Value::as_object).flatten();
    fields.filter_map(|(field, value)| Some((field.clone(), value.as_str()?.to_owned()))).collect()
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
