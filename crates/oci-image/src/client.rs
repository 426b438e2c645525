//! The HTTP client for registries: timeouts, TLS, and what its errors become.

use std::io;
use std::time::Duration;

use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer; a layer of some megabytes is stored within seconds.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// A client. If the process has no default TLS provider of `rustls` yet, this makes ring the default.
pub(crate) fn client(protocol: ClientProtocol) -> Result<Client, OciDistributionError> {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::try_from(ClientConfig {
        protocol,
        // ECR does not take a blob in several pieces (aws/containers-roadmap#2831).
        use_monolithic_push: true,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        ..ClientConfig::default()
    })
}

/// A client for requests that the other one cannot limit.
pub(crate) fn http() -> Result<reqwest::Client, OciDistributionError> {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT);
    Ok(client.user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"))).build()?)
}

/// The client's error as that of a stream of bytes.
pub(crate) fn into_io(error: OciDistributionError) -> io::Error {
    match error {
        OciDistributionError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

/// The client's error again, so that a retry can tell whether it is transient.
pub(crate) fn from_io(error: io::Error) -> OciDistributionError {
    error.downcast::<OciDistributionError>().unwrap_or_else(OciDistributionError::from)
}
