//! Migration of the affiliate index: affiliates, and the user keys that lead to them.
//!
//! In: `v5_affiliates` and `v5_users`. Out: `affiliates` (with the same numbers) and `links`: one for each key of a user
//! that leads to an affiliate and, new since version 6, one for each affiliate itself (tag 3), by its account and code.

use crate::domain::HashKey;
use crate::store::user_keys::{AFFILIATE, with_tag};
use rusqlite::{Connection, params};

/// Carries affiliates and links over. Links are read in the order of the first half of the key, so their rows come in long runs.
pub fn migrate(connection: &Connection, hash: &HashKey) -> rusqlite::Result<()> {
    let affiliates = "INSERT INTO affiliates (affiliate, account, code, id, found, sent, email_conflict)
        SELECT affiliate, accounts.account, code, id, found, CAST(sent AS BLOB), 0
        FROM v5_affiliates AS known JOIN accounts ON accounts.name = known.account ORDER BY affiliate";
    connection.execute(affiliates, [])?;
    let links = "INSERT INTO links (key, affiliate)
        SELECT entry, affiliate FROM v5_users WHERE entry IS NOT NULL AND affiliate IN (SELECT affiliate FROM affiliates)
        ORDER BY v5_users.key";
    connection.execute(links, [])?;
    link_affiliates(connection, hash)
}

fn link_affiliates(connection: &Connection, hash: &HashKey) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT account, code, affiliate FROM v5_affiliates")?;
    let mut rows = statement.query([])?;
    let mut link = connection.prepare("INSERT INTO links (key, affiliate) VALUES (?1, ?2)")?;
    while let Some(row) = rows.next()? {
        let key = hash.affiliate(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        link.execute(params![with_tag(AFFILIATE, &key), row.get::<_, i64>(2)?])?;
    }
    Ok(())
}
