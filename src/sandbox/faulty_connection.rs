//! Connections that can be spoiled: what makes a lost answer a lost answer, down to the last byte.
//!
//! A handler holds the [`ConnectionControl`] its request came in on and says what becomes of the answer. The bytes are stopped below
//! HTTP, on their way into the socket, so nothing above can still send a status line: the server meets a write error, and
//! closes. Deliberately absent: resets; the client sees an orderly end of the stream, where it expected an answer.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// Between two bytes of a trickling answer.
const TRICKLE: Duration = Duration::from_millis(100);

/// What becomes of the bytes written from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum WriteMode {
    /// They are sent.
    All = 0,
    /// None is sent.
    Nothing = 1,
    /// All but the last of what is written next is sent.
    AllButLastByte = 2,
    /// They are sent one by one, slowly.
    Slowly = 3,
}

/// One connection, as its requests see it.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionControl(Arc<AtomicU8>);

impl ConnectionControl {
    /// Decides about the bytes to come.
    pub(super) fn set(&self, mode: WriteMode) {
        self.0.store(mode as u8, Ordering::Release);
    }

    fn mode(&self) -> WriteMode {
        match self.0.load(Ordering::Acquire) {
            0 => WriteMode::All,
            2 => WriteMode::AllButLastByte,
            3 => WriteMode::Slowly,
            _ => WriteMode::Nothing,
        }
    }
}

impl Connected<IncomingStream<'_, FaultyListener>> for ConnectionControl {
    fn connect_info(stream: IncomingStream<'_, FaultyListener>) -> Self {
        stream.io().connection.clone()
    }
}

/// Accepts connections and puts a [`ConnectionControl`] in each.
pub(super) struct FaultyListener(pub(super) TcpListener);

impl Listener for FaultyListener {
    type Io = FaultyStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (FaultyStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Only speed is lost where this fails.
        stream.set_nodelay(true).ok();
        (FaultyStream { stream, connection: ConnectionControl::default(), pause: None }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A socket that obeys its wire.
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
        match self.connection.mode() {
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
                self.pause = Some(Box::pin(sleep(TRICKLE)));
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
