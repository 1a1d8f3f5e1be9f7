//! Reads the parameters and the body of a request; a value that does not fit is a problem.
//!
//! In: a request. Out: typed values. Invariants: a body has at most [`MAX_BODY_BYTES`], which the router sets, and arrives within
//! [`BODY_TIMEOUT`]; an unknown parameter is an error if its type denies unknown fields. axum's own extractors answer errors as text.

use super::problem::Problem;
use crate::domain::{User, UserId};
use crate::mapping::parse_email;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_ENCODING;
use axum::http::request::Parts;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use std::time::Duration;
use utoipa::openapi::schema::{Object, ObjectBuilder};

/// The largest body, in bytes: a thousand ids need a third of it.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;
/// The time a body has to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// The most dead letters, conflicts, keys, accounts or events of one page, and the most ids of one request.
pub const MAX_ITEMS: u16 = 1_000;
/// The size of a page for which no limit is given.
const PAGE_SIZE: u16 = 100;

/// The answer of a handler.
pub(super) type ApiResult<T> = Result<Json<T>, Problem>;

/// The body, as JSON.
pub(super) struct ApiJson<T>(pub(super) T);

/// The fields of a form, in the order of the form. A field may occur several times.
pub(super) struct FormFields(Vec<(String, String)>);

impl FormFields {
    /// The values of the field of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| &**value)
    }
}

/// The parameters of the query.
pub(super) struct ApiQuery<T>(pub(super) T);

/// The parameter of the path.
pub(super) struct ApiPath<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        refuse_compressed(&request)?;
        let read = tokio::time::timeout(BODY_TIMEOUT, Json::<T>::from_request(request, state)).await;
        match read {
            Ok(Ok(Json(value))) => Ok(Self(value)),
            Ok(Err(rejection)) => Err(rejection.into()),
            Err(_) => Err(Problem::BodyTimeout),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for FormFields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        refuse_compressed(&request)?;
        match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await {
            Ok(Ok(body)) => Ok(Self(url::form_urlencoded::parse(&body).into_owned().collect())),
            Ok(Err(rejection)) => Err(JsonRejection::from(rejection).into()),
            Err(_) => Err(Problem::BodyTimeout),
        }
    }
}

fn refuse_compressed(request: &Request) -> Result<(), Problem> {
    let mut encodings = request.headers().get_all(CONTENT_ENCODING).iter();
    let is_plain =
        |name: &HeaderValue| matches!(&*name.as_bytes().trim_ascii().to_ascii_lowercase(), b"" | b"identity");
    if encodings.all(is_plain) { Ok(()) } else { Err(Problem::UnsupportedEncoding) }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => Self::UnsupportedMediaType,
            JsonRejection::BytesRejection(BytesRejection::FailedToBufferBody(error)) if error.status() == 413 => {
                Self::BodyTooLarge
            }
            other => Self::InvalidRequest(other.body_text()),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(value)| Self(value)).map_err(|rejection| Problem::InvalidRequest(rejection.body_text()))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|rejection| Problem::InvalidRequest(rejection.body_text()))
    }
}

/// A number of a body that is an integer as JSON Schema defines it: `5`, and `5.0`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "serde_json::Number")]
struct Integer(i64);

impl TryFrom<serde_json::Number> for Integer {
    type Error = String;

    fn try_from(number: serde_json::Number) -> Result<Self, String> {
        // A larger number may stand for another one.
        const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
        let whole = |number: &f64| number.fract() == 0.0 && number.abs() <= MAX_EXACT;
        #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is in range")]
        let of_float = || number.as_f64().filter(whole).map(|number| number as i64);
        number.as_i64().or_else(of_float).map(Self).ok_or_else(|| format!("{number} is not an integer of 64 bits"))
    }
}

/// Reads a list of integers.
pub(super) fn integers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    let integers = Vec::<Integer>::deserialize(deserializer)?;
    Ok(integers.into_iter().map(|Integer(number)| number).collect())
}

/// Reads an integer that may be `null`.
pub(super) fn optional_integer<'de, D: Deserializer<'de>, T: TryFrom<i64>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let Some(Integer(number)) = Option::deserialize(deserializer)? else { return Ok(None) };
    T::try_from(number).map(Some).map_err(|_| D::Error::custom(format_args!("{number} is out of range")))
}

/// The value of the parameter `name`, which is the word of one of `all`.
pub(super) fn known_word<T: Copy>(
    name: &str,
    given: Option<&str>,
    all: &[T],
    word: fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let Some(given) = given else { return Ok(None) };
    let words = || all.iter().map(|value| word(*value)).collect::<Vec<_>>().join(", ");
    let found = all.iter().copied().find(|value| word(*value) == given);
    found.map(Some).ok_or_else(|| Problem::InvalidRequest(format!("`{name}` is none of {}", words())))
}

/// The schema of a parameter that is one of these words.
pub(super) fn one_of(words: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(utoipa::openapi::Type::String).enum_values(Some(words)).build()
}

/// The user with these identifiers, as an operator writes them. A blank `userId` counts as none.
pub(super) fn user(user_id: Option<&str>, email: Option<&str>) -> Result<User, Problem> {
    let email = email.map(parse_email).transpose();
    let email = email.map_err(|error| Problem::InvalidRequest(format!("`email` is {error}")))?;
    Ok(User { user_id: user_id.and_then(UserId::parse), email })
}

/// The size of a page: the requested one, if it is allowed.
pub(super) fn page_size(limit: Option<u16>) -> Result<usize, Problem> {
    match limit {
        None => Ok(PAGE_SIZE.into()),
        Some(limit @ 1..=MAX_ITEMS) => Ok(limit.into()),
        Some(_) => Err(Problem::InvalidRequest(format!("`limit` is not from 1 to {MAX_ITEMS}"))),
    }
}

/// The cursor of a pagination: the end of the page before. It is never below zero.
pub(super) fn cursor(after: Option<i64>) -> Result<i64, Problem> {
    match after {
        None => Ok(0),
        Some(after @ 0..) => Ok(after),
        Some(_) => Err(Problem::InvalidRequest("`after` is below 0".to_owned())),
    }
}
