//! The destinations at Segment that `connect` set up, with Segment's own counts.

use super::{ExistingDestination, plan, print};
use crate::segment_api::{Destination, PublicApi, Source};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use url::Url;

/// Prints a line for each source that has our destination.
pub(super) async fn print_all(api: &PublicApi, sources: &[Source], found: &[ExistingDestination], url: Option<&Url>) {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["SOURCE", "DESTINATION", "SUBSCRIPTION", "URL", "COUNTED BY SEGMENT"]);
    let mut any = false;
    for found in found.iter().filter(|found| plan::is_ours(found, url)) {
        let source = sources.iter().find(|source| source.id == found.destination.source_id);
        let slug = source.map_or(found.destination.source_id.as_str(), |source| source.slug.as_str());
        let metrics = counted(api, &found.destination).await;
        for subscription in &found.subscriptions {
            let on = |enabled: bool| if enabled { "on" } else { "off" };
            let url = subscription.settings["url"].as_str().unwrap_or("none");
            table.add_row([slug, on(found.destination.enabled), on(subscription.enabled), url, &metrics]);
        }
        if found.subscriptions.is_empty() {
            table.add_row([slug, "without a subscription: sends nothing", "", "", &metrics]);
        }
        any = true;
    }
    print(&if any { table.to_string() } else { "nothing is set up by this command".to_owned() });
}

/// Segment's figures of a destination. The list is also printed without them.
async fn counted(api: &PublicApi, destination: &Destination) -> String {
    match api.delivery_metrics(destination).await {
        Ok(metrics) => metrics.iter().map(|(name, total)| format!("{name} {total}")).collect::<Vec<_>>().join(", "),
        Err(error) => format!("not known ({error})"),
    }
}
