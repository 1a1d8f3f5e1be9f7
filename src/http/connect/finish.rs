//! The steps after the merchant's consent: the exchange of the code, and the destination on the source that they chose.
//!
//! In: the flow of the browser, and the parameters of Segment's redirect. Out: the page that says what was connected, or why not.
//! Invariants: the token is dropped at the end; the browser keeps the Refersion key, the install and the names of the sources, sealed, to
//! connect another source. Deliberately absent: the check of the browser and its `state` ([`super::callback`]).

use super::super::response::PageStatus;
use super::{Connect, Fields, nonce, pages};
use crate::connect::{Callback, ConnectFailure, ExpectedRequest, Flow};
use crate::segment_api::{Connected, InstallAccess, SegmentApiError, SourceName};
use axum::response::Response;

impl Connect {
    /// Connects the source that the merchant consented to.
    pub(super) async fn finish(&self, mut flow: Flow, query: &Fields) -> Response {
        match self.connect(&mut flow, Callback::read(|name| query.value(name))).await {
            Ok((source, connected)) => {
                let sealed = self.seal(&flow.at(ExpectedRequest::Another, nonce(), self.clock.now()));
                let page = pages::connected(&source, connected, &self.path("connect/again"), &sealed.state);
                self.page(PageStatus::Shown, page, Some(&sealed.cookie))
            }
            Err(failure) => {
                tracing::info!("a merchant could not connect a source at Segment: {}", failure.title());
                self.failure(failure, Some(flow))
            }
        }
    }

    async fn connect(&self, flow: &mut Flow, callback: Callback) -> Result<(SourceName, Connected), ConnectFailure> {
        let key = flow.key.clone().ok_or(ConnectFailure::OtherBrowser)?;
        let access = self.access(flow, callback).await?;
        flow.install = Some(access.install.clone());
        // The source of an existing install that was added now.
        let is_new = |source: &&SourceName| !flow.sources.contains(&source.to_string());
        let source = access.sources.iter().rfind(is_new).ok_or(ConnectFailure::NoSource)?.clone();
        let connected = self.app.connect(&access, &source, &key).await.map_err(|error| failure_of(&error))?;
        tracing::info!(new = ?connected, "a merchant connected a source at Segment");
        flow.connected(access.install, source.to_string());
        Ok((source, connected))
    }

    /// The access that the merchant gave: by the code or, if the app is installed already, by the known install.
    async fn access(&self, flow: &Flow, callback: Callback) -> Result<InstallAccess, ConnectFailure> {
        let exchanged = match callback {
            Callback::Failed(failure) => return Err(failure),
            Callback::Code(code) => self.app.exchange(&code).await,
            Callback::AlreadyInstalled => Err(SegmentApiError::AlreadyInstalled),
        };
        match (exchanged, &flow.install) {
            (Err(SegmentApiError::AlreadyInstalled), Some(install)) => {
                self.app.access_of(install).await.map_err(|error| failure_of(&error))
            }
            (exchanged, _) => exchanged.map_err(|error| failure_of(&error)),
        }
    }
}

/// The failure for a failed call.
fn failure_of(error: &SegmentApiError) -> ConnectFailure {
    tracing::debug!("{error}");
    match error {
        SegmentApiError::CodeRejected => ConnectFailure::CodeRejected,
        SegmentApiError::WrongRedirect => ConnectFailure::WrongRedirect,
        SegmentApiError::WrongClient => ConnectFailure::WrongClient,
        SegmentApiError::WrongScope => ConnectFailure::WrongScope,
        SegmentApiError::AlreadyInstalled => ConnectFailure::AlreadyInstalled,
        SegmentApiError::Unauthorized | SegmentApiError::Forbidden | SegmentApiError::NotFound => {
            ConnectFailure::NotPermitted
        }
        SegmentApiError::Unreachable
        | SegmentApiError::Lost
        | SegmentApiError::TooManyCalls(_)
        | SegmentApiError::Failed(_)
        | SegmentApiError::Unreadable => ConnectFailure::SegmentDown,
        SegmentApiError::Conflict | SegmentApiError::Rejected(_) => ConnectFailure::RejectedBySegment,
    }
}
