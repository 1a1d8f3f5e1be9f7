//! The list of affiliates whose e-mail address could not be changed, because another affiliate has the new one.

use super::session::Session;
use crate::domain::AccountName;
use crate::store::EmailConflict;
use crate::store::rows::Damaged;
use crate::store::rows::affiliates::{EMAIL_CONFLICT_COLUMNS, email_conflict};
use std::sync::LazyLock;
use tokio_postgres::Error;

static CONFLICTS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {EMAIL_CONFLICT_COLUMNS} FROM affiliates JOIN accounts USING (account)
         WHERE email_conflict AND affiliate > $1 AND ($2::text IS NULL OR name = $2) ORDER BY affiliate LIMIT $3"
    )
});

/// Up to `limit` of these affiliates after the row `after`, of `account` or of all accounts.
pub async fn email_conflicts(
    session: &Session,
    account: Option<&AccountName>,
    after: i64,
    limit: usize,
) -> Result<Result<Vec<EmailConflict>, Damaged>, Error> {
    let (account, limit) = (account.map(AccountName::as_str), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = session.query(&CONFLICTS, &[&after, &account, &limit]).await?;
    Ok(rows.iter().map(email_conflict).collect())
}
