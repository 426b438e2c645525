//! Where an image comes from that was made elsewhere: a registry, or a file that a build tool wrote. Must not know where it
//! goes.

use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::distribution::Reference;

use crate::error::{Error, ImageNameError};

/// Ends of file names that mean an archive.
const ARCHIVE_ENDS: [&str; 3] = [".tar", ".tar.gz", ".tgz"];

/// Where an image comes from.
///
/// ```
/// use oci_image::ImageSource;
///
/// assert!(matches!("registry.example/team/app:1".parse()?, ImageSource::Registry(_)));
/// assert!(matches!("build/app.tar.gz".parse()?, ImageSource::Archive(_)));
/// assert!("./app".parse::<ImageSource>().is_err());
/// # Ok::<(), oci_image::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// A registry: `registry.example/team/app:1`, by tag or by digest. A bare name means Docker Hub.
    Registry(Reference),
    /// A file: an OCI layout or what `docker save` writes, as `.tar`, `.tar.gz` or `.tgz`.
    Archive(PathBuf),
}

impl FromStr for ImageSource {
    type Err = Error;

    /// Reads a path (it ends as an archive does, or begins with `/`, `./` or `../`) or a name in a registry.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidImageName`] if the text is neither.
    fn from_str(text: &str) -> Result<Self, Error> {
        if ARCHIVE_ENDS.iter().any(|end| text.ends_with(end)) {
            return Ok(Self::Archive(text.into()));
        }
        let invalid = |reason| Error::InvalidImageName { name: text.to_owned(), reason };
        if text.starts_with(['/', '.']) {
            return Err(invalid(ImageNameError::NotAnArchive));
        }
        text.parse().map(Self::Registry).map_err(|error| invalid(ImageNameError::Reference(error)))
    }
}

#[cfg(feature = "registry")]
impl ImageSource {
    /// Finds the image for `architecture` and reads what describes it. Its layers stay where they are until a push sends
    /// them.
    ///
    /// # Errors
    ///
    /// Those of [`Image::pull`](crate::Image::pull) and of [`Image::from_archive`](crate::Image::from_archive).
    ///
    /// ```no_run
    /// use oci_image::{Architecture, ImageSource};
    ///
    /// # async fn example() -> oci_image::Result<()> {
    /// let source: ImageSource = "registry.example/team/app:1".parse()?;
    /// let image = source.open(Architecture::Amd64).await?;
    /// println!("{} ({} bytes)", image.digest(), image.size());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(&self, architecture: crate::Architecture) -> Result<crate::Image, Error> {
        match self {
            Self::Registry(reference) => crate::Image::pull(reference, architecture).await,
            Self::Archive(path) => crate::Image::from_archive(path, architecture).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_registrys_and_a_path_an_archives() {
        for (text, whole) in [
            ("registry.example/team/app:1", "registry.example/team/app:1"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ] {
            let ImageSource::Registry(reference) = text.parse().unwrap() else { panic!("{text}") };
            assert_eq!(reference.whole(), whole);
        }
        for text in ["build/app-1.tar", "/tmp/app.tar.gz", "../app.tgz"] {
            assert_eq!(text.parse::<ImageSource>().unwrap(), ImageSource::Archive(text.into()));
        }
    }

    #[test]
    fn a_text_that_is_not_an_image_name_is_rejected_with_the_reason() {
        for (text, is_path) in [
            ("", false),
            ("./app", true),
            ("/etc/passwd", true),
            ("Upper/Case:1", false),
            ("app:1:2", false),
            ("a b", false),
        ] {
            let error = text.parse::<ImageSource>().unwrap_err();
            let Error::InvalidImageName { name, reason } = error else { panic!("{error:?}") };
            assert_eq!((name.as_str(), reason == ImageNameError::NotAnArchive), (text, is_path));
        }
    }
}
