//! Builds, reads, unpacks and pushes OCI images without Docker.
//!
//! * [`Image::from_static_binary`] makes a reproducible image of one statically linked program: the same input gives the
//!   same digest on every machine.
//! * [`Image::from_archive`] reads an image from a file, as `docker save` or an OCI layout;
//!   [`Image::write_archive`] writes one.
//! * `Image::pull` reads an image from a registry, [`ImageSource`] from wherever a name says.
//! * `Image::unpack` unpacks an image into a folder, `RootCache` keeps unpacked images, [`Image::from_store`] reads an
//!   image from whatever holds manifests and blobs.
//! * `push` sends an image to a registry, and only what the registry does not have.
//!
//! Everything that comes from outside is treated as hostile: sizes are limited, every digest is verified.
//!
//! # Example
//!
//! ```no_run
//! # #[cfg(feature = "registry")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use oci_image::{Architecture, Credentials, Image, ImageSpec, Registry, push};
//!
//! let spec = ImageSpec { name: "greeter", version: "1", architecture: Architecture::Amd64, port: 8080 };
//! let binary = std::fs::read("target/x86_64-unknown-linux-gnu/release/greeter")?;
//! let image = Image::from_static_binary(&spec, &binary)?;
//!
//! let credentials = Credentials::from_ecr_token("QVdTOnBhc3N3b3Jk")?;
//! let registry = Registry::new("123456789012.dkr.ecr.us-east-1.amazonaws.com/greeter", credentials)?;
//! let pushed = push(&image, &registry, &image.tag("1")).await?;
//! println!("{} ({} bytes sent)", pushed.reference, pushed.bytes_sent);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! * `registry` (on by default): registries, that is `push`, `Image::pull`, `ImageSource::open` and their types. Without
//!   it, the crate has no HTTP client and no TLS among its dependencies.
//! * `unpack`: `Image::unpack`, `RootCache`, `RootDir`, `copy_tree`, `remove_tree`. Linux only.
//!
//! # Errors
//!
//! An [`Error`] carries data: the image, the registry, the step, the reason. [`Error::kind`] tells the cases apart. What a
//! user should do about an error is for the program to say that uses this crate.

#![warn(clippy::missing_errors_doc)]

mod architecture;
mod archive;
mod assemble;
mod attachment;
mod cache;
#[cfg(feature = "registry")]
mod client;
mod compression;
mod content;
#[cfg(feature = "registry")]
mod credentials;
mod descriptor;
mod digest;
mod elf;
mod error;
mod external;
#[cfg(feature = "registry")]
#[cfg(test)]
mod fake_registry;
mod file_part;
mod image;
mod layout;
mod limits;
#[cfg(feature = "registry")]
mod login;
mod manifest;
mod media_type;
#[cfg(feature = "registry")]
mod pull;
#[cfg(feature = "registry")]
mod push;
#[cfg(feature = "registry")]
mod registry;
#[cfg(feature = "registry")]
mod registry_error;
#[cfg(feature = "registry")]
mod retry;
mod run_config;
mod source;
mod stored;
mod tar_stream;
mod text;
#[cfg(feature = "unpack")]
mod unpack;

pub use architecture::Architecture;
pub use attachment::Attachment;
pub use cache::ImageCache;
pub use content::Chunks;
pub use digest::{Digest, InvalidDigest};
pub use error::{
    CredentialsError, Error, ErrorKind, ImageError, ImageNameError, Machine, Operation, ProgramError,
    RegistryAddressError, RegistryError, RegistryErrorKind, Result, Step,
};
pub use image::{Image, ImageSpec};
pub use limits::Limits;
pub use oci_spec::distribution::{ParseError, Reference};
#[cfg(feature = "registry")]
pub use push::{Pushed, push};
#[cfg(feature = "registry")]
pub use registry::{Credentials, Registry, RegistryEndpoint};
pub use run_config::RunConfig;
pub use source::ImageSource;
pub use stored::{ContentStore, StoredImage};
#[cfg(feature = "unpack")]
pub use unpack::{RootCache, RootDir, Unpacked, UnpackedRoot, copy_tree, remove_tree, while_nothing_is_written};

/// Compiles the example of the README.
#[cfg(doctest)]
#[cfg(feature = "registry")]
#[doc = include_str!("../README.md")]
struct Readme;
