//! A non-blocking connection of the load generator: one request in flight at most, kept alive.
//!
//! In: prepared requests. Out: the statuses of responses. Small requests and responses cost one system call each. Deliberately absent:
//! pipelining, reconnecting, and any decision about when to send.

use crate::requests::Requests;
use crate::wire::{Head, head};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    requests: Requests,
    /// How many bytes of the request are not written yet.
    unsent: usize,
    /// What has been read of a response that did not come in one piece.
    partial: Vec<u8>,
    /// When the request in flight was to begin; `None` while the connection is idle.
    pub(super) begun: Option<Instant>,
}

impl Connection {
    pub(super) fn open(address: SocketAddr, requests: Requests) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).expect("options of a socket");
        Self { stream, requests, unsent: 0, partial: Vec::new(), begun: None }
    }

    /// Sends the next request, which was to begin at `intended`; what the socket does not accept is sent by
    /// [`advance`](Self::advance).
    pub(super) fn send(&mut self, intended: Instant) {
        debug_assert!(self.begun.is_none(), "one request at a time");
        self.begun = Some(intended);
        self.unsent = self.requests.next().len();
        self.write();
    }

    /// Continues after the system reported the socket as ready: the status, once the response is complete.
    pub(super) fn advance(&mut self, scratch: &mut [u8]) -> Option<u16> {
        if self.unsent > 0 {
            self.write();
        }
        self.begun?;
        let mut read = self.read(scratch)?;
        if self.partial.is_empty()
            && let Some(status) = complete(&scratch[..read])
        {
            return Some(status);
        }
        loop {
            self.partial.extend_from_slice(&scratch[..read]);
            if let Some(status) = complete(&self.partial) {
                self.partial.clear();
                return Some(status);
            }
            read = self.read(scratch)?;
        }
    }

    fn write(&mut self) {
        let request = self.requests.current();
        while self.unsent > 0 {
            match self.stream.write(&request[request.len() - self.unsent..]) {
                Ok(written) => self.unsent -= written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the request does not go out: {error}"),
            }
        }
    }

    fn read(&mut self, scratch: &mut [u8]) -> Option<usize> {
        match self.stream.read(scratch) {
            Ok(0) => panic!("the server closed the connection"),
            Ok(read) => Some(read),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("no response: {error}"),
        }
    }
}

/// The status of the one response that `bytes` hold, if they hold all of it.
fn complete(bytes: &[u8]) -> Option<u16> {
    let Head { status, total, .. } = head(bytes)?;
    (bytes.len() >= total).then_some(status)
}
