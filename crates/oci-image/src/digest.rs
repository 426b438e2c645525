//! Content digests: SHA-256 and nothing else. Must not know what the content means.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::text::clean;

/// The size of a read while hashing.
const CHUNK: usize = 256 * 1024;

/// A SHA-256 digest as registries write it: `sha256:` and 64 lower-case hexadecimal digits.
///
/// Other algorithms and other spellings are rejected, so a digest can safely become a part of a path or of a URL.
///
/// ```
/// use oci_image::Digest;
///
/// let digest = Digest::of(b"");
/// assert_eq!(digest.as_str(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
/// assert_eq!(digest.as_str().parse::<Digest>()?, digest);
/// assert!("sha256:../../etc/passwd".parse::<Digest>().is_err());
/// # Ok::<(), oci_image::InvalidDigest>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Digest(String);

/// A text that is not a [`Digest`]. The text is kept, so that a program can say where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a SHA-256 digest")]
pub struct InvalidDigest {
    /// The rejected text, or its beginning.
    pub text: String,
}

impl Digest {
    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(Sha256::digest(bytes))
    }

    /// The digest of everything that a reader returns, and its size in bytes.
    ///
    /// # Errors
    ///
    /// Returns the first error of the reader.
    pub fn of_reader(mut reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        let mut size = 0;
        loop {
            let read = reader.read(&mut chunk)?;
            if read == 0 {
                return Ok((Self::from_hash(hash.finalize()), size));
            }
            hash.update(&chunk[..read]);
            size += read as u64;
        }
    }

    pub(crate) fn from_hash(hash: impl AsRef<[u8]>) -> Self {
        Self(format!("sha256:{}", hex::encode(hash)))
    }

    /// The whole digest, with the algorithm.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        self.0.trim_start_matches("sha256:")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Digest {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        if digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text))
        } else {
            Err(InvalidDigest { text: clean(&text) })
        }
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        text.to_owned().try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_in_lower_case_is_a_digest() {
        assert!(Digest::of(b"").as_str().parse::<Digest>().is_ok());
        let upper = format!("sha256:{}", "A".repeat(64));
        for text in ["", "sha256:", "sha256:../../etc/passwd", "md5:00", upper.as_str()] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
