//! `import`: sends the events of a file to a running service, in their order and at a given rate. It serves as the first sync if users
//! cannot be replayed from Segment.
//!
//! In: a file of events or of users ([`super::event_file`]). Out: a report; exit code 1 if an event was refused, or if not all were sent.
//! Invariants: one request is in flight at a time, so the order of the file is the order of the log; a later run does not send the answered
//! events again ([`saved`]); those that were answered just before an interruption may be sent again, as repeats. Deliberately absent:
//! mapping, which the service does.

mod report;
mod saved;
mod sender;

use super::event_file::{self, FileArgs};
use super::{CommandResult, ConfigArgs, block_on, eprint, local_url, print};
use crate::config::{AccountConfig, Config, Mode};
use clap::Args;
use report::ImportReport;
use saved::SavedProgress;
use sender::{FileEvent, Sender};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The webhook URL of the service. If not given, that of the service of this configuration on this machine
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    url: Option<Url>,
    /// The account whose API key is presented. If not given: the first configured account, which is `main` if there is one
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The most events a second
    #[arg(long, value_name = "N", default_value = "200")]
    rate: NonZeroU32,
    /// Begin with the first event, also if an earlier run was interrupted
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The most events of one request. Their answers are known together.
const MAX_EVENTS: usize = 100;
/// The most bytes of the events of one request; the service accepts 4.5 MiB.
const MAX_BYTES: usize = 2 * 1024 * 1024;

pub(super) fn run(args: &ImportArgs) -> CommandResult {
    let config = args.config.load(Mode::Offline)?;
    let report = block_on(import(args, &config))?;
    if report.events == 0 {
        print(&format!("nothing to import: {} has no event", args.file.name()));
        return Ok(());
    }
    report.lines().iter().for_each(|line| print(line));
    if report.any_refused() { Err(ExitCode::FAILURE) } else { Ok(()) }
}

async fn import(args: &ImportArgs, config: &Config) -> Result<ImportReport, String> {
    let account = account(args, config)?;
    let url = args.url.clone().map_or_else(|| local_url(config.server.listen, "segment"), Ok)?;
    let mut saved = SavedProgress::open(&args.file.file, &url, args.restart)?;
    let skipped = saved.state.report.events;
    if skipped > 0 {
        eprint(&format!("going on after event {skipped}, where an earlier run ended"));
    }
    let sender = Sender::new(url, account.api_key)?;
    let mut events = read_events(args.file.clone(), skipped);
    let (start, mut sent) = (Instant::now(), 0_u32);
    let most = MAX_EVENTS.min(usize::try_from(args.rate.get()).unwrap_or(MAX_EVENTS));
    while let Some(chunk) = next_chunk(&mut events, most).await.map_err(|error| with_path(args, &error))? {
        sent = sent.saturating_add(u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        saved.state.report.add(sender.send(chunk).await?);
        saved.save()?;
        tokio::time::sleep_until(start + Duration::from_secs(1) * sent / args.rate.get()).await;
    }
    saved.finish()
}

/// Any other scheme is a mistake, such as a host and a port without a scheme. Waiting for an answer would not help.
fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    url.ok_or_else(|| "expected an http:// or https:// URL, such as http://localhost:8080/segment".to_owned())
}

fn with_path(args: &ImportArgs, error: &std::io::Error) -> String {
    format!("{}: {error}", args.file.file.display())
}

/// The account whose key is presented.
fn account(args: &ImportArgs, config: &Config) -> Result<AccountConfig, String> {
    config.account_or_first(args.account.as_deref()).ok_or_else(|| match &args.account {
        None => "REFERSION_API_KEY is not set; the service requires it as credentials".to_owned(),
        Some(name) => format!("there is no configured account {name}"),
    })
}

/// Reads the file on its own thread, not far ahead of the sender. The first `skipped` events are left out.
fn read_events(file: FileArgs, skipped: u64) -> mpsc::Receiver<std::io::Result<FileEvent>> {
    let (events, received) = mpsc::channel(2 * MAX_EVENTS);
    drop(tokio::task::spawn_blocking(move || {
        let mut number = 0;
        let read = event_file::read(&file, Some("sending"), &mut |item| {
            number += 1;
            if number > skipped {
                let event = FileEvent { line: item.line, text: item.event.map(str::to_owned) };
                let _ = events.blocking_send(Ok(event)); // Err: the import has ended
            }
        });
        if let Err(error) = read {
            let _ = events.blocking_send(Err(error));
        }
    }));
    received
}

/// Up to `most` events for one request; `None` at the end of the file.
async fn next_chunk(
    events: &mut mpsc::Receiver<std::io::Result<FileEvent>>,
    most: usize,
) -> std::io::Result<Option<Vec<FileEvent>>> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while chunk.len() < most && bytes < MAX_BYTES {
        let Some(event) = events.recv().await else { break };
        let event = event?;
        bytes += event.text.as_ref().map_or(0, String::len);
        chunk.push(event);
    }
    Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
}
