//! `STORE_URL=postgres://…`: what the driver can parse, and the two parameters that it cannot.
//!
//! In: a URL in libpq's format, with one host or several. Out: the driver's configuration, how the server's certificate is
//! verified (`sslmode`), and against which roots (`sslrootcert`). Invariant: no error and no output shows the password.

use std::path::PathBuf;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// Where the store is, and how it is reached.
#[derive(Clone)]
pub struct PostgresUrl {
    /// Everything that the driver knows.
    pub config: Config,
    /// What is verified.
    pub verification: Verification,
    /// A file with the certificates (PEM) that are trusted; `None`: those of the system.
    pub root_certificates: Option<PathBuf>,
}

/// What is verified of the server's certificate, if TLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: the connection is encrypted, but the server may be another one.
    Nothing,
    /// That a trusted authority issued it, for whatever host.
    Authority,
    /// That a trusted authority issued it for this host.
    AuthorityAndHost,
}

/// Why a URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// A value of `sslmode` that does not exist.
    #[error("sslmode={0} is not known; it is disable, prefer, require, verify-ca or verify-full")]
    SslMode(String),
    /// The driver refuses it.
    #[error(
        "not a URL of PostgreSQL ({0}); it has the form postgres://user:password@host:5432/database?sslmode=verify-full"
    )]
    Driver(String),
    /// No host is named.
    #[error("names no host; it has the form postgres://user:password@host:5432/database?sslmode=verify-full")]
    NoHost,
}

impl PostgresUrl {
    /// Whether this is a URL of PostgreSQL, correct or not.
    pub fn matches(url: &str) -> bool {
        url.starts_with("postgres://") || url.starts_with("postgresql://")
    }

    /// Parses a URL.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root_certificates, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let value = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
            match pair.split('=').next() {
                Some("sslmode") => mode = value,
                Some("sslrootcert") => root_certificates = value.filter(|value| value != "system").map(PathBuf::from),
                _ => rest.push(pair),
            }
        }
        let (ssl_mode, verification) = match mode.as_deref() {
            Some("disable") => (SslMode::Disable, Verification::Nothing),
            None | Some("allow" | "prefer") => (SslMode::Prefer, Verification::Nothing),
            // As libpq does: a URL that names the authority wants the server verified.
            Some("require") if root_certificates.is_some() => (SslMode::Require, Verification::Authority),
            Some("require") => (SslMode::Require, Verification::Nothing),
            Some("verify-ca") => (SslMode::Require, Verification::Authority),
            Some("verify-full") => (SslMode::Require, Verification::AuthorityAndHost),
            Some(other) => return Err(UrlError::SslMode(other.to_owned())),
        };
        let without = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
        let mut config: Config = without.parse().map_err(|error| UrlError::Driver(super::error::text(&error)))?;
        config.ssl_mode(ssl_mode);
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(UrlError::NoHost);
        }
        Ok(Self { config, verification, root_certificates })
    }

    /// The hosts and the database, for messages.
    pub fn place(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let addresses = self.config.get_hostaddrs().iter().map(ToString::to_string);
        let hosts: Vec<String> = hosts.chain(addresses).collect();
        format!("{}/{}", hosts.join(","), self.config.get_dbname().unwrap_or_default())
    }
}

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PostgresUrl").field(&self.place()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sslmode_and_sslrootcert_say_what_is_verified() {
        use Verification::{Authority, AuthorityAndHost, Nothing};
        for (query, mode, verification, root) in [
            ("", SslMode::Prefer, Nothing, None),
            ("?sslmode=disable", SslMode::Disable, Nothing, None),
            ("?sslmode=allow", SslMode::Prefer, Nothing, None),
            ("?sslmode=require", SslMode::Require, Nothing, None),
            ("?sslmode=require&sslrootcert=/ca.pem", SslMode::Require, Authority, Some("/ca.pem")),
            ("?sslmode=verify-ca&connect_timeout=2", SslMode::Require, Authority, None),
            (
                "?sslrootcert=%2Fetc%2Fca.pem&sslmode=verify-full",
                SslMode::Require,
                AuthorityAndHost,
                Some("/etc/ca.pem"),
            ),
            ("?sslmode=verify-full&sslrootcert=system", SslMode::Require, AuthorityAndHost, None),
        ] {
            let url = PostgresUrl::parse(&format!("postgres://u:p@h1:5433,h2/d{query}")).expect(query);
            assert_eq!(url.config.get_ssl_mode(), mode, "{query}");
            assert_eq!(url.verification, verification, "{query}");
            assert_eq!(url.root_certificates, root.map(PathBuf::from), "{query}");
            assert_eq!(url.place(), "h1,h2/d");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_the_password() {
        for (url, says) in [
            ("postgres://u:s3cret@h/d?sslmode=never", "sslmode=never is not known"),
            ("postgres://u:s3cret@h/d?colour=red", "not a URL of PostgreSQL"),
            ("postgres://u:s3cret@h:port/d", "not a URL of PostgreSQL"),
            ("postgres:///d?user=u&password=s3cret", "names no host"),
        ] {
            let error = PostgresUrl::parse(url).expect_err(url).to_string();
            assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
        }
        let url = PostgresUrl::parse("postgres://u:s3cret@h/d").expect("parsed");
        assert!(!format!("{url:?} {:?}", url.config).contains("s3cret"));
    }
}
