//! Prints dead letters: one line for each (`list`), or all about some (`show`).
//!
//! Invariant: no personal data without `--reveal`.

use super::OutputArgs;
use super::selection::{FilterArgs, Pages, Selection};
use crate::cli::admin_backend::AdminBackend;
use crate::cli::map::{self, Detail};
use crate::cli::{eprint, print};
use crate::config::Config;
use crate::domain::Timestamp;
use crate::store::DeadLetter;
use serde_json::json;
use std::time::{Duration, UNIX_EPOCH};

pub(super) async fn list(backend: &AdminBackend, filter: &FilterArgs, output: &OutputArgs) -> Result<bool, String> {
    let mut pages = Pages::new(backend, filter.filter());
    let mut any = false;
    while let Some(page) = pages.next().await? {
        for mut letter in page.letters {
            if output.reveal {
                // None: it was replayed or discarded after the page was read.
                letter.body = backend.dead_letter(letter.id).await?.and_then(|letter| letter.body);
            }
            if output.json {
                print(&json!(letter).to_string());
            } else {
                if !any {
                    print("ID      DIED                  ACCOUNT   CODE            FAILURES  REASON");
                }
                print(&line(&letter));
            }
            any = true;
        }
    }
    if !any {
        eprint("no dead letters");
    }
    Ok(true)
}

fn line(letter: &DeadLetter) -> String {
    let DeadLetter { id, account, code, failures, reason, body, .. } = letter;
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line =
        format!("{id:<6}  {:20}  {account:8}  {code:14}  {failures:>8}  {reason}", format_time(letter.died_at));
    if letter.erased {
        line.push_str(" (body erased)");
    }
    if let Some(body) = body {
        line.push_str("\n        ");
        line.push_str(body);
    }
    line
}

pub(super) async fn show(
    backend: &AdminBackend,
    selection: &Selection,
    output: &OutputArgs,
    config: &Config,
) -> Result<bool, String> {
    let mut pages = selection.id_pages(backend);
    let (mut all_found, mut any) = (true, false);
    while let Some(ids) = pages.next().await? {
        for id in ids {
            let Some(letter) = backend.dead_letter(id).await? else {
                eprint(&format!("{id}: no such dead letter"));
                all_found = false;
                continue;
            };
            if any && !output.json {
                print("");
            }
            any = true;
            print(&details(letter, output, config));
        }
    }
    if !any && all_found {
        eprint("no dead letters");
    }
    Ok(all_found)
}

/// All about one dead letter.
fn details(mut letter: DeadLetter, output: &OutputArgs, config: &Config) -> String {
    let body = letter.body.take();
    let detail = if output.reveal { Detail::WithValues } else { Detail::WithoutValues };
    let account = config.every_account().into_iter().find(|account| account.name.as_str() == letter.account);
    let rules = account.map_or_else(|| config.rules.clone(), |account| account.rules);
    let today = body.as_deref().map(|body| map::explain(body, &rules, config.delivery.policy, detail).0);
    let body = body.filter(|_| output.reveal);
    if output.json {
        let mut json = json!(DeadLetter { body, ..letter });
        json["today"] = json!(today);
        return json.to_string();
    }
    let mut lines = vec![
        format!("dead letter {}: {}", letter.id, letter.code),
        format!("  reason:   {}", letter.reason),
        format!("  account:  {}", letter.account),
        format!("  event:    {}", letter.event),
        format!("  received: {}", format_time(letter.received_at)),
        format!("  died:     {}", format_time(letter.died_at)),
        format!("  failures: {}", letter.failures),
        "  attempts:".to_owned(),
    ];
    lines.extend(letter.history.iter().map(|attempt| format!("    {} {}", format_time(attempt.at), attempt.what)));
    match today {
        Some(today) => {
            lines.push("  today:".to_owned());
            lines.extend(today.iter().map(|line| format!("    {line}")));
        }
        None => lines.push("  today:    no call: the event's body was erased".to_owned()),
    }
    lines.extend(body.map(|body| format!("  body:     {body}")));
    lines.join("\n")
}

fn format_time(time: Timestamp) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(time.0.unsigned_abs());
    humantime::format_rfc3339_seconds(time).to_string()
}
