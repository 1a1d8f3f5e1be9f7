//! `dead-letters` at a terminal: it asks before it discards, and shows its progress.

use super::Deployment;
use crate::support::API_KEY;
use crate::support::process::binary;
use crate::support::terminal::{TerminalRun, run_at_a_terminal};
use std::path::Path;

/// Runs `dead-letters` on the store in `folder` at its own terminal, and types `typed` there.
async fn at_a_terminal(folder: &Path, arguments: &[&str], typed: &str) -> TerminalRun {
    let mut command = binary();
    let store = format!("sqlite://{}/store.db", folder.display());
    command.arg("dead-letters").args(arguments).env("REFERSION_API_KEY", API_KEY).env("STORE_URL", store);
    run_at_a_terminal(command, typed).await
}

#[tokio::test]
async fn discard_asks_first_and_only_yes_confirms() {
    let mut deployment = Deployment::open(&[]).await;
    for number in 0..3 {
        deployment.send_dead_letter(&format!("m{number}"), &format!("u{number}")).await;
    }
    deployment.stop().await;
    let ids = deployment.ids().await;
    for typed in ["n\n", "\n", "yep\n", "\u{4}"] {
        let ran = at_a_terminal(deployment.folder.path(), &["discard", "--all"], typed).await;
        assert_eq!((ran.code, &*ran.out), (Some(1), ""), "{typed:?}");
        assert!(ran.seen.contains("Discard all dead letters for good? [y/N] "), "{}", ran.seen);
        assert!(ran.seen.contains("refersion-destination: nothing was discarded"), "{}", ran.seen);
        assert_eq!(deployment.ids().await, ids, "{typed:?}");
    }
    let ran = at_a_terminal(deployment.folder.path(), &["discard", &ids[0]], "Y\n").await;
    assert_eq!((ran.code, &*ran.out), (Some(0), "discarded 1 dead letter\n"), "{}", ran.seen);
    assert!(ran.seen.contains(&format!("Discard the dead letter {} for good? [y/N] ", ids[0])), "{}", ran.seen);
    let ran = at_a_terminal(deployment.folder.path(), &["discard", "--reason", "refused"], "Yes\n").await;
    assert_eq!((ran.code, &*ran.out), (Some(0), "discarded 2 dead letters\n"), "{}", ran.seen);
    assert!(ran.seen.contains("Discard all dead letters that match the filter for good?"), "{}", ran.seen);
    assert!(deployment.ids().await.is_empty());
}

/// Long work is done in portions of a hundred, and the count grows after each; in the end the progress line is removed.
#[tokio::test]
async fn progress_is_shown_while_a_command_runs() {
    let mut deployment = Deployment::open(&[]).await;
    deployment.send_dead_letter("m1", "u1").await;
    deployment.stop().await;
    let (one, nobody) = (deployment.ids().await.remove(0), (1_000..1_150).map(|id| id.to_string()).collect::<Vec<_>>());
    let some: Vec<&str> = [&*one].into_iter().chain(nobody.iter().map(String::as_str)).collect();
    let ran = at_a_terminal(deployment.folder.path(), &[&["replay"], &some[..]].concat(), "").await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.out.lines().count(), 152, "one line for each, and one at the end: {}", ran.out);
    assert!(ran.out.ends_with("replayed 1 dead letter\n"), "{}", ran.out);
    assert!(ran.seen.matches(" replayed 1 …").count() >= 2, "after each hundred: {:?}", ran.seen);
    assert!(ran.seen.ends_with("\r\u{1b}[2K"), "{:?}", ran.seen);
}
