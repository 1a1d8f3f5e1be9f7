//! Assembly of the pages that connect a source: the app at Segment, and the check of a merchant's Refersion key.
//!
//! In: the configuration. Out: the parts of the pages. Invariants: an API key is verified within the limits of `api_key_verification`, by a
//! call that changes nothing; nothing is stored, because the key arrives again with the first event.

use super::api_key_verification::ApiKeyVerifier;
use super::context::AppContext;
use super::{Addresses, ServeError, reachable};
use crate::delivery::{ApiKeyVerification, TransientFailure};
use crate::domain::{AccountName, ApiKey};
use crate::http::{AdmissionError, ApiKeyCheck, ApiKeyProblem, Connect};
use crate::refersion::ConnectionPool;
use crate::segment_api::{App, OauthApp};
use crate::telemetry::LogThrottle;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Instant;
use url::Url;

/// The pages of a service that listens on these addresses; none if `[connect]` is not set.
pub(super) fn pages(context: &AppContext, addresses: Addresses) -> Result<Option<Connect>, ServeError> {
    let config = context.config();
    let Some(connect) = &config.connect else { return Ok(None) };
    let redirect_url = match &connect.redirect_url {
        Some(url) => url.clone(),
        None => Url::parse(&format!("http://{}/connect/callback", reachable(addresses.server)))
            .map_err(|_| ServeError::NoRedirectUrl)?,
    };
    let app = App {
        client_id: connect.client_id.clone(),
        client_secret: connect.client_secret.clone(),
        redirect_url: redirect_url.to_string(),
        scope: connect.scope.clone(),
        auth_base_url: connect.auth_base_url.clone(),
        api_base_url: connect.api_base_url.clone(),
    };
    if config.store.seal_keys.is_empty() {
        return Err(ServeError::NoSealKey);
    }
    Ok(Some(Connect {
        app: OauthApp::new(app)?,
        redirect_url,
        auth_base_url: connect.auth_base_url.clone(),
        seal_keys: config.store.seal_keys.clone(),
        api_key_check: Arc::new(MerchantApiKeys {
            context: context.clone(),
            verifier: ApiKeyVerifier::new(),
            failures: LogThrottle::new(),
        }),
        clock: context.clock,
    }))
}

/// Verifies merchants' API keys with Refersion.
struct MerchantApiKeys {
    context: AppContext,
    verifier: ApiKeyVerifier<()>,
    failures: LogThrottle,
}

#[async_trait]
impl ApiKeyCheck for MerchantApiKeys {
    async fn check(&self, key: &ApiKey) -> Result<AccountName, ApiKeyProblem> {
        let config = self.context.config();
        let hash_key = self.context.store.hash_key();
        self.verifier.admit_once(hash_key.key_pair(key), self.verifier.with_permit(self.verify(key))).await?;
        let configured = config.every_account();
        match configured.iter().find(|account| account.api_key.public() == key.public()) {
            Some(account) if account.api_key.is_same_pair(key) => Ok(account.name.clone()),
            None if config.segment.accept_any_api_key => Ok(hash_key.account(key)),
            Some(_) | None => Err(ApiKeyProblem::NotServed),
        }
    }
}

impl MerchantApiKeys {
    async fn verify(&self, key: &ApiKey) -> Result<(), AdmissionError> {
        let config = self.context.config();
        let configured = config.every_account().into_iter().find(|account| account.api_key.is_same_pair(key));
        let base_url = configured.map_or_else(|| config.refersion.base_url.clone(), |account| account.base_url);
        let client = ConnectionPool::new(&base_url, config.refersion.timeout).and_then(|pool| pool.client(key));
        match client.map_err(|_| AdmissionError::KeyUnverified)?.verify_api_key().await {
            ApiKeyVerification::Accepted => Ok(()),
            ApiKeyVerification::Rejected => Err(AdmissionError::KeyRejected),
            ApiKeyVerification::Unknown(TransientFailure { what, .. }) => {
                if self.failures.may_log(Instant::now()) {
                    tracing::warn!(
                        "cannot verify a merchant's API key with Refersion: {what} (further failures are not logged for 10 s)"
                    );
                }
                Err(AdmissionError::KeyUnverified)
            }
        }
    }
}
