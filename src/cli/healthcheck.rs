//! `healthcheck`: asks the health endpoint, so that a container needs no curl.
//!
//! Deliberately plain: one HTTP/1.1 request over a socket, `http` only, five seconds at most.

use super::{Layers, block_on, fail, tell};
use crate::config::Mode;
use clap::Args;
use std::io;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The endpoint to ask; `/healthz` on OPS_LISTEN if not given
    #[arg(value_name = "URL")]
    url: Option<Url>,
    #[command(flatten)]
    layers: Layers,
}

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let url = match arguments.url.clone().map_or_else(|| default_url(&arguments.layers), Ok) {
        Ok(url) => url,
        Err(code) => return code,
    };
    let asked = block_on(async { tokio::time::timeout(PATIENCE, ask(&url)).await });
    match asked {
        Ok(Ok(Ok(200))) => {
            tell("healthy");
            ExitCode::SUCCESS
        }
        Ok(Ok(Ok(status))) => fail(&format!("{url} answered {status}")),
        Ok(Ok(Err(error))) => fail(&format!("{url}: {error}")),
        Ok(Err(_)) => fail(&format!("{url} did not answer within {} seconds", PATIENCE.as_secs())),
        Err(error) => fail(&error),
    }
}

fn default_url(layers: &Layers) -> Result<Url, ExitCode> {
    let mut address = layers.load(Mode::Offline)?.ops.listen;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(std::net::Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Url::parse(&format!("http://{address}/healthz")).map_err(|error| fail(&error))
}

/// The status code of a GET.
async fn ask(url: &Url) -> io::Result<u16> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    if url.scheme() != "http" {
        return Err(invalid("expected an http:// URL"));
    }
    let host = url.host_str().ok_or_else(|| invalid("expected a URL with a host"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    stream.take(64).read_to_end(&mut head).await?;
    let head = String::from_utf8_lossy(&head);
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    status.ok_or_else(|| invalid("the answer is not HTTP"))
}
