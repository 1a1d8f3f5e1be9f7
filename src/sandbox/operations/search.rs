//! `/affiliate/search` and `/affiliate/list`: pages of affiliates, oldest first. `id` in the response is the *code*.
//!
//! A keyword is an exact identifier or any part of an e-mail, without case. So a search may find more affiliates than intended, and the
//! intended one may be on a later page. Where the contract is silent: either identifier counts as "an affiliate id"; names are compared as
//! a whole, without case; all of several filters must match; a page after the last one is empty and no error.

use crate::sandbox::SandboxSettings;
use crate::sandbox::account::{SandboxAccount, SandboxAffiliate};
use crate::sandbox::error_response::{ErrorResponse, NO_FILTER, NO_RESULTS};
use crate::sandbox::rules::{self, FieldRule, Rule, optional};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const PAGE: FieldRule = optional("page", Rule::Count(u32::MAX));
const FILTERS: [&str; 3] = ["keyword", "first_name", "last_name"];
const SEARCH: [FieldRule; 4] =
    [optional(FILTERS[0], Rule::Text), optional(FILTERS[1], Rule::Text), optional(FILTERS[2], Rule::Text), PAGE];
const LIST: [FieldRule; 2] = [optional("limit", Rule::Count(100)), PAGE];

pub(super) fn search(
    account: &SandboxAccount,
    settings: &SandboxSettings,
    body: &Map<String, Value>,
) -> Result<Value, ErrorResponse> {
    let texts = read(body, &SEARCH)?;
    let filters: Vec<_> = FILTERS.iter().filter_map(|name| Some((*name, texts.get(*name)?.to_lowercase()))).collect();
    if filters.iter().all(|(_, wanted)| wanted.is_empty()) {
        return Err(ErrorResponse::invalid(NO_FILTER));
    }
    let found: Vec<_> = account
        .iter()
        .filter(|affiliate| filters.iter().all(|(name, wanted)| wanted.is_empty() || holds(affiliate, name, wanted)))
        .collect();
    if found.is_empty() {
        return Err(ErrorResponse::invalid(NO_RESULTS));
    }
    Ok(page(&found, settings.page_size, number(&texts, "page").unwrap_or(1), settings))
}

pub(super) fn list(
    account: &SandboxAccount,
    settings: &SandboxSettings,
    body: &Map<String, Value>,
) -> Result<Value, ErrorResponse> {
    let texts = read(body, &LIST)?;
    let limit = number(&texts, "limit").unwrap_or(settings.page_size);
    let all: Vec<_> = account.iter().collect();
    Ok(page(&all, limit, number(&texts, "page").unwrap_or(1), settings))
}

fn read(body: &Map<String, Value>, fields: &[FieldRule]) -> Result<BTreeMap<String, String>, ErrorResponse> {
    let (texts, messages) = rules::read_texts(body, fields)?;
    if messages.is_empty() { Ok(texts) } else { Err(ErrorResponse::Invalid(messages)) }
}

fn number(texts: &BTreeMap<String, String>, field: &str) -> Option<usize> {
    texts.get(field)?.parse().ok()
}

fn holds(affiliate: &SandboxAffiliate, filter: &str, wanted: &str) -> bool {
    if filter != "keyword" {
        return affiliate.field(filter).to_lowercase() == wanted;
    }
    affiliate.email().to_lowercase().contains(wanted)
        || affiliate.code.0 == wanted
        || affiliate.id.to_string() == wanted
}

fn page(found: &[&SandboxAffiliate], size: usize, number: usize, settings: &SandboxSettings) -> Value {
    let results: Vec<_> = found
        .iter()
        .skip(number.saturating_sub(1).saturating_mul(size))
        .take(size)
        .map(|affiliate| {
            json!({
                "id": affiliate.code,
                "offer_id": super::offer_id(affiliate, settings),
                "status": affiliate.status,
                "first_name": affiliate.field("first_name"),
                "last_name": affiliate.field("last_name"),
                "email": affiliate.email(),
                "custom_fields": super::custom_fields(affiliate),
            })
        })
        .collect();
    json!({"total": found.len(), "results": results})
}
