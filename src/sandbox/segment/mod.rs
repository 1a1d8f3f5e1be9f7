//! A simulated Segment, for trials of "Enable with Segment" without a workspace, and for tests.
//!
//! In: a browser, and calls of an app. Out: the consent page of OAuth 2.0, tokens, and the destinations of one workspace, as in Segment's
//! published contract: exact redirect URLs, codes that are taken once and expire, `install already exists`, a scope of one destination on
//! the sources that were chosen, 409 and 404. `oauth` has the consent and the tokens, `config_api` the destinations, `http` the routes,
//! `page` the pages for people. Calls fail as those of the simulated Refersion do ([`Fault`]).
//!
//! Where the contract is silent: errors of OAuth have the names of RFC 6749; a second install is rejected when its code is exchanged, or
//! already by the redirect ([`SegmentSettings::conflict_in_redirect`]), and adds the chosen source to the install that exists; a code lives
//! for ten minutes; a failure of the Config API is `{"error": …}`. Invariants: a call with an error response has changed nothing, except a
//! second install; only the public half of an API key is shown. Deliberately absent: Segment's login, several workspaces and persistence.

mod config_api;
mod http;
mod oauth;
mod page;
mod public_api;
mod state;

pub use state::{SegmentCall, SegmentCallRecord, SegmentDestination};

use super::call::{CallReply, SandboxResponse};
use super::faults::Fault;
use super::faulty_connection::{ConnectionControl, FaultyListener};
use axum::Router;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use state::SegmentState;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The settings of a simulated Segment, which do not change while it runs.
#[derive(Clone, Debug)]
pub struct SegmentSettings {
    /// The client id of the one app that is registered.
    pub client_id: String,
    /// Its client secret.
    pub client_secret: String,
    /// Its scope.
    pub scope: String,
    /// The slug of the workspace.
    pub workspace: String,
    /// The slugs of its sources.
    pub sources: Vec<String>,
    /// The token of the Public API.
    pub public_api_token: String,
    /// The most entries on a page of the Public API's lists. Small, so that a client has to read more than the first page.
    pub page_size: usize,
    /// How long a code can be exchanged.
    pub code_lifetime: Duration,
    /// Whether a second install is rejected by the redirect; otherwise when its code is exchanged.
    pub conflict_in_redirect: bool,
}

impl Default for SegmentSettings {
    fn default() -> Self {
        Self {
            client_id: "app_sandbox".to_owned(),
            client_secret: "secret_sandbox".to_owned(),
            scope: "destination/refersion".to_owned(),
            workspace: "your-workspace".to_owned(),
            sources: ["website", "backend", "ios-app"].map(str::to_owned).into(),
            public_api_token: "public-api-token-sandbox".to_owned(),
            page_size: 2,
            code_lifetime: Duration::from_mins(10),
            conflict_in_redirect: false,
        }
    }
}

/// A simulated Segment with one workspace and one app. Clones share them.
#[derive(Clone)]
pub struct SegmentSandbox(Arc<SegmentSandboxInner>);

struct SegmentSandboxInner {
    settings: SegmentSettings,
    state: Mutex<SegmentState>,
}

impl SegmentSandbox {
    /// A workspace without destinations, and an app without redirect URLs.
    pub fn new(settings: SegmentSettings) -> Self {
        Self(Arc::new(SegmentSandboxInner { settings, state: Mutex::default() }))
    }

    /// Registers a redirect URL of the app; at most five are kept.
    pub fn register_redirect_url(&self, url: &str) {
        let mut state = self.state();
        state.redirect_urls.push(url.to_owned());
        state.redirect_urls.truncate(5);
    }

    /// Serves until the future is dropped. The base URL of OAuth and of the Config API is `http://ADDRESS`.
    pub fn serve(&self, listener: TcpListener) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let service = self.router().into_make_service_with_connect_info::<ConnectionControl>();
        axum::serve(FaultyListener(listener), service).into_future()
    }

    /// The routes without a server.
    pub fn router(&self) -> Router {
        http::router(self.clone())
    }

    /// Queues faults for the next calls of `call`, one for each.
    pub fn script_for(&self, call: SegmentCall, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults.into_iter().map(|fault| (call, fault)));
    }

    /// Ends the lifetime of every code that was not exchanged yet.
    pub fn expire_codes(&self) {
        self.state().codes.clear();
    }

    /// Removes the app's install from the workspace, as its owner can. Destinations stay.
    pub fn uninstall(&self) {
        let mut state = self.state();
        state.install = None;
        state.tokens.clear();
    }

    /// Changes the destination on a source, as its owner can; nothing if there is none.
    pub fn change(&self, source: &str, enabled: bool, api_key: &str) {
        let name = format!("/sources/{source}/destinations/");
        let mut state = self.state();
        for destination in state.destinations.values_mut().filter(|destination| destination.name.contains(&name)) {
            destination.enabled = enabled;
            api_key.clone_into(&mut destination.api_key);
        }
    }

    /// The destinations that the Public API has set up, each with its `subscriptions`.
    pub fn public_destinations(&self) -> Vec<Value> {
        self.state().public.destinations()
    }

    /// Changes each destination that the Public API has set up, with its first subscription, as the workspace's owner can.
    pub fn change_public(&self, change: impl FnMut(&mut Value, &mut Value)) {
        self.state().public.change(change);
    }

    /// The calls and page views so far, in the order in which they took effect.
    pub fn calls(&self) -> Vec<SegmentCallRecord> {
        self.state().calls.iter().cloned().collect()
    }

    /// All destinations, by name.
    pub fn destinations(&self) -> Vec<SegmentDestination> {
        self.state().destinations.values().cloned().collect()
    }

    fn handle(
        &self,
        call: SegmentCall,
        perform: impl FnOnce(&SegmentSettings, &mut SegmentState) -> Result<Value, SandboxResponse>,
    ) -> CallReply {
        let mut state = self.state();
        let fault = state.next_fault(call);
        let outcome = CallReply::with_fault(fault, || {
            perform(&self.0.settings, &mut state).map_or_else(|error| error, |body| SandboxResponse::json(200, body))
        });
        state.record(call, outcome.status_received());
        outcome
    }

    fn settings(&self) -> &SegmentSettings {
        &self.0.settings
    }

    fn state(&self) -> MutexGuard<'_, SegmentState> {
        self.0.state.lock()
    }
}
