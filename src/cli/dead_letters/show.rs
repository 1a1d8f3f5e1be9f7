//! Prints dead letters: one line for each (`list`), or all details of some (`show`).
//!
//! Invariant: no personal data without `--reveal`.

use super::OutputArgs;
use super::selection::{DeadLetterPages, FilterArgs, Selection};
use crate::admin::{DeadLetterDetails, RevealedEvent};
use crate::cli::admin_client::AdminClient;
use crate::cli::output::reader_is_gone;
use crate::cli::{eprint, print};
use crate::store::{DeadLetter, DeadLetterPage};
use comfy_table::{CellAlignment, ColumnConstraint, Table, Width, presets};
use serde_json::json;

pub(super) async fn list(api: &AdminClient, filter: &FilterArgs, output: &OutputArgs) -> Result<bool, String> {
    let mut pages = DeadLetterPages::new(api, filter);
    let mut any = false;
    while !reader_is_gone()
        && let Some(DeadLetterPage { mut letters, .. }) = pages.next().await?
    {
        for letter in letters.iter_mut().filter(|_| output.reveal) {
            // None: it was erased, replayed or discarded after the page was read.
            letter.body = revealed(api, letter.id).await?.and_then(|revealed| revealed.body);
        }
        if output.json {
            for letter in &letters {
                print(&json!(letter).to_string());
            }
        } else {
            print_table(&letters, !any);
        }
        any = true;
    }
    if !any {
        eprint("no dead letters");
    }
    Ok(true)
}

/// Prints one line for each dead letter, and its body below it if it is revealed.
fn print_table(letters: &[DeadLetter], with_header: bool) {
    let table = table(letters);
    let mut lines = table.lines();
    if let Some(header) = lines.next().filter(|_| with_header) {
        print(header.trim_end());
    }
    for (letter, line) in letters.iter().zip(lines) {
        print(line.trim_end());
        if let Some(body) = &letter.body {
            print(&format!("        {body}"));
        }
    }
}

/// A table with a header and a row of one line for each dead letter. Minimum widths keep the columns of several pages aligned.
fn table(letters: &[DeadLetter]) -> Table {
    const COLUMNS: [(&str, u16); 6] =
        [("ID", 6), ("DIED", 20), ("ACCOUNT", 8), ("CODE", 14), ("FAILURES", 8), ("REASON", 0)];
    const GAP: u16 = 2;
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(COLUMNS.map(|(name, _)| name));
    table.add_rows(letters.iter().map(|letter| {
        let mut reason = letter.reason.split_whitespace().collect::<Vec<_>>().join(" ");
        if letter.erased {
            reason.push_str(" (body erased)");
        }
        let DeadLetter { id, account, code, failures, died_at, .. } = letter;
        [id.to_string(), died_at.to_string(), account.clone(), code.clone(), failures.to_string(), reason]
    }));
    for (column, (name, width)) in table.column_iter_mut().zip(COLUMNS) {
        column.set_padding((0, GAP)).set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + GAP)));
        if name == "FAILURES" {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

pub(super) async fn show(api: &AdminClient, selection: &Selection, output: &OutputArgs) -> Result<bool, String> {
    let mut pages = selection.id_pages(api);
    let (mut all_found, mut any) = (true, false);
    while let Some(ids) = pages.next().await? {
        for id in ids {
            if reader_is_gone() {
                return Ok(all_found);
            }
            let found: Option<DeadLetterDetails> = api.find(&format!("/api/v1/dead-letters/{id}")).await?;
            let Some(mut details) = found else {
                eprint(&format!("{id}: no such dead letter"));
                all_found = false;
                continue;
            };
            if output.reveal {
                reveal(api, &mut details).await?;
            }
            if any && !output.json {
                print("");
            }
            any = true;
            print(&if output.json { json!(details).to_string() } else { lines(details).join("\n") });
        }
    }
    if !any && all_found {
        eprint("no dead letters");
    }
    Ok(all_found)
}

/// Adds the event, and the values of the calls that it would make today.
async fn reveal(api: &AdminClient, details: &mut DeadLetterDetails) -> Result<(), String> {
    if let Some(RevealedEvent { body, today, .. }) = revealed(api, details.letter.id).await? {
        details.letter.body = body;
        details.today = today.or(details.today.take());
    }
    Ok(())
}

/// The event of a dead letter; `None` if no dead letter has this id.
async fn revealed(api: &AdminClient, id: i64) -> Result<Option<RevealedEvent>, String> {
    api.post_if_found(&format!("/api/v1/dead-letters/{id}/reveal")).await
}

/// All details of one dead letter.
fn lines(DeadLetterDetails { letter, today }: DeadLetterDetails) -> Vec<String> {
    let mut lines = vec![
        format!("dead letter {}: {}", letter.id, letter.code),
        format!("  reason:   {}", letter.reason),
        format!("  account:  {}", letter.account),
        format!("  event:    {}", letter.event),
        format!("  received: {}", letter.received_at),
        format!("  died:     {}", letter.died_at),
        format!("  failures: {}", letter.failures),
        "  attempts:".to_owned(),
    ];
    lines.extend(letter.history.iter().map(|attempt| format!("    {} {}", attempt.at, attempt.what)));
    match today {
        Some(today) => {
            lines.push("  today:".to_owned());
            lines.extend(today.iter().map(|line| format!("    {line}")));
        }
        None => lines.push("  today:    no call: the event's body was erased".to_owned()),
    }
    lines.extend(letter.body.map(|body| format!("  body:     {body}")));
    lines
}
