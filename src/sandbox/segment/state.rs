//! The state of the simulated Segment: codes, installs, tokens, destinations, faults and calls.
//!
//! Invariant: a code is taken once. Deliberately absent: the rules of the API, which are in `oauth` and `config_api`.

use super::super::faults::Fault;
use super::public_api::PublicApiState;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

/// A call of an app, or a page that a browser asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentCall {
    /// `GET /oauth2/auth`.
    Authorize,
    /// The consent page.
    Consent,
    /// `POST /oauth2/token`.
    Token,
    /// `GET /v1beta/installs/…/token`.
    InstallToken,
    /// `GET` of a destination.
    ReadDestination,
    /// `POST` of a destination.
    CreateDestination,
    /// `PATCH` of a destination.
    UpdateDestination,
    /// `DELETE` of a destination.
    DeleteDestination,
    /// `GET` of the Public API.
    PublicRead,
    /// Any other method of the Public API.
    PublicChange,
}

/// One call.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentCallRecord {
    /// The call.
    pub call: SegmentCall,
    /// The status that the client received; `None` if it receives no response.
    pub status: Option<u16>,
}

/// A destination on a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDestination {
    /// `workspaces/W/sources/S/destinations/D`.
    pub name: String,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// The setting `apiKey`.
    pub api_key: String,
}

impl SegmentDestination {
    /// The JSON of this destination in the Config API.
    pub(super) fn to_json(&self) -> Value {
        let (parent, _) = self.name.split_once("/destinations/").unwrap_or_default();
        json!({
            "name": self.name,
            "parent": parent,
            "display_name": "Refersion",
            "enabled": self.enabled,
            "connection_mode": "CLOUD",
            "config": [{
                "name": format!("{}/config/apiKey", self.name),
                "display_name": "API Key",
                "value": self.api_key,
                "type": "string",
            }],
        })
    }
}

/// A code that was not exchanged yet.
pub(super) struct Code {
    pub(super) redirect_url: String,
    pub(super) source: String,
    pub(super) issued: Instant,
}

const MAX_CALLS: usize = 10_000;

#[derive(Default)]
pub(super) struct SegmentState {
    pub(super) redirect_urls: Vec<String>,
    pub(super) codes: HashMap<String, Code>,
    /// The sources of the app's install on the workspace, in the order in which they were chosen; none without an install.
    pub(super) install: Option<Vec<String>>,
    /// The tokens of that install, and when each was issued.
    pub(super) tokens: HashMap<String, Instant>,
    pub(super) destinations: BTreeMap<String, SegmentDestination>,
    pub(super) public: PublicApiState,
    pub(super) faults: VecDeque<(SegmentCall, Fault)>,
    pub(super) calls: VecDeque<SegmentCallRecord>,
}

impl SegmentState {
    pub(super) fn next_fault(&mut self, call: SegmentCall) -> Fault {
        let at = self.faults.iter().position(|(of, _)| *of == call);
        at.and_then(|at| self.faults.remove(at)).map_or(Fault::Pass, |(_, fault)| fault)
    }

    pub(super) fn record(&mut self, call: SegmentCall, status: Option<u16>) {
        if self.calls.len() == MAX_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(SegmentCallRecord { call, status });
    }

    /// Adds a source to the install; the install is made if there is none.
    pub(super) fn install_on(&mut self, source: &str) {
        let sources = self.install.get_or_insert_default();
        sources.retain(|other| other != source);
        sources.push(source.to_owned());
    }
}

/// A random text that nobody can guess.
pub(super) fn secret() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}
