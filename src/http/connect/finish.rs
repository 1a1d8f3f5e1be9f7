//! The steps after the merchant's consent: the exchange of the code, and the destination on the source that they chose.
//!
//! In: the flow of the browser, and the parameters of Segment's redirect. Out: the page that says what was connected, or why not.
//! Invariants: the token is dropped at the end; the browser keeps the Refersion key, the install and the names of the sources, sealed, to
//! connect another source. Deliberately absent: the check of the browser and its `state` ([`super::callback`]).

use super::super::response::PageStatus;
use super::{Connect, Fields, nonce, pages};
use crate::connect::{Callback, ExpectedRequest, Flow, Refusal};
use crate::segment_api::{Connected, InstallAccess, SegmentError, SourceName};
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
            Err(refusal) => {
                tracing::info!("a merchant could not connect a source at Segment: {}", refusal.title());
                self.refusal(refusal, Some(flow))
            }
        }
    }

    async fn connect(&self, flow: &mut Flow, callback: Callback) -> Result<(SourceName, Connected), Refusal> {
        let key = flow.key.clone().ok_or(Refusal::OtherBrowser)?;
        let access = self.access(flow, callback).await?;
        flow.install = Some(access.install.clone());
        // The source of an existing install that was added now.
        let is_new = |source: &&SourceName| !flow.sources.contains(&source.to_string());
        let source = access.sources.iter().rfind(is_new).ok_or(Refusal::NoSource)?.clone();
        let connected = self.app.connect(&access, &source, &key).await.map_err(|error| refused(&error))?;
        tracing::info!(new = ?connected, "a merchant connected a source at Segment");
        flow.connected(access.install, source.to_string());
        Ok((source, connected))
    }

    /// The access that the merchant gave: by the code or, if the app is installed already, by the known install.
    async fn access(&self, flow: &Flow, callback: Callback) -> Result<InstallAccess, Refusal> {
        let exchanged = match callback {
            Callback::Refused(refusal) => return Err(refusal),
            Callback::Code(code) => self.app.exchange(&code).await,
            Callback::AlreadyInstalled => Err(SegmentError::AlreadyInstalled),
        };
        match (exchanged, &flow.install) {
            (Err(SegmentError::AlreadyInstalled), Some(install)) => {
                self.app.access_of(install).await.map_err(|error| refused(&error))
            }
            (exchanged, _) => exchanged.map_err(|error| refused(&error)),
        }
    }
}

/// The refusal for a failed call.
fn refused(error: &SegmentError) -> Refusal {
    tracing::debug!("{error}");
    match error {
        SegmentError::CodeRejected => Refusal::CodeRejected,
        SegmentError::WrongRedirect => Refusal::WrongRedirect,
        SegmentError::WrongClient => Refusal::WrongClient,
        SegmentError::WrongScope => Refusal::WrongScope,
        SegmentError::AlreadyInstalled => Refusal::AlreadyInstalled,
        SegmentError::Unauthorized | SegmentError::Forbidden | SegmentError::NotFound => Refusal::NotPermitted,
        SegmentError::Unreachable
        | SegmentError::Lost
        | SegmentError::TooManyCalls(_)
        | SegmentError::Failed(_)
        | SegmentError::Unreadable => Refusal::SegmentDown,
        SegmentError::Conflict | SegmentError::Rejected(_) => Refusal::RejectedBySegment,
    }
}
