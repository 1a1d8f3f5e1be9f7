//! A proxy in front of PostgreSQL that breaks connections at a `COMMIT`: before PostgreSQL gets it, or before its answer comes back.
//!
//! It passes bytes on between Unix sockets. In what a client sends it looks for the message `COMMIT`, and counts the statements that are sent
//! at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Where the next connection that commits breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// PostgreSQL never gets the `COMMIT`.
    BeforeCommit,
    /// PostgreSQL commits, and the client gets no answer.
    AfterCommit,
}

/// A simple query, its length (itself included), its text, and NUL.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// The completion of a command, its length, its name, and NUL.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";
/// The end of a statement with values, and its length.
const SYNC: &[u8] = b"S\0\0\0\x04";
const SOCKET: &str = ".s.PGSQL.5432";

/// The proxy; it ends when it is dropped.
pub struct Proxy {
    folder: TempDir,
    next: Arc<Mutex<Option<Cut>>>,
    most_at_once: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Passes connections on to the server whose socket is in this folder.
    pub fn start(server: &Path) -> Self {
        let folder = TempDir::with_prefix("px-").expect("a folder");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let (next, server) = (Arc::<Mutex<Option<Cut>>>::default(), server.join(SOCKET));
        let (cut, most_at_once) = (Arc::clone(&next), Arc::<AtomicUsize>::default());
        let most = Arc::clone(&most_at_once);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server.clone(), Arc::clone(&cut), Arc::clone(&most)));
            }
        });
        Self { folder, next, most_at_once, task }
    }

    /// The folder of its socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The next connection that commits breaks.
    pub fn cut(&self, cut: Cut) {
        *self.next.lock().expect("not poisoned") = Some(cut);
    }

    /// Whether a connection was broken since [`Proxy::cut`].
    pub fn has_cut(&self) -> bool {
        self.next.lock().expect("not poisoned").is_none()
    }

    /// The most statements with values that came in one packet since the last call.
    pub fn most_at_once(&self) -> usize {
        self.most_at_once.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(client: UnixStream, server: PathBuf, next: Arc<Mutex<Option<Cut>>>, most_at_once: Arc<AtomicUsize>) {
    let Ok(server) = UnixStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut request = vec![0; 64 * 1024];
    let mut reply = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            read = read(&mut from_client, &mut request) => {
                let Some(read) = read else { return };
                let bytes = &request[..read];
                let statements = bytes.windows(SYNC.len()).filter(|window| *window == SYNC).count();
                most_at_once.fetch_max(statements, Ordering::Relaxed);
                let commit = find(bytes, COMMIT);
                let cut = commit.and_then(|at| Some((at, next.lock().expect("not poisoned").take()?)));
                match cut {
                    None => {
                        if to_server.write_all(bytes).await.is_err() { return }
                    }
                    Some((at, Cut::BeforeCommit)) => {
                        let _ = to_server.write_all(&bytes[..at]).await; // Err: it breaks anyway
                        return;
                    }
                    Some((_, Cut::AfterCommit)) => {
                        let _ = to_server.write_all(bytes).await; // Err: the assertion of the test fails
                        await_commit(&mut from_server).await;
                        return;
                    }
                }
            }
            read = read(&mut from_server, &mut reply) => {
                let Some(read) = read else { return };
                if to_client.write_all(&reply[..read]).await.is_err() { return }
            }
        }
    }
}

async fn read(from: &mut (impl AsyncRead + Unpin), into: &mut [u8]) -> Option<usize> {
    from.read(into).await.ok().filter(|read| *read > 0)
}

/// Waits until the server says that it has committed.
async fn await_commit(from_server: &mut (impl AsyncRead + Unpin)) {
    let (mut said, mut part) = (Vec::new(), vec![0; 4096]);
    while find(&said, COMMITTED).is_none() {
        let Some(read) = read(from_server, &mut part).await else { return };
        said.extend_from_slice(&part[..read]);
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
