//! The API keys of merchants' accounts as the store keeps them: sealed.
//!
//! In: the seal keys, of which the first seals and each opens. Out: the API keys, and the sealed form of one. Invariants: the service does
//! not start while one of them cannot be opened; every seal has a new random nonce.

use super::ServeError;
use crate::domain::{AccountName, ApiKey, SealKey, SealNonce, SealedApiKey, open_seal};
use crate::store::Store;
use rand::Rng as _;

/// The API keys of the store, with their accounts.
pub(super) type StoredApiKeys = Vec<(AccountName, ApiKey)>;

/// Opens every sealed API key of the store; an error if one of them cannot be opened. An API key that only a later one of `seal_keys` opens
/// is sealed again with the first.
pub(super) async fn open_stored_api_keys(
    seal_keys: &[SealKey],
    store: &dyn Store,
) -> Result<StoredApiKeys, ServeError> {
    let first = seal_keys.first().ok_or(ServeError::NoSealKey)?;
    let sealed = store.kept_api_keys().await?;
    let opened: Vec<_> = sealed.iter().filter_map(|key| Some((&key.account, open_seal(seal_keys, key)?))).collect();
    if opened.len() < sealed.len() {
        return Err(ServeError::CannotOpenKeys { unopened: sealed.len() - opened.len(), stored: sealed.len() });
    }
    let by_later = opened.iter().filter(|(_, opened)| !opened.by_first);
    let resealed: Vec<_> = by_later.map(|(account, opened)| seal(first, account, &opened.api_key)).collect();
    if !resealed.is_empty() {
        let count = resealed.len();
        store.keep_api_keys(resealed).await?;
        tracing::info!(
            count,
            "sealed API keys again with the first seal key; the other keys in STORE_SEAL_KEY are no longer needed"
        );
    }
    Ok(opened.into_iter().map(|(account, opened)| (account.clone(), opened.api_key)).collect())
}

/// The API key of `account`, sealed for the store.
pub(super) fn seal(seal_key: &SealKey, account: &AccountName, key: &ApiKey) -> SealedApiKey {
    let mut nonce = SealNonce::default();
    rand::rng().fill_bytes(&mut nonce);
    seal_key.seal(account, key, &nonce)
}
