//! Dead letters on paper: a line for each, or everything about some. No personal data unless asked for.

use super::Output;
use super::selection::{Conditions, Pages, Selection};
use crate::cli::keeper::Keeper;
use crate::cli::map::{self, Shown};
use crate::cli::{say, tell};
use crate::config::Config;
use crate::domain::Timestamp;
use crate::store::DeadLetter;
use serde_json::json;
use std::time::{Duration, UNIX_EPOCH};

pub(super) async fn list(keeper: &Keeper, conditions: &Conditions, output: &Output) -> Result<bool, String> {
    let mut pages = Pages::new(keeper, conditions.filter());
    let mut any = false;
    while let Some(page) = pages.next().await? {
        for mut letter in page.letters {
            if output.reveal {
                // None: it was replayed or discarded meanwhile.
                letter.body = keeper.one(letter.id).await?.and_then(|whole| whole.body);
            }
            if output.json {
                tell(&json!(letter).to_string());
            } else {
                if !any {
                    tell("ID      DIED                  ACCOUNT   CODE            FAILURES  REASON");
                }
                tell(&line(&letter));
            }
            any = true;
        }
    }
    if !any {
        say("no dead letters");
    }
    Ok(true)
}

fn line(letter: &DeadLetter) -> String {
    let DeadLetter { id, account, code, failures, reason, body, .. } = letter;
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = format!("{id:<6}  {:20}  {account:8}  {code:14}  {failures:>8}  {reason}", shown(letter.died_at));
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
    keeper: &Keeper,
    selection: &Selection,
    output: &Output,
    config: &Config,
) -> Result<bool, String> {
    let mut portions = selection.portions(keeper);
    let (mut all_there, mut any) = (true, false);
    while let Some(ids) = portions.next().await? {
        for id in ids {
            let Some(letter) = keeper.one(id).await? else {
                say(&format!("{id}: no such dead letter"));
                all_there = false;
                continue;
            };
            if any && !output.json {
                tell("");
            }
            any = true;
            tell(&whole(letter, output, config));
        }
    }
    if !any && all_there {
        say("no dead letters");
    }
    Ok(all_there)
}

/// Everything about one dead letter.
fn whole(mut letter: DeadLetter, output: &Output, config: &Config) -> String {
    let body = letter.body.take();
    let detail = if output.reveal { Shown::Everything } else { Shown::NoValues };
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
        format!("  received: {}", shown(letter.received_at)),
        format!("  died:     {}", shown(letter.died_at)),
        format!("  failures: {}", letter.failures),
        "  attempts:".to_owned(),
    ];
    lines.extend(letter.history.iter().map(|attempt| format!("    {} {}", shown(attempt.at), attempt.what)));
    match today {
        Some(today) => {
            lines.push("  today:".to_owned());
            lines.extend(today.iter().map(|line| format!("    {line}")));
        }
        None => lines.push("  today:    nothing: its body was erased".to_owned()),
    }
    lines.extend(body.map(|body| format!("  body:     {body}")));
    lines.join("\n")
}

fn shown(moment: Timestamp) -> String {
    let moment = UNIX_EPOCH + Duration::from_millis(moment.0.unsigned_abs());
    humantime::format_rfc3339_seconds(moment).to_string()
}
