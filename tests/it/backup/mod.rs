//! `backup` beside the running service, `restore` into an empty place, and what the service says at the start about a copied store.

mod places;
mod start;
mod under_load;
mod versions;

use crate::support::process::binary;
use crate::support::{leaks, within};
use std::path::{Path, PathBuf};

/// The exit code and output of a command.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// The file of the store in `folder`.
fn store(folder: &Path) -> PathBuf {
    folder.join("store.db")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Runs a command on the store in `folder`.
async fn run(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = binary();
    command.args(arguments).env("STORE_URL", format!("sqlite://{}", store(folder).display())).current_dir(folder);
    let ran = within(tokio::task::spawn_blocking(move || command.output().expect("runs"))).await.expect("ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let ran = Ran { code: ran.status.code(), out: text(ran.stdout), err: text(ran.stderr) };
    leaks::check(&ran.out);
    leaks::check(&ran.err);
    ran
}

/// Backs up the store in `folder`; the file it made.
async fn back_up(folder: &Path, arguments: &[&str]) -> PathBuf {
    let ran = run(folder, &[&["backup"], arguments].concat()).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.ends_with(", complete and sound\n"), "{}", ran.err);
    PathBuf::from(ran.out.trim_end())
}

/// Restores `backup` as the store in `folder`.
async fn restore(folder: &Path, backup: &Path) {
    let ran = run(folder, &["restore", text(backup)]).await;
    assert_eq!((ran.code, ran.out.trim_end()), (Some(0), text(&store(folder))), "{}", ran.err);
}

/// The names of the files in `folder`, sorted.
fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// The permissions of a file.
#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}
