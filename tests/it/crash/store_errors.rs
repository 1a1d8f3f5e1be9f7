//! A write that the store refuses for good: it is reported, tried again after the longest wait, and delays its user alone.
//!
//! A trigger that an operator's connection put into the file makes SQLite refuse the write.

use super::{drained, ended};
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{identify, within};
use serde_json::{Value, json};
use std::path::Path;

fn execute(folder: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(folder.join("store.db")).expect("opens");
    connection.busy_timeout(std::time::Duration::from_secs(30)).expect("set");
    connection.execute_batch(sql).expect(sql);
}

#[tokio::test]
async fn a_write_that_the_store_refuses_is_repeated_only_after_a_wait_and_delays_no_other_user() {
    // What fails of the first event, and how many calls were made for it before.
    for (event, calls) in [
        ("BEFORE INSERT ON attempts WHEN NEW.seq = 1", 0), // the mark before its first call
        ("BEFORE UPDATE ON attempts WHEN NEW.seq = 1", 1), // its progress after that
        ("BEFORE UPDATE ON bodies WHEN OLD.seq = 1", 2),   // its settlement
    ] {
        let refersion = Refersion::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let settings = [
            ("SERVER_WAIT", "0s"),
            ("DELIVERY_RETRY_MAX", "1h"),
            ("MAPPING_CUSTOM_FIELDS", r#"{ plan = "77" }"#),
            ("LOG_FILTER", "error,refersion_destination::app=info"),
        ];
        let start = || Process::start(&refersion.base_url, folder.path(), &settings);
        let process = start();
        execute(folder.path(), &format!("CREATE TRIGGER refuse {event} BEGIN SELECT RAISE(ABORT, 'refused'); END"));
        let send = async |n: usize| {
            let event = identify(&format!("m{n}"), &format!("u{n}"), &json!({"plan": "gold"}));
            assert_eq!(within(process.send(&event)).await.expect("answered").brief(), "202 accepted");
        };
        send(1).await;
        refersion.until(|sandbox| sandbox.calls_total() >= calls).await;
        // Were it repeated at once, it would be many times while these are carried out, one after the other.
        for n in 2..22 {
            send(n).await;
            let email = format!("u{n}@example.com");
            let delivered = |sandbox: &refersion_destination::sandbox::Sandbox| {
                sandbox.affiliate(&email).is_some_and(|one| one.custom_fields.contains_key("77"))
            };
            refersion.until(delivered).await;
        }
        process.terminate();
        let (code, logged) = ended(process).await;
        assert_eq!(code, Some(0), "{logged}");
        assert_eq!(refersion.sandbox.calls_total(), calls + 40, "{event}: {:?}", refersion.operations());
        let lines = logged.lines().filter(|line| line.contains("ERROR") && line.contains("the store refuses")).count();
        assert_eq!(lines, 1, "{event}: {logged}");

        execute(folder.path(), "DROP TRIGGER refuse");
        let process = start();
        let ready: Value = drained(&process).await;
        assert_eq!(ready["dead_letters"], 0);
        assert_eq!(refersion.sandbox.affiliates().len(), 21, "{event}");
    }
}
