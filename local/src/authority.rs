//! The certificate authority of an instance: it issues the certificates of HTTPS listeners. Whoever has its key can make a
//! certificate for any name, so only the user of the instance can read it.

use crate::error::{Context, Error, Result};
use crate::instance::Layout;
use crate::private_file;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;

/// The names of this machine. On AWS, no client uses them.
const THIS_MACHINE: [&str; 2] = ["localhost", "127.0.0.1"];

/// Issues certificates.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads the key of the state directory, or creates it, and writes the certificate for clients.
    pub(crate) fn open(layout: &Layout) -> Result<Self> {
        let (key_path, path) = (layout.authority_key(), layout.authority());
        let hint = || format!("delete {}: then the local cloud makes another one", key_path.display());
        let key = match std::fs::read_to_string(&key_path) {
            Ok(text) => KeyPair::from_pem(&text)
                .map_err(|error| Error::new(format!("cannot read {}: {error}", key_path.display())).hint(hint()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key =
                    KeyPair::generate().context(|| "cannot create the key of the certificate authority".into())?;
                private_file::replace(&key_path, key.serialize_pem().as_bytes())?;
                // The certificate of another key would be wrong.
                remove(&path)?;
                key
            }
            Err(error) => return Err(Error::new(format!("cannot read {}: {error}", key_path.display()))),
        };
        let params = params(&key);
        if !path.exists() {
            let certificate = params.self_signed(&key).context(|| format!("cannot create {}", path.display()))?;
            private_file::replace(&path, certificate.pem().as_bytes())?;
        }
        Ok(Self { issuer: Issuer::new(params, key) })
    }

    /// A certificate for these names and those of this machine, with a new key.
    pub(crate) fn issue(&self, names: &[String]) -> Result<Arc<CertifiedKey>> {
        let failed = || format!("cannot issue a certificate for {}", names.join(", "));
        let mut all: Vec<String> = names.to_vec();
        all.extend(THIS_MACHINE.iter().map(ToString::to_string));
        let mut params = CertificateParams::new(all).context(failed)?;
        params.distinguished_name = DistinguishedName::new();
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, first.as_str());
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).context(failed)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let certified = CertifiedKey::from_der(vec![certificate.der().clone()], private, &provider());
        Ok(Arc::new(certified.context(failed)?))
    }
}

/// The cryptography of this program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    // A client that trusts several instances can tell them apart.
    let number = hex::encode(&Sha256::digest(key.public_key_raw())[..4]);
    params.distinguished_name.push(DnType::CommonName, format!("local cloud {number}"));
    params
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_authority_of_a_state_directory_stays_and_nobody_else_reads_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let issued = Authority::open(&layout).unwrap().issue(&["*.shop.example".to_owned()]).unwrap();
        assert_eq!(issued.cert.len(), 1);
        let before = std::fs::read(layout.authority()).unwrap();
        for path in [layout.authority(), layout.authority_key()] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        Authority::open(&layout).unwrap();
        assert_eq!(std::fs::read(layout.authority()).unwrap(), before);
        std::fs::write(layout.authority_key(), "damaged").unwrap();
        let error = Authority::open(&layout).unwrap_err().to_string();
        assert!(error.contains("hint: delete"), "{error}");
    }

    #[test]
    fn a_name_that_no_certificate_can_have_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(&Layout::new(dir.path()).unwrap()).unwrap();
        assert!(authority.issue(&["sh\u{f6}p".to_owned()]).unwrap_err().to_string().contains("sh\u{f6}p"));
    }
}
