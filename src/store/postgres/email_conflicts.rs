//! Affiliates whose e-mail address could not be changed, because another affiliate has the new one.

use super::session::Session;
use crate::domain::{AccountName, AffiliateCode, AffiliateId};
use crate::store::EmailConflict;
use tokio_postgres::{Error, Row};

/// Up to `limit` of them after the row `after`; of `account`, or of all accounts.
pub async fn email_conflicts(
    session: &Session,
    account: Option<&AccountName>,
    after: i64,
    limit: usize,
) -> Result<Vec<EmailConflict>, Error> {
    let sql = "SELECT affiliate, name, code, id FROM affiliates JOIN accounts USING (account)
               WHERE email_conflict AND affiliate > $1 AND ($2::text IS NULL OR name = $2) ORDER BY affiliate LIMIT $3";
    let (account, limit) = (account.map(AccountName::as_str), i64::try_from(limit).unwrap_or(i64::MAX));
    let read = |row: &Row| EmailConflict {
        place: row.get(0),
        account: row.get(1),
        code: AffiliateCode(row.get(2)),
        id: row.get::<_, Option<i64>>(3).and_then(|id| id.try_into().ok()).map(AffiliateId),
    };
    Ok(session.query(sql, &[&after, &account, &limit]).await?.iter().map(read).collect())
}
