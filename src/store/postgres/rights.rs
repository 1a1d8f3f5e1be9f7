//! The rights that the database's user needs: to migrate the tables, and to use them.
//!
//! In: a session. Out: the missing rights, in words. The service asks for them at each probe, since they can be revoked while it runs, and
//! PostgreSQL then refuses only the statements that need them. Deliberately absent: granting them.

use super::schema::{schema_of_tables, tables};
use super::session::Session;
use std::sync::LazyLock;
use tokio_postgres::Error;

/// The missing rights to make the tables, or to migrate them. Only the owner of a table can change it.
const TO_MIGRATE: &str = concat!(
    "WITH tables AS (SELECT ",
    schema_of_tables!(),
    " AS schema)
    SELECT 'CREATE in its schema' FROM tables WHERE NOT coalesce(has_schema_privilege(schema, 'CREATE'), false)
    UNION ALL SELECT 'ALTER ' || relname FROM pg_class JOIN tables ON relnamespace = schema
    WHERE relname = ANY ($1) AND NOT pg_has_role(relowner, 'USAGE')"
);

/// The missing rights to use the tables.
static TO_USE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT missing.rights || ' on ' || missing.name FROM (
            SELECT string_agg(wanted.privilege, ', ' ORDER BY wanted.privilege), tables.name
            FROM unnest('{{{}}}'::text[]) AS tables (name),
                unnest('{{SELECT,INSERT,UPDATE,DELETE}}'::text[]) AS wanted (privilege)
            WHERE NOT coalesce(has_table_privilege(to_regclass(tables.name)::oid, wanted.privilege), false)
            GROUP BY tables.name
            UNION ALL SELECT 'USAGE', 'log_seq'
            WHERE NOT coalesce(has_sequence_privilege(to_regclass('log_seq')::oid, 'USAGE'), false)
            UNION ALL SELECT 'USAGE', 'the language plpgsql' WHERE NOT EXISTS (
                SELECT 1 FROM pg_language WHERE lanname = 'plpgsql' AND has_language_privilege(oid, 'USAGE'))
        ) AS missing (rights, name) ORDER BY missing.name",
        tables().join(",")
    )
});

/// Fails if a right to use the tables is missing, and names it. Written in PL/pgSQL, because plain SQL cannot raise an error.
static CHECK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "DO $$
        DECLARE missing text := array_to_string(ARRAY({}), '; ');
        BEGIN
            IF missing <> '' THEN
                RAISE insufficient_privilege USING MESSAGE = 'this user lacks rights: ' || missing || '; grant them';
            END IF;
        END $$",
        *TO_USE
    )
});

/// The missing rights to make the tables, or to migrate them.
pub async fn missing_to_migrate(session: &Session) -> Result<Vec<String>, Error> {
    Ok(session.query(TO_MIGRATE, &[&tables()]).await?.iter().map(|row| row.get(0)).collect())
}

/// The missing rights to use the tables.
pub async fn missing_to_use(session: &Session) -> Result<Vec<String>, Error> {
    Ok(session.query(&TO_USE, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Fails if a right to use the tables is missing.
pub async fn check(session: &Session) -> Result<(), Error> {
    session.run_statements(&CHECK).await
}
