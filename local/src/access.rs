//! The credentials of one instance: who may use its APIs. Every start makes a new secret, from which all access keys
//! follow, so that the gateway recognizes a key without a list, also one that MiniStack issued for a function or a task.

use crate::error::{Context, Error, Result};
use crate::gateway::Caller;
use crate::private_file;
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt::Write as _;
use std::path::Path;
use uuid::Uuid;

/// Marks the access key ids of a local cloud.
const MARK: &str = "LC";
/// The length of the random part of an id, and of its proof, in hexadecimal digits.
const PART: usize = 32;
/// The user name of every client of a registry of Amazon ECR:
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>.
const REGISTRY_USER: &str = "AWS";

/// An access key, as AWS clients use it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AccessKey {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl AccessKey {
    /// The key of the running instance, from the file that only its user can read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let hint = "local-cloud down, then local-cloud up";
        let text = std::fs::read_to_string(path).context(|| format!("cannot read {}", path.display()));
        let text = text.map_err(|error| error.hint(hint))?;
        serde_json::from_str(&text)
            .map_err(|error| Error::new(format!("{} is not a file of credentials: {error}", path.display())))
            .map_err(|error| error.hint(hint))
    }

    /// Writes the key to a file that only its user can read.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context(|| "cannot encode the credentials".into())?;
        private_file::replace(path, text.as_bytes())
    }
}

/// The secret of an instance.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret")
    }
}

impl Secret {
    /// A new secret of 244 random bits.
    pub(crate) fn new() -> Self {
        Self(random() + &random())
    }

    /// The secret as text, for the adapter of MiniStack, which issues the keys of functions and tasks.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// A new access key.
    pub(crate) fn issue(&self, caller: Caller) -> AccessKey {
        let begin = format!("{MARK}{}{}", letter(caller), random().to_uppercase());
        let access_key_id = format!("{begin}{}", self.proof(&begin));
        let secret_access_key = self.derive(&format!("secret {access_key_id}"));
        AccessKey { access_key_id, secret_access_key }
    }

    /// The caller that an access key id was issued to; none if this instance did not issue it.
    pub(crate) fn caller(&self, id: &str) -> Option<Caller> {
        let (begin, proof) = id.split_at_checked(MARK.len() + 1 + PART)?;
        let caller = [Caller::Client, Caller::Function]
            .into_iter()
            .find(|caller| begin.strip_prefix(MARK).is_some_and(|rest| rest.starts_with(letter(*caller))))?;
        same(proof, &self.proof(begin)).then_some(caller)
    }

    /// The password of the registry.
    pub(crate) fn registry_password(&self) -> String {
        self.derive("registry")
    }

    /// Whether this is the value of the `Authorization` header of a client of the registry: the user and password that
    /// `GetAuthorizationToken` returns, in base64, or the password as a token.
    pub(crate) fn opens_registry(&self, authorization: &str) -> bool {
        let password = self.registry_password();
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{REGISTRY_USER}:{password}"));
        match authorization.split_once(' ') {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case("basic") => same(given.trim(), &basic),
            Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => same(given.trim(), &password),
            _ => false,
        }
    }

    fn proof(&self, begin: &str) -> String {
        let mut proof = self.derive(&format!("id {begin}")).to_uppercase();
        proof.truncate(PART);
        proof
    }

    /// A value that follows from the secret and a purpose, in hexadecimal digits.
    fn derive(&self, purpose: &str) -> String {
        // A key of any length is valid for HMAC; without a code, no value is equal to another.
        let Ok(mut code) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) else { return random() };
        code.update(purpose.as_bytes());
        code.finalize().into_bytes().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

const fn letter(caller: Caller) -> char {
    match caller {
        Caller::Client => 'C',
        Caller::Function => 'F',
    }
}

/// 122 random bits as 32 hexadecimal digits.
fn random() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Compares in full, so that the duration reveals nothing.
fn same(given: &str, own: &str) -> bool {
    given.len() == own.len() && given.bytes().zip(own.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_recognizes_its_own_keys_and_no_others() {
        let (own, other) = (Secret::new(), Secret::new());
        for caller in [Caller::Client, Caller::Function] {
            let key = own.issue(caller);
            assert_eq!(own.caller(&key.access_key_id), Some(caller));
            assert_eq!(other.caller(&key.access_key_id), None);
            assert_ne!(key.access_key_id, own.issue(caller).access_key_id, "every key is new");
            let mut forged = key.access_key_id.clone().into_bytes();
            forged[2] = if forged[2] == b'C' { b'F' } else { b'C' };
            assert_eq!(own.caller(&String::from_utf8(forged).unwrap()), None, "the holder is part of the proof");
            assert_eq!(own.caller(&key.access_key_id[..key.access_key_id.len() - 1]), None);
        }
        for id in ["", "test", "000000000000", "LCC", "ÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜÄÖÜ"] {
            assert_eq!(own.caller(id), None, "{id}");
        }
    }

    #[test]
    fn the_registry_opens_with_its_password_only() {
        let secret = Secret::new();
        let password = secret.registry_password();
        let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
        assert!(secret.opens_registry(&basic(&format!("AWS:{password}"))));
        assert!(secret.opens_registry(&format!("bearer {password}")));
        for wrong in [basic("AWS:ministack-auth-token"), basic("AWS:"), password.clone(), String::new()] {
            assert!(!secret.opens_registry(&wrong), "{wrong}");
        }
        assert!(!Secret::new().opens_registry(&format!("Bearer {password}")));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new();
        assert!(!format!("{secret:?}").contains(secret.text()));
    }
}
