//! Hints between the processes that share a database, by `NOTIFY`, so that no process waits until it polls the next time.
//!
//! In: changes by this process. Out: changes by other processes. Hints are gathered for [`EVERY`] and sent in a separate transaction,
//! because PostgreSQL commits notifying transactions one by one. Invariants: without hints everything works, only later; a hint that cannot
//! be read is ignored; a hint has only numbers of accounts.

use super::accounts::AccountNumber;
use super::connection::Connection;
use super::schema::schema_of_tables;
use super::session::Session;
use super::settle::Settler;
use crate::scheduling::ReplicaId;
use crate::store::StoreError;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_postgres::Error;

const NOTIFY: &str = "SELECT pg_notify($1, $2)";
/// The shortest time between two transactions with hints.
const EVERY: Duration = Duration::from_millis(50);
/// The most accounts in one hint, which must be shorter than 8,000 bytes.
const MAX_ACCOUNTS: usize = 500;

/// The channel of all hints: one for each schema. Channels of PostgreSQL are common to a database, but numbers of accounts belong to a
/// schema.
pub async fn channel(session: &Session) -> Result<String, Error> {
    let schema = session.query_one(concat!("SELECT ", schema_of_tables!()), &[]).await?;
    Ok(format!("refersion_destination_{}", schema.get::<_, u32>(0)))
}

/// The connection for hints, renewals of leases and outcomes. It is of the same type as the connection that settles, but settles nothing.
pub type ListenConnection = Connection<Settler>;

/// A change by another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HintMessage {
    /// It appended events to these accounts, which it does not own.
    Appended(Vec<AccountNumber>),
    /// It gave up an account, or asks for one.
    Owners,
    /// It stored an API key.
    ApiKeys,
}

impl HintMessage {
    fn text(&self, me: ReplicaId) -> String {
        let from = me.0;
        match self {
            Self::Appended(accounts) => {
                let accounts: Vec<String> = accounts.iter().map(ToString::to_string).collect();
                format!("{from:x} appended {}", accounts.join(" "))
            }
            Self::Owners => format!("{from:x} owners"),
            Self::ApiKeys => format!("{from:x} keys"),
        }
    }

    /// Reads a hint of another process than `me`.
    pub fn read(text: &str, me: ReplicaId) -> Option<Self> {
        let mut words = text.split(' ');
        let from = u128::from_str_radix(words.next()?, 16).ok().filter(|from| *from != me.0);
        match (from?, words.next()?) {
            (_, "appended") => words.map(|word| word.parse().ok()).collect::<Option<_>>().map(Self::Appended),
            (_, "owners") => Some(Self::Owners),
            (_, "keys") => Some(Self::ApiKeys),
            _ => None,
        }
    }
}

/// The hints to send.
#[derive(Debug)]
pub struct Hints {
    /// The id of this process.
    pub me: ReplicaId,
    gathered: Mutex<Gathered>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Gathered {
    appended: BTreeSet<AccountNumber>,
    owners: bool,
    api_keys: bool,
}

impl Hints {
    /// Without hints.
    pub fn new(me: ReplicaId) -> Self {
        Self { me, gathered: Mutex::default(), added: Notify::new() }
    }

    /// Adds a hint for the other processes.
    pub fn add(&self, hint: HintMessage) {
        let mut gathered = self.gathered.lock();
        match hint {
            HintMessage::Appended(accounts) if accounts.is_empty() => return,
            HintMessage::Appended(accounts) => gathered.appended.extend(accounts),
            HintMessage::Owners => gathered.owners = true,
            HintMessage::ApiKeys => gathered.api_keys = true,
        }
        self.added.notify_one();
    }

    /// Sends hints to `channel` when there are some. Never returns.
    pub async fn send(&self, connection: &ListenConnection, channel: &str) {
        loop {
            self.added.notified().await;
            for text in self.take() {
                let channel = channel.to_owned();
                let sent = connection.run(move |session: &Session| {
                    Box::pin(async move { session.query(NOTIFY, &[&channel, &text]).await })
                });
                // Err: the others notice the change when they poll.
                let _: Result<_, StoreError> = sent.await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn take(&self) -> Vec<String> {
        let Gathered { appended, owners, api_keys } = std::mem::take(&mut *self.gathered.lock());
        let appended: Vec<AccountNumber> = appended.into_iter().collect();
        let mut hints: Vec<HintMessage> =
            appended.chunks(MAX_ACCOUNTS).map(|some| HintMessage::Appended(some.to_vec())).collect();
        hints.extend(owners.then_some(HintMessage::Owners));
        hints.extend(api_keys.then_some(HintMessage::ApiKeys));
        hints.iter().map(|hint| hint.text(self.me)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: ReplicaId = ReplicaId(1);
    const ANOTHER: ReplicaId = ReplicaId(u128::MAX);

    #[test]
    fn a_hint_is_read_as_it_was_sent_by_everybody_else() {
        for hint in [HintMessage::Appended(vec![3, 44]), HintMessage::Owners, HintMessage::ApiKeys] {
            let text = hint.text(ANOTHER);
            assert_eq!(HintMessage::read(&text, ME), Some(hint));
            assert_eq!(HintMessage::read(&text, ANOTHER), None);
        }
        for text in ["", "2", "2 ", "x keys", "2 whatever", "2 appended 3 x", "appended 3"] {
            assert_eq!(HintMessage::read(text, ME), None, "{text:?}");
        }
    }

    #[test]
    fn hints_that_are_gathered_are_sent_once_and_none_is_too_long() {
        let hints = Hints::new(ANOTHER);
        hints.add(HintMessage::Appended(vec![]));
        assert!(hints.take().is_empty());
        for hint in [
            HintMessage::Appended((0..1_200).collect()),
            HintMessage::ApiKeys,
            HintMessage::Appended(vec![7]),
            HintMessage::ApiKeys,
        ] {
            hints.add(hint);
        }
        let sent = hints.take();
        assert!(sent.len() == 4 && sent.iter().all(|text| text.len() < 8_000), "{sent:?}");
        assert!(hints.take().is_empty());
    }
}
