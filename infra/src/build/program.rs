//! A program of a package as a static binary in an image, with its bill of materials. Must not know its destination.

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, Package};
use oci_image::{Architecture, Image, ImageCache, ImageSpec};

use super::linked::{self, Platform};
use super::lock::Lock;
use super::{cargo, packages, sbom, sources};
use crate::error::{Doing, Result};

/// A program of a package, to be built as a static binary.
pub(super) struct Program<'a> {
    pub(super) workspace: &'a Metadata,
    pub(super) package: &'a Package,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) architecture: Architecture,
}

impl Program<'_> {
    /// Builds its image, and keeps it for the next time.
    pub(super) async fn build(&self, port: u16) -> Result<Image> {
        let Self { workspace, name, version, architecture, .. } = *self;
        let flags = self.flags();
        let before = self.sources(port, None)?;
        // Diagnostics for people, and for the bill of materials a message for each package that is built.
        let arguments = [&self.arguments(&flags)[..], &["--message-format", "json-render-diagnostics"]].concat();
        let messages = cargo(workspace.workspace_root.as_std_path(), &arguments, name).await?;
        let binary = self.binary();
        let bytes = tokio::fs::read(&binary).await.doing(|| format!("read {}", binary.display()))?;
        let spec = ImageSpec { name, version, architecture, port };
        let image = Image::from_static_binary(&spec, &bytes)?;
        let image = image.with_attachment(sbom::MEDIA_TYPE, self.bill(&messages)?)?;
        // If a source was edited during the build, it is unknown which version the program is built from.
        if let (Some(known), true) = (self.sources(port, Some(&self.listing()))?, self.sources(port, None)? == before) {
            self.cache().put(&known, &image)?;
        }
        Ok(image)
    }

    /// The previous image, if nothing has changed.
    pub(super) fn kept(&self, port: u16) -> Result<Option<Image>> {
        let sources = self.sources(port, Some(&self.listing()))?;
        Ok(sources.and_then(|sources| self.cache().get(&sources, sbom::MEDIA_TYPE)))
    }

    fn cache(&self) -> ImageCache {
        let folder = format!("{}-{}", self.name, self.architecture);
        ImageCache::new(self.workspace.target_directory.join("images").join(folder))
    }

    fn binary(&self) -> PathBuf {
        self.workspace.target_directory.join(self.architecture.rust_target()).join("release").join(self.name).into()
    }

    /// What the compiler wrote down as read.
    fn listing(&self) -> PathBuf {
        self.binary().with_extension("d")
    }

    /// Naming the target keeps the flag away from build scripts and macros.
    fn flags(&self) -> String {
        let target = self.architecture.rust_target();
        format!("target.{target}.rustflags=[\"-C\",\"target-feature=+crt-static\"]")
    }

    fn arguments<'a>(&'a self, flags: &'a str) -> [&'a str; 11] {
        let (package, target) = (&self.package.name, self.architecture.rust_target());
        ["build", "--release", "--locked", "-p", package, "--bin", self.name, "--target", target, "--config", flags]
    }

    fn sources(&self, port: u16, listing: Option<&Path>) -> Result<Option<String>> {
        let (flags, port) = (self.flags(), port.to_string());
        let inputs = [&self.arguments(&flags)[..], &[self.version, &port]].concat();
        sources::hash(self.workspace, self.package, &inputs, listing)
    }

    /// The bill of what is in it, by the messages of its build.
    fn bill(&self, messages: &str) -> Result<Vec<u8>> {
        let Self { workspace, package, name, version, architecture } = *self;
        let (root, target) = (workspace.workspace_root.as_std_path(), architecture.rust_target());
        let metadata = packages::resolved(root, target)?;
        let platform = Platform { target, conditions: sources::conditions(root, target)? };
        let parts = linked::parts(&metadata, &platform, messages)?;
        let compiler = String::from_utf8_lossy(&sources::compiler(root)?).into_owned();
        // The library of this machine is the one that is linked in, unless the program is for another.
        let native = compiler.lines().any(|line| line.strip_prefix("host: ") == Some(target));
        let libc = if native { c_library() } else { None };
        let libc = libc.as_deref();
        let subject = sbom::Subject { program: name, package, version, target, compiler: &compiler, libc };
        sbom::document(&subject, &parts, &Lock::read(root)?)
    }
}

/// The C library of this machine: `glibc 2.36`.
fn c_library() -> Option<String> {
    let output = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|text| !text.is_empty())
}
