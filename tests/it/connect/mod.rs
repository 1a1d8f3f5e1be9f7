//! "Enable with Segment": a merchant connects a source, at a simulated Segment and a simulated Refersion, over real sockets.
//!
//! The service is configured to be at [`BEHIND`], as a proxy would have it; the browser of a test goes to the service itself instead.

mod browser;
mod config;
mod faults;
mod flow;
mod keys;
mod safety;
mod trial;

use crate::support::service::{Refersion, Service};
use crate::support::{API_KEY, within};
use browser::Browser;
use refersion_destination::sandbox::SandboxSettings;
use refersion_destination::sandbox::segment::{SegmentCall, SegmentSandbox, SegmentSettings};

/// Where Segment sends the browser back to.
const BEHIND: &str = "http://127.0.0.1:1";
const SEAL: &str = "c2VhbC1rZXktb25lLW9mLXRoaXJ0eS10d28tYnl0ZXM=";

/// A service that merchants connect with, and what is around it.
struct World {
    service: Service,
    segment: SegmentSandbox,
    segment_url: String,
}

impl World {
    async fn start() -> Self {
        Self::with(SegmentSettings::default(), &[]).await
    }

    async fn with(segment: SegmentSettings, settings: &[(&str, &str)]) -> Self {
        let (segment, segment_url) = start_segment(segment).await;
        let service = serve(Refersion::start().await, &segment_url, settings).await;
        Self { service, segment, segment_url }
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.service.url(""))
    }

    /// A browser that has entered its key, and the URL of Segment's consent page that it was sent to.
    async fn entered(&self) -> (Browser, String) {
        let mut browser = self.browser();
        let url = browser.enter(API_KEY).await;
        (browser, url)
    }

    /// A browser that has been given access to `source`, and the callback that Segment sends it to.
    async fn allowed(&self, source: &str) -> (Browser, String) {
        let (mut browser, url) = self.entered().await;
        let callback = browser.decide(&url, source, "allow").await;
        (browser, callback)
    }

    /// How often this was called at Segment.
    fn calls(&self, call: SegmentCall) -> usize {
        self.segment.calls().iter().filter(|record| record.call == call).count()
    }

    /// Every destination: its source, whether it is enabled, and its key.
    fn destinations(&self) -> Vec<(String, bool, String)> {
        let short = |name: &str| name.split('/').nth(3).expect("a source").to_owned();
        self.segment.destinations().into_iter().map(|made| (short(&made.name), made.enabled, made.api_key)).collect()
    }
}

async fn start_segment(settings: SegmentSettings) -> (SegmentSandbox, String) {
    let segment = SegmentSandbox::new(settings);
    segment.register_redirect_url(&format!("{BEHIND}/connect/callback"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(segment.serve(listener));
    (segment, url)
}

/// The settings of a service that merchants connect with.
fn settings<'a>(segment_url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = [
        ("CONNECT_CLIENT_ID", "app_sandbox"),
        ("CONNECT_CLIENT_SECRET", "secret_sandbox"),
        ("CONNECT_REDIRECT_URL", "http://127.0.0.1:1/connect/callback"),
        ("CONNECT_AUTH_BASE_URL", segment_url),
        ("CONNECT_API_BASE_URL", segment_url),
        ("STORE_SEAL_KEY", SEAL),
    ];
    own.iter().chain(more).copied().collect()
}

async fn serve(refersion: Refersion, segment_url: &str, more: &[(&str, &str)]) -> Service {
    Service::on(refersion, &settings(segment_url, more)).await
}

/// A simulated Refersion that accepts any key.
async fn any_refersion() -> Refersion {
    let sandbox = refersion_destination::sandbox::Sandbox::new(SandboxSettings::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
    tokio::spawn(within(sandbox.serve(listener)));
    Refersion { sandbox, base_url }
}
