//! The standard AWS configuration for the function and the CLI: profile, environment, SSO (if the program has that
//! feature), `AWS_ENDPOINT_URL`, `AWS_CA_BUNDLE`, proxies, over one TLS stack (rustls with ring). Must not know a
//! service.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::request_id::RequestId as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

/// Attempts of one call, including the first. With exponential backoff (at most 1 s per wait here), this is enough for
/// a throttled account: Elastic Load Balancing and ECS refill their token buckets with at least 10 calls per second.
pub const MAX_ATTEMPTS: u32 = 5;
/// Timeout of a TCP and TLS connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of one attempt of one call. The control plane usually answers within a second.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of one call with all its attempts.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(40);

/// The AWS configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum AwsConfigError {
    /// The file in `AWS_CA_BUNDLE` cannot be read.
    #[error("cannot read {}, the file in AWS_CA_BUNDLE: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file in `AWS_CA_BUNDLE` does not contain certificates.
    #[error("{}, the file in AWS_CA_BUNDLE, is not a file of PEM certificates: {problem}", path.display())]
    NotCertificates {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// The account in an ARN, if it names one (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>).
pub fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

/// The error of a call, for people: code, message, and request id of the service, or the innermost cause if no service
/// answered. Never Rust's `Debug` format and never a body.
pub fn error_text<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    let answered = error.raw_response().filter(|_| error.as_service_error().is_some());
    let Some(response) = answered else { return innermost(error) };
    let meta = error.meta();
    let code = meta.code().map_or_else(|| format!("HTTP {}", response.status().as_u16()), str::to_owned);
    let message = meta.message().map_or_else(String::new, |message| format!(": {message}"));
    let id = meta.request_id().map_or_else(String::new, |id| format!(" (request id {id})"));
    format!("{code}{message}{id}")
}

/// The innermost cause of an error that has a text.
fn innermost(error: &dyn StdError) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !said.is_empty() {
            words = said;
        }
        next = cause.source();
    }
    words
}

/// Makes rustls with ring the TLS provider of the process. Later calls have no effect.
pub fn install_tls() {
    // An error only means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The certificates of `AWS_CA_BUNDLE`; `None` if it is not set.
pub fn ca_bundle() -> Result<Vec<CertificateDer<'static>>, AwsConfigError> {
    let Some((path, pem)) = read_bundle(named_bundle())? else {
        return Ok(Vec::new());
    };
    certificates(&pem).map_err(|problem| AwsConfigError::NotCertificates { path, problem })
}

fn named_bundle() -> Option<PathBuf> {
    std::env::var_os("AWS_CA_BUNDLE").map(PathBuf::from)
}

/// The default timeouts of a call.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}

/// The number of attempts of a call, and the pauses between them.
pub fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(MAX_ATTEMPTS)
        .with_initial_backoff(Duration::from_millis(200))
        .with_max_backoff(Duration::from_secs(1))
}

/// Loads the standard AWS configuration.
pub async fn sdk_config() -> Result<SdkConfig, AwsConfigError> {
    install_tls();
    let context = tls_context(named_bundle())?;
    let http = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder();
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .tls_context(context.clone())
            .build()
    });
    Ok(aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .timeout_config(timeouts())
        .retry_config(retries())
        .load()
        .await)
}

/// Trusts only the bundle if there is one, like the AWS CLI, otherwise the certificates of the platform
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html>).
fn tls_context(bundle: Option<PathBuf>) -> Result<tls::TlsContext, AwsConfigError> {
    let Some((path, pem)) = read_bundle(bundle)? else {
        return Ok(tls::TlsContext::default());
    };
    // The HTTP client panics if a certificate is invalid, so every one is parsed here first.
    if let Err(problem) = certificates(&pem) {
        return Err(AwsConfigError::NotCertificates { path, problem });
    }
    let trust = tls::TrustStore::empty().with_pem_certificate(pem);
    tls::TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| AwsConfigError::NotCertificates { path, problem: error.to_string() })
}

fn read_bundle(path: Option<PathBuf>) -> Result<Option<(PathBuf, Vec<u8>)>, AwsConfigError> {
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(None);
    };
    match std::fs::read(&path) {
        Ok(pem) => Ok(Some((path, pem))),
        Err(source) => Err(AwsConfigError::Unreadable { path, source }),
    }
}

/// The certificates of a PEM file, all of them valid as trust anchors.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut roots = rustls::RootCertStore::empty();
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate.clone()).map_err(|error| error.to_string())?;
        certificates.push(certificate);
    }
    if certificates.is_empty() { Err("it contains no certificate".to_owned()) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_is_absent_is_named() {
        let error = tls_context(Some("/nonexistent/ca.pem".into())).unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nonexistent/ca.pem, the file in AWS_CA_BUNDLE"), "{error}");
    }

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        assert!(certificates(b"hello").is_err());
        assert!(certificates(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    }

    #[test]
    fn an_empty_setting_is_no_setting() {
        assert!(tls_context(Some("".into())).is_ok());
    }
}
