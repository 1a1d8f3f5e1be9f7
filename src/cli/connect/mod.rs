//! `connect`: sets up a *Webhooks (Actions)* destination at Segment that sends the events of one's own workspace to this service.
//!
//! In: the URL of the webhook, sources, and a token of Segment's Public API in the environment. Out: the changes of each source; the shared
//! secret, once or in a file. `plan` decides the changes, `sources` chooses the sources, `secret` makes and keeps the shared secret, `list`
//! shows the destinations. Invariants: an existing destination is found again, and changed only where it differs; with `--dry-run` nothing
//! is changed, and the shared secret is hidden; the token is not printed. Deliberately absent: the Refersion tile, which the merchant's
//! pages set up (`/connect`).

mod list;
mod plan;
mod secret;
mod sources;

use super::{CommandResult, block_on, environment, eprint, file_parser, print};
use crate::domain::is_loopback;
use crate::segment_api::{Destination, DestinationChange, PublicApi, PublicApiError, Source, Subscription, Webhook};
use crate::telemetry;
use clap::{Args, ValueEnum};
use plan::Wanted;
use secrecy::SecretString;
use secret::SharedSecret;
use std::path::PathBuf;
use url::Url;

const TOKEN: &str = "SEGMENT_PUBLIC_API_TOKEN";
const BASE_URL: &str = "SEGMENT_PUBLIC_API_BASE_URL";

const NOT_FORWARDED: &str = "\
Webhooks (Actions) forwards identify events, and most likely no deletion of a user: its published definition has none.
If a deletion at Segment is to reach Refersion, add the classic destination Webhooks to the same sources by hand, with the same URL
and the same shared secret; identify events that then arrive twice have no second effect.";

#[derive(Debug, Args)]
pub(super) struct ConnectArgs {
    /// The URL of the webhook, as Segment reaches it: https://your-host/segment
    #[arg(long, value_name = "URL", value_parser = parse_url, required_unless_present_any = ["list", "remove"])]
    url: Option<Url>,
    /// The slug of a source. May be given several times; without it, the command asks on a terminal
    #[arg(long = "source", value_name = "SLUG")]
    sources: Vec<String>,
    /// The region of the workspace
    #[arg(long, value_enum, default_value = "us")]
    region: Region,
    /// Print the calls that would change something, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The file of the shared secret: read if it exists, else written with a new secret, readable by its owner alone. Without it,
    /// a new secret is printed once
    #[arg(long, value_name = "FILE", value_parser = file_parser(), conflicts_with_all = ["list", "remove"])]
    secret_file: Option<PathBuf>,
    /// Show the destinations that are set up, with Segment's counts
    #[arg(long, conflicts_with_all = ["remove", "dry_run"])]
    list: bool,
    /// Remove the destinations of the named sources
    #[arg(long)]
    remove: bool,
}

/// The region of a workspace.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Region {
    Us,
    Eu,
}

impl Region {
    fn base_url(self) -> &'static str {
        match self {
            Self::Us => "https://api.segmentapis.com",
            Self::Eu => "https://eu1.api.segmentapis.com",
        }
    }
}

pub(super) fn run(args: &ConnectArgs) -> CommandResult {
    telemetry::start(false, "info");
    block_on(connect(args))
}

/// A destination of *Webhooks (Actions)* at Segment, and its subscriptions.
struct ExistingDestination {
    destination: Destination,
    subscriptions: Vec<Subscription>,
}

async fn connect(args: &ConnectArgs) -> Result<(), String> {
    let api = api(args.region)?;
    let workspace = api.workspace().await.map_err(text)?;
    print(&format!("workspace {} ({})", workspace.slug, workspace.name));
    let all = api.sources().await.map_err(text)?;
    let webhook = api.webhook().await.map_err(text)?;
    let found = found(&api, &webhook).await.map_err(text)?;
    if args.list {
        list::print_all(&api, &all, &found, args.url.as_ref()).await;
        return Ok(());
    }
    let chosen = sources::choose(&args.sources, &all)?;
    if args.remove {
        return remove(args, &api, &chosen, &found).await;
    }
    let Some(url) = &args.url else { return Err("--url is required".to_owned()) };
    set_up(args, &api, &chosen, &found, url, &webhook).await
}

/// Every destination of *Webhooks (Actions)* in the workspace.
async fn found(api: &PublicApi, webhook: &Webhook) -> Result<Vec<ExistingDestination>, PublicApiError> {
    let mut found = Vec::new();
    for destination in api.destinations().await? {
        if destination.metadata.id == webhook.id {
            let subscriptions = api.subscriptions(&destination.id).await?;
            found.push(ExistingDestination { destination, subscriptions });
        }
    }
    Ok(found)
}

async fn set_up(
    args: &ConnectArgs,
    api: &PublicApi,
    chosen: &[&Source],
    found: &[ExistingDestination],
    url: &Url,
    webhook: &Webhook,
) -> Result<(), String> {
    let known = found.iter().filter(|found| plan::is_ours(found, Some(url)));
    let known =
        known.filter_map(|found| found.destination.settings["sharedSecret"].as_str()).find(|text| !text.is_empty());
    let secret = SharedSecret::get(args.secret_file.as_deref(), known, args.dry_run)?;
    let wanted = Wanted { url, webhook, secret: secret.text(), replaces_secret: args.secret_file.is_some() };
    let creates = chosen.iter().any(|source| plan::of_source(found, source, url).is_none());
    if (creates || args.secret_file.is_some()) && !args.dry_run {
        // Printed before any change: otherwise, after a failure halfway, a secret would be in use that nobody knows.
        secret.hand_over();
    }
    for source in chosen {
        let there = plan::of_source(found, source, url);
        let done = plan::plan(&wanted, source, there);
        let mut destination = there.map(|found| found.destination.id.clone());
        for step in &done.steps {
            let made = make(args, api, step, destination.as_deref().unwrap_or("<new>")).await?;
            if destination.is_none() && !args.dry_run {
                destination = Some(made);
            }
        }
        let would = if args.dry_run && !done.steps.is_empty() { "would be " } else { "" };
        print(&format!("source {}: {would}{}", source.slug, done.summary));
    }
    eprint(NOT_FORWARDED);
    Ok(())
}

async fn remove(
    args: &ConnectArgs,
    api: &PublicApi,
    chosen: &[&Source],
    found: &[ExistingDestination],
) -> Result<(), String> {
    for source in chosen {
        let mut ours = found.iter().filter(|found| found.destination.source_id == source.id);
        match ours.find(|found| plan::is_ours(found, args.url.as_ref())) {
            Some(ours) => {
                make(args, api, &DestinationChange::DeleteDestination, &ours.destination.id).await?;
                let would = if args.dry_run { "would be " } else { "" };
                print(&format!("source {}: {would}removed", source.slug));
            }
            None => print(&format!("source {}: nothing to remove", source.slug)),
        }
    }
    Ok(())
}

/// Makes a change, or prints it.
async fn make(
    args: &ConnectArgs,
    api: &PublicApi,
    change: &DestinationChange,
    destination: &str,
) -> Result<String, String> {
    if args.dry_run {
        print(&change.line(destination));
        return Ok(String::new());
    }
    api.make(change, destination).await.map_err(text)
}

/// The Public API that the environment names.
fn api(region: Region) -> Result<PublicApi, String> {
    let env: std::collections::BTreeMap<String, String> = environment().collect();
    let value = |name: &str| env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let token = value(TOKEN).ok_or_else(|| {
        format!("{TOKEN} is not set: create a token in Segment under Settings › Workspace settings › Access management › Tokens")
    })?;
    let text = value(BASE_URL).unwrap_or(region.base_url());
    let mut base_url = Url::parse(text).map_err(|error| format!("{BASE_URL}: {error}"))?;
    if base_url.scheme() != "https" && !is_loopback(&base_url) {
        return Err(format!(
            "{BASE_URL}: expected https: the token must not be sent unencrypted (http only to a loopback address)"
        ));
    }
    if !base_url.path().ends_with('/') {
        base_url.set_path(&format!("{}/", base_url.path()));
    }
    PublicApi::new(base_url, SecretString::from(token)).map_err(|error| error.to_string())
}

fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.scheme() == "https" || is_loopback(&url) {
        return Ok(url);
    }
    Err("expected https: personal data must not be sent unencrypted".to_owned())
}

fn text(error: PublicApiError) -> String {
    error.to_string()
}
