//! `check` and `migrate` on a PostgreSQL database.

use super::run;
use crate::support::service::Refersion;
use crate::support::{API_KEY, postgres};

/// The names of all relations of a schema.
async fn tables(url: &str) -> Vec<String> {
    let client = postgres::connect(url).await;
    let sql = "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace";
    let mut names: Vec<String> = client.query(sql, &[]).await.expect("read").iter().map(|row| row.get(0)).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_looked_at_and_not_changed() {
    let Some(url) = postgres::new_schema() else { return };
    let refersion = Refersion::start().await;
    let base = [("REFERSION_BASE_URL", &*refersion.base_url), ("REFERSION_API_KEY", API_KEY)];
    let check = async |url: &str| {
        let ran = run(&["check"], &[&base[..], &[("STORE_URL", url)]].concat(), "").await;
        (ran.code, format!("{}{}", ran.out, ran.err))
    };
    let (code, said) = check(&url).await;
    assert!(code == Some(0) && said.contains("has no tables yet; the first start makes them"), "{said}");
    assert!(tables(&url).await.is_empty());
    assert_eq!(run(&["migrate"], &[&base[..], &[("STORE_URL", &*url)]].concat(), "").await.code, Some(0));
    let made = tables(&url).await;
    let (code, said) = check(&url).await;
    assert!(code == Some(0) && said.contains("can be used; 0 pending events, 0 dead letters"), "{said}");
    assert_eq!(tables(&url).await, made);

    let client = postgres::connect(&url).await;
    let role = format!("reader_{}", std::process::id());
    if let Some(reader) = postgres::url_of_role(&url, &role) {
        let grant = format!(
            "CREATE ROLE {role} LOGIN;
             DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', current_schema());
             EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO {role}', current_schema()); END $$"
        );
        client.batch_execute(&grant).await.expect("granted");
        let (code, said) = check(&reader).await;
        assert!(code == Some(1) && said.contains("lacks rights: DELETE, INSERT, UPDATE on accounts; "), "{said}");
        assert!(said.contains("; USAGE on log_seq; "), "{said}");
        client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.expect("dropped");
    }
    for (version, oldest, code, words) in
        [(99, 1, 0, "can be used"), (99, 99, 1, "made by a newer release (version 99)")]
    {
        let sql = "UPDATE meta SET value = CASE name WHEN 'version' THEN int8send($1) ELSE int8send($2) END
            WHERE name IN ('version', 'oldest_reader')";
        client.execute(sql, &[&i64::from(version), &i64::from(oldest)]).await.expect("written");
        let (found, said) = check(&url).await;
        assert!(found == Some(code) && said.contains(words), "{version} {oldest}: {said}");
    }
    // The name of the schema stands last.
    let elsewhere = format!("{url}_none");
    for command in ["check", "migrate"] {
        let ran = run(&[command], &[&base[..], &[("STORE_URL", &*elsewhere)]].concat(), "").await;
        assert!(ran.code == Some(1) && ran.err.contains("none of the schemas in search_path exists"), "{}", ran.err);
    }
    let unknown = "postgres://nobody@127.0.0.1:1/none";
    let (code, said) = check(unknown).await;
    assert!(code == Some(1) && said.contains("cannot connect to PostgreSQL at 127.0.0.1/none"), "{said}");
}

/// A start would end in the middle, with PostgreSQL's words about one of the names.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_program_are_left_alone_and_the_message_names_them_and_a_remedy() {
    let refersion = Refersion::start().await;
    for (made, names) in [
        ("CREATE TABLE log (line text)", "log"),
        ("CREATE VIEW links AS SELECT 1; CREATE TABLE accounts (id int)", "accounts, links"),
        ("CREATE TABLE meta (id int)", "meta"),
        ("CREATE TABLE meta (name text, value text); INSERT INTO meta VALUES ('version', '3')", "meta"),
        ("CREATE TABLE meta (name text, value bytea)", "meta"),
        (
            "CREATE TABLE meta (name text PRIMARY KEY, value bytea NOT NULL); CREATE TABLE remembered_traits (key int);
             INSERT INTO meta VALUES ('version', int8send(2)), ('oldest_reader', int8send(1))",
            "remembered_traits",
        ),
    ] {
        let Some(url) = postgres::new_schema() else { return };
        let client = postgres::connect(&url).await;
        client.batch_execute(made).await.expect("made");
        let before = tables(&url).await;
        let base = [("REFERSION_BASE_URL", &*refersion.base_url), ("REFERSION_API_KEY", API_KEY)];
        for command in ["check", "migrate", "serve"] {
            let ran = run(&[command], &[&base[..], &[("STORE_URL", &*url)]].concat(), "").await;
            assert_eq!(ran.code, Some(1), "{command}: {}{}", ran.out, ran.err);
            let expected =
                format!("by the names that a start would make ({names}); use another database, or another schema");
            assert!(ran.err.contains(&expected), "{command}: {}", ran.err);
        }
        assert_eq!(tables(&url).await, before);
    }
}
