//! TLS to PostgreSQL: the verification of the server's certificate.
//!
//! In: the mode of verification, and the trusted roots. Out: a connector for the driver. As with libpq, `sslmode=require` alone verifies
//! nothing, `verify-ca` the authority, `verify-full` the authority and the host. Invariant: signatures of the handshake are verified in
//! every mode. Deliberately absent: client certificates.

use super::url::Verification;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of `sslrootcert` cannot be used.
    #[error("sslrootcert={path}: {reason}")]
    RootCertificates {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system's certificates cannot be used.
    #[error("TLS cannot be set up: {0}")]
    System(String),
}

/// A connector that verifies in this mode, with the certificates in `roots` or those of the system.
pub fn connector(verification: Verification, roots: Option<&Path>) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let system = |error: rustls::Error| TlsError::System(error.to_string());
    let verifier = match verification {
        Verification::Nothing => None,
        Verification::Authority | Verification::AuthorityAndHost => Some(authorities(roots, &provider)?),
    };
    let any_host = verification != Verification::AuthorityAndHost;
    let verifier = Verifier { authorities: verifier, any_host, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(system)?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

type Authorities = Arc<dyn ServerCertVerifier>;

fn authorities(roots: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Authorities, TlsError> {
    let Some(path) = roots else {
        let system = rustls_platform_verifier::Verifier::new(Arc::clone(provider));
        return Ok(Arc::new(system.map_err(|error| TlsError::System(error.to_string()))?));
    };
    let invalid = |reason: String| TlsError::RootCertificates { path: path.to_owned(), reason };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| invalid(error.to_string()))? {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        store.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build();
    Ok(verifier.map_err(|error| invalid(error.to_string()))?)
}

/// The verifier of one mode.
#[derive(Debug)]
struct Verifier {
    /// The trusted authorities. `None`: any certificate is accepted.
    authorities: Option<Authorities>,
    /// Whether a certificate of another host is accepted, too.
    any_host: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The authority is verified before the name.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_host => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
