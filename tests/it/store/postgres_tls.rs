//! TLS to PostgreSQL: each `sslmode` connects where libpq does, and refuses where libpq does.
//!
//! The server's certificate is for `localhost`, and not for `127.0.0.1`.

use super::engine::Postgres;
use crate::support::postgres::Server;
use std::path::PathBuf;

const CERTIFICATE: &str = include_str!("../../data/tls/server.pem");
const KEY: &str = include_str!("../../data/tls/server.key");

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

#[tokio::test]
async fn each_sslmode_verifies_as_documented() {
    let Some(server) = Server::start_with_tls(CERTIFICATE, KEY) else { return };
    let (ca, another) = (file("ca.pem"), file("another_ca.pem"));
    for (host, mode, roots, refused) in [
        ("127.0.0.1", "disable", None, None),
        ("127.0.0.1", "prefer", None, None),
        ("127.0.0.1", "require", None, None),
        ("127.0.0.1", "require", Some(&another), Some("UnknownIssuer")),
        ("127.0.0.1", "verify-ca", Some(&ca), None),
        ("127.0.0.1", "verify-ca", Some(&another), Some("UnknownIssuer")),
        ("localhost", "verify-full", Some(&ca), None),
        ("127.0.0.1", "verify-full", Some(&ca), Some("not valid for name")),
        ("localhost", "verify-full", Some(&another), Some("UnknownIssuer")),
        ("localhost", "verify-full", None, Some("certificate")),
        ("localhost", "verify-full", Some(&file("none.pem")), Some("none.pem")),
        ("localhost", "verify-full", Some(&file("server.key")), Some("sslrootcert")),
    ] {
        let roots = roots.map(|path| format!("&sslrootcert={}", path.display())).unwrap_or_default();
        let url = format!("postgres://postgres@{host}:{}/postgres?sslmode={mode}{roots}", server.port());
        let opened = Postgres::at(url).try_open(9).await.map(drop);
        match refused {
            None => assert_eq!(opened, Ok(()), "{host} {mode}"),
            Some(says) => {
                let error = opened.expect_err(mode);
                assert!(error.contains(says), "{host} {mode}: {error}");
            }
        }
    }
}
