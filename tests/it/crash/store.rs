//! One store serves one process, and a killed process leaves no lock behind.

use super::drained;
use crate::support::process::{Process, binary};
use crate::support::service::Refersion;
use crate::support::{API_KEY, identify, within};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;

#[tokio::test]
async fn a_second_process_is_refused_and_the_first_goes_on() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let first = Process::start(&refersion.base_url, folder.path(), &[]);

    let store = folder.path().join("store.db");
    assert_is_refused(&store, &refersion.base_url);

    let sent = within(first.send(&identify("m1", "u1", &Value::Null))).await.expect("answered");
    assert_eq!(sent.brief(), "200 delivered");
    first.kill();
    let next = Process::start(&refersion.base_url, folder.path(), &[]);
    let sent = within(next.send(&identify("m1", "u1", &Value::Null))).await.expect("answered");
    assert_eq!(sent.brief(), "200 duplicate");
    drained(&next).await;
    next.kill();
    assert_eq!(refersion.operations(), ["new"]);
}

/// A link to the file leads to another lock file, and so does the file's own name once its lock file was removed.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_second_process_is_refused_under_any_name_of_the_file() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let first = Process::start(&refersion.base_url, folder.path(), &[]);

    let store = folder.path().join("store.db");
    let [symbolic, hard] = ["symbolic.db", "hard.db"].map(|name| folder.path().join(name));
    std::os::unix::fs::symlink(&store, &symbolic).expect("linked");
    std::fs::hard_link(&store, &hard).expect("linked");
    std::fs::remove_file(folder.path().join("store.db.lock")).expect("removed");
    for name in [symbolic, hard, store] {
        assert_is_refused(&name, &refersion.base_url);
    }
    first.kill();
}

/// A second process on the store `path` says that it is in use, and ends.
fn assert_is_refused(path: &Path, base_url: &str) {
    let mut second = binary()
        .arg("serve")
        .env("REFERSION_API_KEY", API_KEY)
        .env("REFERSION_BASE_URL", base_url)
        .env("SERVER_LISTEN", "127.0.0.1:0")
        .env("OPS_LISTEN", "127.0.0.1:0")
        .env("STORE_URL", format!("sqlite://{}", path.display()))
        .spawn()
        .expect("starts");
    let mut said = String::new();
    BufReader::new(second.stderr.take().expect("piped")).read_line(&mut said).expect("text");
    let expected = format!(
        "refersion-destination: {} is in use by another process of this service; one store serves one process \
         (stop it, or set STORE_URL)\n",
        path.display()
    );
    if said != expected {
        // It was not refused, and would go on.
        second.kill().expect("running");
    }
    assert_eq!((second.wait().expect("ends").code(), said), (Some(1), expected));
}
