//! What `init` deploys: a Cargo package of the current folder, or an image. What the image says about itself becomes the
//! default of the answers.

use std::path::Path;

use cargo_metadata::Metadata;
use oci_image::{Architecture, Image, ImageSource};

use super::Args;
use super::questions::{Ask, Question};
use crate::build;
use crate::error::{Error, Result};
use stack::values::{ImageName, PackageName};

/// The part of an image name that stands for the version.
const VERSION: &str = "{version}";

/// The source of the service.
#[derive(Debug)]
pub(super) enum Service {
    Image(String),
    Cargo(String),
}

impl Service {
    /// The service that the arguments name, or the answer to the question about it.
    pub(super) fn find(arguments: &Args, project: Option<&Metadata>, person: &mut dyn Ask) -> Result<Self> {
        if let Some(image) = &arguments.image {
            return check_image(image).map_err(|reason| invalid("--image", image, &reason));
        }
        if let Some(package) = &arguments.cargo {
            return check_package(package, project).map_err(|reason| invalid("--cargo", package, &reason));
        }
        let packages = project.map(build::packages_with_programs).unwrap_or_default();
        let default = match (project.and_then(build::package_here), &packages[..]) {
            (Some(here), packages) if packages.contains(&here) => here,
            (_, [only]) => only.clone(),
            _ => String::new(),
        };
        if default.is_empty() && !person.is_person() {
            return Err(no_service(&packages));
        }
        if packages.len() > 1 {
            eprintln!("Packages with a program: {}", packages.join(", "));
        }
        let question = Question {
            option: "--image or --cargo",
            given: None,
            text: "Service (Cargo package, or image such as example.com/shop:{version})",
            default: &default,
        };
        question.answer(person, |answer| match answer {
            "" => Err("enter the name of a Cargo package or of an image".to_owned()),
            image if image.contains(['/', ':', '@', '.', '{']) => check_image(image),
            package => check_package(package, project),
        })
    }

    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Image(_) => "image",
            Self::Cargo(_) => "cargo",
        }
    }

    pub(super) fn value(&self) -> &str {
        match self {
            Self::Image(value) | Self::Cargo(value) => value,
        }
    }

    /// A name for the stack: that of the package, or the last part of the image name without the version.
    pub(super) fn name(&self) -> String {
        let last = self.value().rsplit('/').next().unwrap_or_default();
        let last = last.split([':', '@']).next().unwrap_or_default();
        let last = [".tar", ".tar.gz", ".tgz"].iter().find_map(|end| last.strip_suffix(end)).unwrap_or(last);
        let last = last.replace(VERSION, "");
        let name: String = last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let name = name.trim_matches('-');
        let name = name.strip_suffix("-v").unwrap_or(name).trim_end_matches('-');
        if name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            name.to_owned()
        } else {
            "bluegreen".to_owned()
        }
    }

    /// Reads the image of a version, for its defaults. It need not exist yet, so then this only says so.
    pub(super) async fn image(&self, version: &str) -> Option<Image> {
        let Self::Image(name) = self else { return None };
        let name = name.replace(VERSION, version);
        let architecture = Architecture::of_host().unwrap_or(Architecture::Amd64);
        let opened = async {
            let source: ImageSource = name.parse()?;
            source.open(architecture).await
        };
        match opened.await {
            Ok(image) => Some(image),
            Err(error) => {
                let error = Error::from(error);
                let reason = error.causes().first().map_or_else(String::new, |cause| format!(" ({cause})"));
                eprintln!("Note: {}{reason}. A deployment needs this image.", error.message());
                None
            }
        }
    }
}

fn invalid(option: &str, value: &str, reason: &str) -> Error {
    Error::usage(format!("invalid value {value:?} for {option}")).because(reason)
}

fn no_service(packages: &[String]) -> Error {
    match packages {
        [] => Error::usage("no service to deploy")
            .because(
                "neither an image nor a Cargo package was given, and this folder contains no package with a program",
            )
            .hint("pass one: bluegreen init --image registry.example/shop:{version}, or --cargo shop"),
        several => Error::usage("several packages could be the service")
            .because(format!("packages with a program: {}", several.join(", ")))
            .hint(format!("select one: bluegreen init --cargo {}", several[0])),
    }
}

/// An image, if its name is valid.
fn check_image(name: &str) -> Result<Service, String> {
    ImageName::try_from(name).map_err(|error| error.to_string())?;
    let source: Result<ImageSource, _> = name.replace(VERSION, "1").parse();
    match source {
        Ok(_) => Ok(Service::Image(name.to_owned())),
        Err(_) if Path::new(name).is_dir() => {
            Err(format!("{name} is a folder; use an archive of it: tar --create --file image.tar --directory {name} ."))
        }
        Err(error) => Err(aws::chain(&error).join(": ")),
    }
}

/// A Cargo package, if it is one with a program in this project.
fn check_package(name: &str, project: Option<&Metadata>) -> Result<Service, String> {
    PackageName::try_from(name).map_err(|error| error.to_string())?;
    let Some(project) = project else { return Err("this folder is not in a Cargo project".to_owned()) };
    match &build::packages_with_programs(project)[..] {
        packages if packages.iter().any(|package| package == name) => Ok(Service::Cargo(name.to_owned())),
        [] => Err(format!("no package in {} has a program", project.workspace_root)),
        packages => Err(format!("packages with a program: {}", packages.join(", "))),
    }
}
