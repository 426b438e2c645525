//! TLS on both sides: the certificates and settings of HTTPS listeners, and the connections to HTTPS target groups.

use super::routes::{Listener, Tls};
use crate::authority::{Authority, provider};
use crate::error::{Context, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ServerConfig;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of certificates that are kept. A client can ask for any name.
const KEPT: usize = 64;

/// The settings of TLS servers, each with a certificate.
#[derive(Debug)]
pub(super) struct Servers {
    authority: Authority,
    known: Mutex<BTreeMap<Wanted, Arc<ServerConfig>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    names: Vec<String>,
    versions: Versions,
    http2: bool,
}

/// The versions of TLS of a security policy:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html>. TLS before 1.2 is not
/// supported here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Versions {
    Only12,
    From12,
    Only13,
}

impl Versions {
    fn of(policy: &str) -> Self {
        if policy.contains("TLS13-1-3") {
            Self::Only13
        } else if policy.contains("TLS13") {
            Self::From12
        } else {
            Self::Only12
        }
    }

    fn all(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Only12 => vec![&TLS12],
            Self::From12 => vec![&TLS13, &TLS12],
            Self::Only13 => vec![&TLS13],
        }
    }
}

impl Servers {
    pub(super) fn new(authority: Authority) -> Self {
        Self { authority, known: Mutex::default() }
    }

    /// The settings for a client that names this host (SNI).
    pub(super) fn config(&self, listener: &Listener, tls: &Tls, host: Option<&str>) -> Result<Arc<ServerConfig>> {
        let wanted = Wanted {
            names: tls.names(host).unwrap_or_else(|| vec![host.unwrap_or(&listener.balancer.dns_name).to_owned()]),
            versions: Versions::of(&tls.policy),
            http2: listener.setting("routing.http2.enabled") != Some("false"),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = known.get(&wanted) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(&wanted)?);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(wanted, Arc::clone(&config));
        Ok(config)
    }

    fn make(&self, wanted: &Wanted) -> Result<ServerConfig> {
        let certificate = self.authority.issue(&wanted.names)?;
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&wanted.versions.all());
        let builder = builder.context(|| "cannot set up TLS".into())?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if wanted.http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(config)
    }
}

/// The settings of connections to targets with this protocol.
pub(crate) fn client(protocol: &[u8]) -> Result<Arc<ClientConfig>> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.context(|| "cannot set up TLS".into())?.dangerous();
    let mut config = builder.with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// Accepts the certificate of every target, as a load balancer does:
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#target-group-routing-configuration>.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_the_versions_that_they_name() {
        for (policy, expected) in [
            ("ELBSecurityPolicy-TLS13-1-3-2021-06", Versions::Only13),
            ("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", Versions::From12),
            ("ELBSecurityPolicy-TLS13-1-0-2021-06", Versions::From12),
            ("ELBSecurityPolicy-2016-08", Versions::Only12),
            ("ELBSecurityPolicy-FS-1-2-Res-2020-10", Versions::Only12),
        ] {
            assert_eq!(Versions::of(policy), expected, "{policy}");
        }
    }
}
