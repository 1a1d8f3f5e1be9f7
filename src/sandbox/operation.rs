//! The six operations of the simulated Refersion, named by the last segment of their path.

use crate::domain::words;

words! {
    /// An operation on affiliates: `POST /v2/affiliate/{operation}`.
    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[expect(missing_docs, reason = "the variants are Refersion's own operation names")]
    Operation {
        New = "new",
        Search = "search",
        Get = "get",
        List = "list",
        Edit = "edit",
        StatusChange = "status_change",
    }
}
