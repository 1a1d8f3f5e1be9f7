//! TCP connections with faults: lost, truncated and slow responses, exact to the byte.
//!
//! In: the [`WriteMode`] that the handler of a request sets in the [`ConnectionControl`] of its connection. Out: the bytes that reach
//! the socket. Bytes are dropped below HTTP, so that no layer above can still send a status line: the server sees a write error and
//! closes the connection. Deliberately absent: TCP resets; the client sees a regular end of the stream instead of a response.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// The pause between two bytes of a slow response.
const PAUSE_PER_BYTE: Duration = Duration::from_millis(100);

/// The bytes that are sent, of those that are written from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum WriteMode {
    /// All.
    #[default]
    All,
    /// None.
    Nothing,
    /// All but the last byte of the next write, and nothing after that.
    AllButLastByte,
    /// All, one by one, with a pause after each.
    Slowly,
}

/// The control of one connection, which its requests share.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionControl(Arc<Mutex<WriteMode>>);

impl ConnectionControl {
    /// Sets the mode for the bytes that are written next.
    pub(super) fn set(&self, mode: WriteMode) {
        *self.0.lock() = mode;
    }
}

impl Connected<IncomingStream<'_, FaultyListener>> for ConnectionControl {
    fn connect_info(stream: IncomingStream<'_, FaultyListener>) -> Self {
        stream.io().connection.clone()
    }
}

/// A listener that accepts connections with a [`ConnectionControl`] each.
pub(super) struct FaultyListener(pub(super) TcpListener);

impl Listener for FaultyListener {
    type Io = FaultyStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (FaultyStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Err: the connection works without it, only slower.
        stream.set_nodelay(true).ok();
        (FaultyStream { stream, connection: ConnectionControl::default(), pause: None }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A socket that sends the bytes its control allows.
pub(super) struct FaultyStream {
    stream: TcpStream,
    connection: ConnectionControl,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for FaultyStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mode = *self.connection.0.lock();
        match mode {
            WriteMode::All => Pin::new(&mut self.stream).poll_write(cx, buf),
            WriteMode::Nothing => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            WriteMode::AllButLastByte => {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &buf[..buf.len().saturating_sub(1)]));
                self.connection.set(WriteMode::Nothing);
                Poll::Ready(written)
            }
            WriteMode::Slowly => {
                if let Some(pause) = self.pause.as_mut() {
                    ready!(pause.as_mut().poll(cx));
                    self.pause = None;
                }
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &buf[..buf.len().min(1)]));
                self.pause = Some(Box::pin(sleep(PAUSE_PER_BYTE)));
                Poll::Ready(written)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
