//! What an error about an image means for the command: its exit code, its causes, and hints that say what to do next.

use oci_image::{CredentialsError, ImageError, Operation, ProgramError, RegistryError, RegistryErrorKind};

use super::{Error, Kind, chain};

impl From<oci_image::Error> for Error {
    fn from(error: oci_image::Error) -> Self {
        use oci_image::Error as Image;
        if let Image::Registry(error) = &error {
            return of_registry(error);
        }
        let mut causes = chain(&error).into_iter();
        let message = causes.next().unwrap_or_default();
        let ours = causes.fold(Self::new(kind(&error), message), Self::because);
        match &error {
            Image::InvalidImageName { .. } => ours.hint(
                "use an image in a registry (registry.example/team/app:1, or @sha256:...), or an archive \
                 (build/app.tar, .tar.gz)",
            ),
            Image::InvalidRegistryAddress { .. } => {
                ours.hint("use scheme, host and port, such as https://123456789012.dkr.ecr.us-east-1.amazonaws.com")
            }
            Image::InvalidRepository { .. } => {
                ours.hint("use host and path, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/greeter")
            }
            Image::UnreadableToken => ours
                .because("it is not the base64 of user:password")
                .hint("run the command again; if it fails again, check aws ecr get-authorization-token"),
            Image::NotStatic { architecture, reason, .. } => {
                let target = architecture.rust_target();
                ours.hint(match reason {
                    ProgramError::OtherArchitecture { .. } => {
                        format!("build it with --target {target}, or choose the other architecture")
                    }
                    ProgramError::NeedsLibraries { .. } => {
                        "link the libraries statically (in build.rs: cargo:rustc-link-lib=static=NAME, with the libNAME.a of \
                         each), or build an image with another tool and set app.image"
                            .to_owned()
                    }
                    _ => format!("build it with --target {target} and RUSTFLAGS=\"-C target-feature=+crt-static\""),
                })
            }
            Image::Unusable { reason, .. } => match unusable(reason) {
                Some(hint) => ours.hint(hint),
                None => ours,
            },
            Image::Credentials { reason, .. } => match reason {
                CredentialsError::IdentityToken { .. } => {
                    ours.hint("log in with a user and a password or an access token: docker login -u USER")
                }
                CredentialsError::Helper { program, file, .. } => {
                    ours.hint(format!("install or repair {program}, or remove its name from {}", file.display()))
                }
                _ => ours.hint("correct the file, or log in again (docker login, podman login, skopeo login)"),
            },
            _ => ours,
        }
    }
}

/// A name that the user gave and that is invalid, or a file that does not exist, is a mistake in the call.
fn kind(error: &oci_image::Error) -> Kind {
    use oci_image::Error as Image;
    match error {
        Image::InvalidImageName { .. }
        | Image::InvalidRegistryAddress { .. }
        | Image::InvalidRepository { .. }
        | Image::Unusable { reason: ImageError::CannotOpen(_), .. } => Kind::Usage,
        _ => Kind::Failed,
    }
}

/// What to do about an image that cannot be used.
fn unusable(reason: &ImageError) -> Option<&'static str> {
    Some(match reason {
        ImageError::CannotOpen(_) => {
            "build the archive first, or use an existing one; paths are relative to the folder of bluegreen.toml"
        }
        ImageError::Folder => "pack it: tar --create --file app.tar --directory FOLDER .",
        ImageError::NotTar(_) | ImageError::NoImage => {
            "create it with docker save, podman save, skopeo or a similar tool"
        }
        ImageError::MissingFile { .. } => {
            "create it again with docker save, podman save, skopeo or a similar tool: it is truncated or invalid"
        }
        ImageError::DigestMismatch { .. } => "build or copy it again: it is damaged or was changed",
        ImageError::SeveralImages { .. } => "save only one image to the archive",
        ImageError::SeveralForPlatform { .. } => "save or push only one image",
        ImageError::PlatformMissing { .. } | ImageError::OtherPlatform { .. } => {
            "build it for that platform, or choose another app.architecture"
        }
        ImageError::ObsoleteSchema { .. } => "build or push the image again with a current tool",
        ImageError::UnknownLayer { .. } => {
            "use a container image, not an artifact; its layers must be tar, gzip or zstd"
        }
        ImageError::NoCommand => "set ENTRYPOINT or CMD when you build the image",
        _ => return None,
    })
}

fn of_registry(error: &RegistryError) -> Error {
    let mut ours = Error::failed(format!("cannot {}", error.operation)).because(error.reason());
    if !error.detail.is_empty() {
        ours = ours.because(&error.detail);
    }
    match hint(error) {
        Some(hint) => ours.hint(hint),
        None => ours,
    }
}

/// What to do about an error of a registry.
fn hint(error: &RegistryError) -> Option<String> {
    use RegistryErrorKind as Kind;
    let hint = match (&error.operation, error.kind) {
        (Operation::Push { .. }, Kind::Unreachable) => {
            "check the network, the region and the registry's address; for the local cloud, that it is running"
        }
        (Operation::Push { .. }, Kind::Unauthorized) => {
            "run the command again to get a new password (they expire after 12 hours), and check account and region"
        }
        (Operation::Push { .. }, Kind::Forbidden) => {
            "allow ecr:BatchCheckLayerAvailability, InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload, \
             PutImage and BatchGetImage on the repository"
        }
        (Operation::Push { .. }, Kind::NotFound) => {
            "create the repository first (bluegreen deploy does), and check account and region"
        }
        (Operation::Push { .. }, Kind::TagTaken) => {
            "use a tag that depends on the content, such as v1- and the start of the digest"
        }
        (Operation::Push { .. }, Kind::DigestMismatch) => {
            "push again without a proxy: the data was changed on the way to the registry"
        }
        (Operation::Push { .. }, Kind::SourceDigestMismatch) => {
            "build and push the image to that registry again: it is damaged there"
        }
        (Operation::Push { .. }, Kind::Busy) => "wait a moment and push again: uploaded layers are not sent twice",
        (Operation::Pull { .. }, Kind::Unreachable) => "check the name of the image, and the network",
        (Operation::Pull { host, .. }, Kind::Unauthorized | Kind::Forbidden) => {
            return Some(format!(
                "check the name; if the image is private, log in: docker login {host}, podman login {host} or skopeo login {host}"
            ));
        }
        (Operation::Pull { .. }, Kind::NotFound) => "check the name and the tag, and whether the image was pushed",
        (Operation::Pull { .. }, Kind::SourceDigestMismatch | Kind::DigestMismatch) => {
            "pull again without a proxy: the data was changed on the way, or the image is damaged in the registry"
        }
        (Operation::Pull { .. }, Kind::Busy) => "wait a moment and run the command again",
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use oci_image::{Architecture, Credentials, Image, ImageSource, ImageSpec, Registry, RegistryEndpoint};

    use super::*;

    fn ours<T>(result: oci_image::Result<T>) -> Error {
        Error::from(result.err().unwrap())
    }

    fn made_of(program: &[u8]) -> Error {
        let spec = ImageSpec { name: "greeter-v1", version: "1", architecture: Architecture::Amd64, port: 8080 };
        ours(Image::from_static_binary(&spec, program))
    }

    #[test]
    fn a_name_that_is_invalid_is_a_mistake_in_the_call() {
        let error = ours("./app".parse::<ImageSource>());
        assert_eq!((error.kind(), error.message()), (Kind::Usage, r#""./app" is not an image name"#));
        assert_eq!(
            error.causes(),
            ["an image file is a .tar, .tar.gz or .tgz (of a folder with an OCI layout: a tar of it)"]
        );
        assert!(error.hints()[0].contains("build/app.tar"), "{error:?}");
        for error in
            [ours("ftp://host".parse::<RegistryEndpoint>()), ours(Registry::new("greeter", Credentials::new("", "")))]
        {
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.hints()[0].contains("amazonaws.com"), "{error:?}");
        }
    }

    #[test]
    fn a_token_that_cannot_be_read_has_its_cause() {
        let error = ours(Credentials::from_ecr_token("not base64"));
        assert_eq!(error.causes(), ["it is not the base64 of user:password"]);
    }

    #[test]
    fn a_program_that_cannot_be_used_is_named_with_how_to_build_it() {
        let error = made_of(b"#!/bin/sh");
        assert_eq!((error.kind(), error.message()), (Kind::Failed, "cannot make an image of greeter-v1"));
        assert_eq!(error.causes(), ["the file is not a 64-bit Linux program (ELF)"]);
        assert!(error.hints()[0].contains("+crt-static"), "{error:?}");

        let dynamic = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(target_arch = "x86_64") {
            let error = made_of(&dynamic);
            assert!(error.causes()[0].starts_with("the program is dynamically linked: it needs /"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn an_archive_that_does_not_exist_is_a_mistake_in_the_call() {
        let error = ours(Image::from_archive(Path::new("/nowhere/app.tar"), Architecture::Amd64).await);
        assert_eq!((error.kind(), error.message()), (Kind::Usage, "cannot use image /nowhere/app.tar"));
        assert!(error.causes()[0].contains("No such file"), "{error:?}");
        assert!(error.hints()[0].contains("build the archive first"), "{error:?}");
    }

    #[tokio::test]
    async fn a_registry_that_cannot_be_reached_is_named_with_what_to_check() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let source: ImageSource = format!("{free}/team/app:1").parse().unwrap();
        let error = ours(source.open(Architecture::Amd64).await);
        assert_eq!(error.message(), format!("cannot use image {free}/team/app:1"));
        assert_eq!(error.causes()[0], format!("the registry cannot be reached at {free}"));
        assert!(error.causes()[1].contains("refused"), "{error:?}");
        assert_eq!(error.hints(), ["check the name of the image, and the network"]);
    }

    fn registry_error(kind: RegistryErrorKind) -> Error {
        let push = Operation::Push {
            repository: "registry.example/test".to_owned(),
            tag: "v1".to_owned(),
            endpoint: "https://registry.example".to_owned(),
        };
        of_registry(&RegistryError::new(kind, push, oci_image::Step::Upload, "denied (HTTP 403)"))
    }

    #[test]
    fn an_error_of_a_registry_has_its_cause_what_the_registry_said_and_a_hint() {
        for (kind, cause, hint) in [
            (RegistryErrorKind::Unauthorized, "https://registry.example does not accept the credentials", "12 hours"),
            (
                RegistryErrorKind::Forbidden,
                "https://registry.example does not let these credentials upload a blob",
                "PutImage",
            ),
            (
                RegistryErrorKind::NotFound,
                "https://registry.example has no repository test",
                "create the repository first",
            ),
            (
                RegistryErrorKind::TagTaken,
                "the tag v1 already names another image, and tags here are immutable",
                "the start of the digest",
            ),
            (
                RegistryErrorKind::Busy,
                "https://registry.example failed several times in a row to upload a blob",
                "push again",
            ),
        ] {
            let error = registry_error(kind);
            assert_eq!(error.message(), "cannot push registry.example/test:v1");
            assert_eq!(error.causes(), [cause, "denied (HTTP 403)"]);
            assert!(error.hints()[0].contains(hint), "{error:?}");
        }
        assert!(registry_error(RegistryErrorKind::Refused).hints().is_empty());
    }
}
