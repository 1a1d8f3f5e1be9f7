//! The simulated Refersion, served from this process.

use refersion_destination::sandbox::{Sandbox, SandboxSettings};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::runtime::Runtime;

pub struct Refersion {
    pub sandbox: Sandbox,
    pub base_url: String,
    _runtime: Runtime,
}

impl Refersion {
    /// A healthy one, that answers after `latency`.
    pub fn start(latency: Duration) -> Self {
        Self::with(SandboxSettings { latency, ..SandboxSettings::default() })
    }

    /// One that refuses every key.
    pub fn refusing() -> Self {
        let refersion = Self::start(Duration::ZERO);
        refersion.sandbox.revoke_api_key();
        refersion
    }

    /// One that takes so many calls a second.
    pub fn limited(calls: u32) -> Self {
        Self::with(SandboxSettings { rate_limit: NonZeroU32::new(calls), ..SandboxSettings::default() })
    }

    fn with(settings: SandboxSettings) -> Self {
        let runtime = runtime();
        let sandbox = Sandbox::new(settings);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
        runtime.spawn(sandbox.serve(listener));
        Self { sandbox, base_url, _runtime: runtime }
    }
}

/// The runtime that the service has as well.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}
