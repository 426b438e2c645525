//! A static binary becomes a reproducible OCI image, or an image is found that others made (in a registry, in an archive);
//! and it goes into a registry, all without Docker. Must not know this system's stack.
//!
//! ```no_run
//! # async fn example() -> infra::error::Result<()> {
//! use infra::image::{Architecture, Credentials, Image, ImageSpec, Registry, push};
//!
//! let spec = ImageSpec { name: "greeter-v1", version: "1", architecture: Architecture::Amd64, port: 8080 };
//! let binary = std::fs::read("target/x86_64-unknown-linux-gnu/release/greeter-v1").unwrap_or_default();
//! let image = Image::from_static_binary(&spec, &binary)?;
//!
//! let credentials = Credentials::from_ecr_token("QVdTOnBhc3N3b3Jk")?;
//! let registry = Registry::new("123456789012.dkr.ecr.us-east-1.amazonaws.com/greeter", credentials)?;
//! let pushed = push(&image, &registry, &image.tag("1")).await?;
//! println!("{} ({} bytes sent)", pushed.reference, pushed.bytes_sent);
//! # Ok(())
//! # }
//! ```

mod archive;
mod attachment;
mod cache;
mod content;
mod elf;
mod external;
#[expect(clippy::module_inception, reason = "the outer module is to become a crate")]
mod image;
mod layout;
mod pull;
mod push;
mod registry;
mod registry_error;
mod retry;
mod source;

#[cfg(test)]
mod fake_registry;

pub use attachment::Attachment;
pub use cache::BuiltImage;
pub use content::Digest;
pub use elf::Architecture;
pub use image::{Image, ImageSpec};
pub use push::{Pushed, push};
pub use registry::{Credentials, Registry, RegistryEndpoint};
pub use source::ImageSource;

/// The smallest file that passes for a program.
#[cfg(test)]
pub(crate) fn test_program(architecture: Architecture) -> Vec<u8> {
    elf::tests::program(architecture, None)
}
