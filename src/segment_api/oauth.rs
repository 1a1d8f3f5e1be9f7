//! The app's side of "Enable with Segment": OAuth 2.0 (authorization code), and the destination on the source that the merchant
//! chose.
//!
//! In: an authorization code, or the name of an install that exists. Out: [`InstallAccess`] to a source, and the Refersion destination on
//! it, created or changed, enabled, with the merchant's key. Invariants: the token of an install lives as long as its [`InstallAccess`] and
//! is not kept; creating and changing are repeated once if their answer was lost, because both are idempotent. The exchange of a code is
//! not repeated: a code is accepted once.

use super::http::{Http, Method, RequestContent, SegmentCredentials, SegmentResponse};
use super::{HttpClientError, SegmentApiError, SourceName};
use crate::domain::ApiKey;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

/// The registration of this service as an app at Segment, and the URLs of Segment.
#[derive(Clone, Debug)]
pub struct App {
    /// The client id.
    pub client_id: String,
    /// The client secret.
    pub client_secret: SecretString,
    /// The registered redirect URL, to which Segment sends the merchant back.
    pub redirect_url: String,
    /// `destination/` and the slug of the destination.
    pub scope: String,
    /// The base URL for OAuth; its path ends with `/`.
    pub auth_base_url: Url,
    /// The base URL of the Config API; its path ends with `/`.
    pub api_base_url: Url,
}

/// An app with connections to Segment.
#[derive(Clone, Debug)]
pub struct OauthApp {
    app: App,
    http: Http,
}

/// The access that a merchant gave.
#[derive(Debug)]
pub struct InstallAccess {
    /// Segment's name of the install.
    pub install: String,
    /// The sources.
    pub sources: Vec<SourceName>,
    token: SecretString,
}

/// The effect on the destination of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connected {
    /// It was created.
    Created,
    /// It existed, and has the key now.
    Updated,
    /// It was created or existed: the answer to its creation was lost.
    Either,
}

impl OauthApp {
    /// The client of `app`. Opens no connection yet.
    pub fn new(app: App) -> Result<Self, HttpClientError> {
        let http = Http::new(&[&app.auth_base_url, &app.api_base_url])?;
        Ok(Self { app, http })
    }

    /// Segment's consent page.
    pub fn consent_url(&self, state: &str) -> Url {
        let App { client_id, redirect_url, scope, auth_base_url, .. } = &self.app;
        let mut url = joined(auth_base_url, "oauth2/auth");
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", redirect_url)
            .append_pair("scope", scope)
            .append_pair("state", state);
        url
    }

    /// Exchanges an authorization code.
    pub async fn exchange(&self, code: &str) -> Result<InstallAccess, SegmentApiError> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.app.redirect_url)
            .finish();
        let url = joined(&self.app.auth_base_url, "oauth2/token");
        let answer = self.http.send(Method::POST, url, &self.client(), RequestContent::Form(form)).await?;
        access(&answer)
    }

    /// Access through an existing install.
    pub async fn access_of(&self, install: &str) -> Result<InstallAccess, SegmentApiError> {
        let is_name = install.strip_prefix("installs/").is_some_and(|id| id.bytes().all(|b| b.is_ascii_alphanumeric()));
        if !is_name {
            return Err(SegmentApiError::NotFound);
        }
        let url = joined(&self.app.api_base_url, &format!("v1beta/{install}/token"));
        access(&self.http.send(Method::GET, url, &self.client(), RequestContent::None).await?)
    }

    /// Creates the destination on `source` with `key`, or sets the key of an existing one, and enables it.
    pub async fn connect(
        &self,
        access: &InstallAccess,
        source: &SourceName,
        key: &ApiKey,
    ) -> Result<Connected, SegmentApiError> {
        match self.create(access, source, key).await {
            Ok(()) => Ok(Connected::Created),
            Err(SegmentApiError::Conflict) => self.update(access, source, key).await.map(|()| Connected::Updated),
            Err(SegmentApiError::Lost | SegmentApiError::Failed(_)) => match self.create(access, source, key).await {
                Ok(()) => Ok(Connected::Created),
                Err(SegmentApiError::Conflict) => self.update(access, source, key).await.map(|()| Connected::Either),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn create(&self, access: &InstallAccess, source: &SourceName, key: &ApiKey) -> Result<(), SegmentApiError> {
        let name = format!("{source}/destinations/{}", self.slug());
        let body = json!({"destination": {
            "name": name,
            "connection_mode": "CLOUD",
            "config": [{"name": format!("{name}/config/apiKey"), "display_name": "API Key", "value": key.expose_pair()}],
            "enabled": true,
        }});
        let url = joined(&self.app.api_base_url, &format!("v1beta/{source}/destinations"));
        self.call(access, Method::POST, url, body).await
    }

    async fn update(&self, access: &InstallAccess, source: &SourceName, key: &ApiKey) -> Result<(), SegmentApiError> {
        let name = format!("{source}/destinations/{}", self.slug());
        let body = json!({
            "destination": {
                "enabled": true,
                "config": [{"name": format!("{name}/config/apiKey"), "type": "string", "value": key.expose_pair()}],
            },
            "update_mask": {"paths": ["destination.enabled", "destination.config"]},
        });
        let url = joined(&self.app.api_base_url, &format!("v1beta/{name}"));
        match self.call(access, Method::PATCH, url.clone(), body.clone()).await {
            Err(SegmentApiError::Lost | SegmentApiError::Failed(_)) => {
                self.call(access, Method::PATCH, url, body).await
            }
            done => done,
        }
    }

    async fn call(&self, access: &InstallAccess, method: Method, url: Url, body: Value) -> Result<(), SegmentApiError> {
        let content = RequestContent::Json("application/json", body);
        let answer = self.http.send(method, url, &SegmentCredentials::Bearer(&access.token), content).await?;
        SegmentApiError::of_status(answer.status, answer.retry_after).map_or(Ok(()), Err)
    }

    fn client(&self) -> SegmentCredentials<'_> {
        SegmentCredentials::Basic(&self.app.client_id, &self.app.client_secret)
    }

    /// The slug of the destination, from the scope.
    fn slug(&self) -> &str {
        self.app.scope.strip_prefix("destination/").unwrap_or("refersion")
    }
}

/// A URL below a base URL, whose path ends with `/`.
fn joined(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path()));
    url
}

/// Reads the answer to the exchange of a code, or to a request for a token of an install.
fn access(answer: &SegmentResponse) -> Result<InstallAccess, SegmentApiError> {
    let failure = SegmentApiError::of_status(answer.status, answer.retry_after);
    let Some(failure) = failure else { return read_access(&answer.body).ok_or(SegmentApiError::Unreadable) };
    if failure.is_transient() {
        return Err(failure);
    }
    let text = answer.body.to_string().to_lowercase();
    let says = |words: &str| text.contains(words);
    Err(match answer.body["error"].as_str() {
        _ if says("install already exists") => SegmentApiError::AlreadyInstalled,
        _ if says("missing a required parameter") => SegmentApiError::WrongRedirect,
        Some("invalid_grant") => SegmentApiError::CodeRejected,
        Some("invalid_client" | "unauthorized_client") => SegmentApiError::WrongClient,
        Some("invalid_scope") => SegmentApiError::WrongScope,
        _ if answer.status == 401 => SegmentApiError::WrongClient,
        _ => failure,
    })
}

fn read_access(body: &Value) -> Option<InstallAccess> {
    let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
    let sources = body["source_names"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Some(InstallAccess {
        token: text("access_token")?.into(),
        install: text("install_name")?.to_owned(),
        sources: sources.filter_map(SourceName::parse).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: Value) -> SegmentResponse {
        SegmentResponse { status, retry_after: None, body }
    }

    #[test]
    fn a_rejected_exchange_says_why() {
        for (status, body, expected) in [
            (400, json!({"error": "invalid_grant"}), SegmentApiError::CodeRejected),
            (
                400,
                json!({"error": "invalid_request", "error_description": "The request is missing a required parameter"}),
                SegmentApiError::WrongRedirect,
            ),
            (401, json!({"error": "invalid_client"}), SegmentApiError::WrongClient),
            (401, Value::Null, SegmentApiError::WrongClient),
            (400, json!({"error": "invalid_scope"}), SegmentApiError::WrongScope),
            (409, json!({"error": "install already exists"}), SegmentApiError::AlreadyInstalled),
            (400, json!({"error": "else"}), SegmentApiError::Rejected(400)),
            (503, Value::Null, SegmentApiError::Failed(503)),
            (429, Value::Null, SegmentApiError::TooManyCalls(None)),
            (200, json!({"access_token": "t"}), SegmentApiError::Unreadable),
            (200, Value::Null, SegmentApiError::Unreadable),
        ] {
            assert_eq!(access(&answer(status, body.clone())).err(), Some(expected), "{status} {body}");
        }
    }

    #[test]
    fn an_answer_has_the_token_the_install_and_the_sources() {
        let body = json!({"access_token": "t", "token_type": "bearer", "install_name": "installs/7",
            "source_names": ["workspaces/w/sources/s", "else"]});
        let access = access(&answer(200, body)).expect("read");
        assert_eq!((&*access.install, access.sources.len()), ("installs/7", 1));
        assert!(!format!("{access:?}").contains("\"t\""));
    }
}
