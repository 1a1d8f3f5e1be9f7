//! The URL of a PostgreSQL store (`STORE_URL=postgres://…`), with three parameters that the driver does not know.
//!
//! In: a URL in libpq's format, with one host or several. Out: the driver's configuration, the verification of the server's certificate
//! (`sslmode`), the trusted roots (`sslrootcert`), and whether there is a pooler (`pgbouncer`). Invariant: no error and no output shows the
//! password.

use std::path::PathBuf;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// The parameters that a URL need not have, in seconds: how long a TCP connection may take, how long bytes may be unacknowledged, when a
/// silent connection is probed, and how often then; and the name of the connections in `pg_stat_activity`. They come before the URL's own,
/// because the driver takes the last value of a parameter.
const DEFAULTS: &str = "connect_timeout=3&tcp_user_timeout=5&keepalives_idle=10&keepalives_interval=2&keepalives_retries=3\
                        &application_name=refersion-destination";

/// The address of the store, and the way to connect to it.
#[derive(Clone)]
pub struct PostgresUrl {
    /// The driver's configuration.
    pub config: Config,
    /// The mode of verification.
    pub verification: Verification,
    /// A file with the certificates (PEM) that are trusted; `None`: those of the system.
    pub root_certificates: Option<PathBuf>,
    /// Whether the host is PgBouncer in transaction mode, so nothing may be kept in a session of the server.
    pub is_pooled: bool,
}

/// The mode of verification of the server's certificate, if TLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Nothing is verified: the connection is encrypted, but the server may be another one.
    Nothing,
    /// A trusted authority must have issued it, for any host.
    Authority,
    /// A trusted authority must have issued it for this host.
    AuthorityAndHost,
}

/// Why a URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// A value of `sslmode` that does not exist.
    #[error("sslmode={0} is not known; it is disable, prefer, require, verify-ca or verify-full")]
    SslMode(String),
    /// A value of `pgbouncer` that does not exist.
    #[error("pgbouncer={0} is not known; it is true, for PgBouncer in transaction mode, or false")]
    Pgbouncer(String),
    /// The driver refuses the URL.
    #[error(
        "not a URL of PostgreSQL ({0}); it has the form postgres://user:password@host:5432/database?sslmode=verify-full"
    )]
    Driver(String),
    /// The URL names no host.
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
        // The driver reads all before the first @ as user and password.
        let host = url.find('@').unwrap_or(0);
        let (location, query) =
            url[host..].find('?').map_or((url, ""), |at| (&url[..host + at], &url[host + at + 1..]));
        let (mut mode, mut root_certificates, mut pgbouncer, mut rest) = (None, None, None, vec![DEFAULTS]);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let value = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
            match pair.split('=').next() {
                Some("sslmode") => mode = value,
                Some("sslrootcert") => root_certificates = value.filter(|value| value != "system").map(PathBuf::from),
                Some("pgbouncer") => pgbouncer = value,
                _ => rest.push(pair),
            }
        }
        let (ssl_mode, verification) = match mode.as_deref() {
            Some("disable") => (SslMode::Disable, Verification::Nothing),
            None | Some("allow" | "prefer") => (SslMode::Prefer, Verification::Nothing),
            // Like libpq: a URL that names the authority requests verification of the server.
            Some("require") if root_certificates.is_some() => (SslMode::Require, Verification::Authority),
            Some("require") => (SslMode::Require, Verification::Nothing),
            Some("verify-ca") => (SslMode::Require, Verification::Authority),
            Some("verify-full") => (SslMode::Require, Verification::AuthorityAndHost),
            Some(other) => return Err(UrlError::SslMode(other.to_owned())),
        };
        let is_pooled = match pgbouncer.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(UrlError::Pgbouncer(other.to_owned())),
        };
        let config = format!("{location}?{}", rest.join("&")).parse();
        let mut config: Config = config.map_err(|error| UrlError::Driver(super::error::text(&error)))?;
        config.ssl_mode(ssl_mode).target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(UrlError::NoHost);
        }
        check_numbers(&config)?;
        Ok(Self { config, verification, root_certificates, is_pooled })
    }

    /// A configuration of the driver for each host, in their order. The driver itself can try several hosts, but waits without end for a
    /// host that accepts a connection and is silent then.
    pub fn each_host(&self) -> Vec<Config> {
        let (names, addresses) = (self.config.get_hosts(), self.config.get_hostaddrs());
        let ports = self.config.get_ports();
        let of_host = |index| {
            let mut host = without_hosts(&self.config);
            match names.get(index) {
                Some(Host::Tcp(name)) => _ = host.host(name),
                Some(Host::Unix(path)) => _ = host.host_path(path),
                None => {}
            }
            if let Some(address) = addresses.get(index) {
                host.hostaddr(*address);
            }
            if let Some(port) = ports.get(index).or(ports.first()) {
                host.port(*port);
            }
            host
        };
        (0..names.len().max(addresses.len())).map(of_host).collect()
    }

    /// The hosts and the database, for messages.
    pub fn location(&self) -> String {
        format!("{}/{}", host_names(&self.config), self.config.get_dbname().unwrap_or_default())
    }
}

/// The hosts of a configuration, for messages.
pub fn host_names(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let addresses = config.get_hostaddrs().iter().map(ToString::to_string);
    hosts.chain(addresses).collect::<Vec<_>>().join(",")
}

/// Checks the numbers of hosts, addresses and ports, which belong together by their positions.
fn check_numbers(config: &Config) -> Result<(), UrlError> {
    let (names, addresses, ports) = (config.get_hosts().len(), config.get_hostaddrs().len(), config.get_ports().len());
    let differ = |what, number| UrlError::Driver(format!("{number} {what} for {} hosts", names.max(addresses)));
    if names > 0 && addresses > 0 && names != addresses {
        return Err(differ("hostaddr", addresses));
    }
    if ports > 1 && ports != names.max(addresses) {
        return Err(differ("ports", ports));
    }
    Ok(())
}

/// A configuration without its hosts.
fn without_hosts(config: &Config) -> Config {
    let mut rest = Config::new();
    rest.ssl_mode(config.get_ssl_mode()).ssl_negotiation(config.get_ssl_negotiation());
    rest.channel_binding(config.get_channel_binding()).target_session_attrs(config.get_target_session_attrs());
    rest.load_balance_hosts(config.get_load_balance_hosts());
    rest.keepalives(config.get_keepalives()).keepalives_idle(config.get_keepalives_idle());
    config.get_user().map(|user| rest.user(user));
    config.get_password().map(|password| rest.password(password));
    config.get_dbname().map(|name| rest.dbname(name));
    config.get_options().map(|options| rest.options(options));
    config.get_application_name().map(|name| rest.application_name(name));
    config.get_connect_timeout().map(|timeout| rest.connect_timeout(*timeout));
    config.get_tcp_user_timeout().map(|timeout| rest.tcp_user_timeout(*timeout));
    config.get_keepalives_interval().map(|interval| rest.keepalives_interval(interval));
    config.get_keepalives_retries().map(|retries| rest.keepalives_retries(retries));
    rest
}

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PostgresUrl").field(&self.location()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sslmode_and_sslrootcert_decide_the_verification() {
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
            assert_eq!(url.location(), "h1,h2/d");
        }
    }

    #[test]
    fn a_password_may_have_a_question_mark() {
        let url =
            PostgresUrl::parse("postgres://u:s3?cret@h/d?sslmode=verify-full&application_name=a").expect("parsed");
        assert_eq!(url.config.get_password(), Some(b"s3?cret".as_slice()));
        assert_eq!((url.verification, url.config.get_application_name()), (Verification::AuthorityAndHost, Some("a")));
        assert_eq!(
            PostgresUrl::parse("postgres://u:s3?cret@h/d").expect("parsed").config.get_password(),
            Some(b"s3?cret".as_slice())
        );
    }

    /// Every parameter that the driver knows is here. A value that is given once is the same for each host.
    #[test]
    fn each_host_alone_has_all_that_the_url_says_of_it() {
        let query = "user=u&password=p&dbname=d&options=-c%20a%3Db&application_name=n&connect_timeout=7&tcp_user_timeout=8\
            &keepalives=0&keepalives_idle=9&keepalives_interval=10&keepalives_retries=11&channel_binding=require\
            &load_balance_hosts=random&target_session_attrs=read-write";
        let alone = ["h1:5433?hostaddr=10.0.0.1", "h2:5434?hostaddr=10.0.0.2"];
        let both = "h1:5433,h2:5434?hostaddr=10.0.0.1,10.0.0.2";
        let parse = |hosts: &str| PostgresUrl::parse(&format!("postgres://{hosts}&{query}&sslmode=require"));
        let alone = alone.map(|host| parse(host).expect("parsed").config);
        assert_eq!(parse(both).expect("parsed").each_host(), alone);
        let sockets = PostgresUrl::parse("postgres://u@%2Fa,%2Fb:77/d").expect("parsed").each_host();
        assert_eq!(sockets.iter().map(host_names).collect::<Vec<_>>(), ["/a", "/b"]);
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_showing_the_password() {
        for (url, says) in [
            ("postgres://u:s3cret@h/d?sslmode=never", "sslmode=never is not known"),
            ("postgres://u:s3cret@h/d?pgbouncer=1", "pgbouncer=1 is not known"),
            ("postgres://u:s3cret@h/d?colour=red", "not a URL of PostgreSQL"),
            ("postgres://u:s3cret@h:port/d", "not a URL of PostgreSQL"),
            ("postgres:///d?user=u&password=s3cret", "names no host"),
            ("postgres://u:s3cret@h1,h2/d?port=1", "3 ports for 2 hosts"),
            ("postgres://u:s3cret@h1,h2/d?hostaddr=10.0.0.1", "1 hostaddr for 2 hosts"),
        ] {
            let error = PostgresUrl::parse(url).expect_err(url).to_string();
            assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
        }
        let url = PostgresUrl::parse("postgres://u:s3cret@h/d").expect("parsed");
        assert!(!format!("{url:?} {:?}", url.config).contains("s3cret"));
    }
}
