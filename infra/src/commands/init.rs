//! `bluegreen init`: writes a `bluegreen.toml` for an existing service from questions or flags, explains each setting,
//! and deploys it on the local cloud.
//!
//! The explanations are those of the settings themselves, so they are always current, and the text is parsed before
//! it is written: an invalid file is never written.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::{Doing, Error, Result};
use crate::rehearse::cloud::local_cloud;
use crate::session::print_text;
use stack::Settings;
use stack::settings::{App, Cutover, HealthCheck, Key, Table};

/// The arguments of `init`. Missing ones are asked for on a terminal, and have their defaults elsewhere.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Image of the service, by tag or digest; {version} is replaced with the version.
    #[arg(long, conflicts_with = "cargo")]
    pub image: Option<String>,
    /// Cargo package of the service.
    #[arg(long, value_name = "PACKAGE")]
    pub cargo: Option<String>,
    /// Name of the stack.
    #[arg(long)]
    pub name: Option<String>,
    /// Container port that the service listens on.
    #[arg(long)]
    pub port: Option<u16>,
    /// Path that returns 200 when the service is healthy.
    #[arg(long, value_name = "PATH")]
    pub health_check: Option<String>,
    /// Path to probe during a cutover.
    #[arg(long, value_name = "PATH")]
    pub probe: Option<String>,
    /// Response header that contains the version of the service.
    #[arg(long, value_name = "HEADER")]
    pub version_header: Option<String>,
    /// Also deploy to the local cloud, starting it if it is not running.
    #[arg(long)]
    pub local: bool,
    /// Output file.
    #[arg(long, value_name = "FILE", default_value = "bluegreen.toml")]
    pub out: PathBuf,
}

impl Args {
    /// Writes the file, and prints what to do next.
    pub fn run(&self) -> Result<()> {
        print_text(&write(self)?)
    }
}

/// Answers the questions about missing arguments.
pub trait Ask {
    /// The answer to a question, or the default if it is empty.
    fn ask(&mut self, question: &str, default: &str) -> Result<String>;
}

/// A person at a terminal.
#[derive(Debug)]
pub struct Terminal;

impl Ask for Terminal {
    fn ask(&mut self, question: &str, default: &str) -> Result<String> {
        let offer = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        eprint!("{question}{offer}: ");
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer).doing(|| "read the answer".to_owned())?;
        if read == 0 {
            return Err(Error::refused("no answer to a question: no file was written"));
        }
        let answer = answer.trim();
        Ok(if answer.is_empty() { default } else { answer }.to_owned())
    }
}

/// Nobody: everything has its default.
#[derive(Debug)]
pub struct Nobody;

impl Ask for Nobody {
    fn ask(&mut self, _: &str, default: &str) -> Result<String> {
        Ok(default.to_owned())
    }
}

/// Writes the file; returns what to do next, for people.
fn write(arguments: &Args) -> Result<String> {
    // Fail before any question is asked.
    if arguments.out.exists() {
        return Err(exists(&arguments.out));
    }
    let package = package_here();
    let asked = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let person: &mut dyn Ask = if asked { &mut Terminal } else { &mut Nobody };
    let text = compose(arguments, package.as_deref(), person)?;
    write_new(&arguments.out, &text)?;
    let written = format!(
        "Wrote {}. Its comments explain each setting.\nSettings that it does not contain have their default values.\n",
        arguments.out.display()
    );
    if arguments.local
        || (asked && person.ask("Deploy to the local cloud now (yes or no)", "no")?.starts_with(['y', 'Y']))
    {
        eprintln!("{written}");
        deploy_locally(&arguments.out)?;
        return Ok("\nNext, on the local cloud:\n  local-cloud exec -- bluegreen deploy --version 2\n  \
             local-cloud exec -- bluegreen cutover\n  local-cloud exec -- bluegreen dashboard\n"
            .to_owned());
    }
    Ok(format!(
        "{written}\nNext:\n  bluegreen synth      print the CloudFormation template\n  \
         bluegreen deploy     create the stack on AWS; on the local cloud, run\n                       \
         local-cloud up && local-cloud exec -- bluegreen deploy\n"
    ))
}

/// Starts the local cloud and deploys there, as a person would.
fn deploy_locally(config: &Path) -> Result<()> {
    let own = std::env::current_exe().doing(|| "find the path of this program".to_owned())?;
    let local_cloud = local_cloud()?;
    let steps = [
        vec!["up".into()],
        vec!["exec".into(), "--".into(), own.into(), "--config".into(), config.into(), "deploy".into()],
    ];
    for arguments in steps {
        let arguments: Vec<OsString> = arguments;
        let status = Command::new(&local_cloud).args(&arguments).status();
        let status = status.doing(|| format!("start {}", local_cloud.display()))?;
        if !status.success() {
            return Err(Error::failed("the deployment to the local cloud failed")
                .because(format!("{} {} ended with {status}", local_cloud.display(), arguments[0].display()))
                .hint(format!("see the output above; {} was kept", config.display())));
        }
    }
    Ok(())
}

fn exists(path: &Path) -> Error {
    Error::refused(format!("{} already exists and is not overwritten", path.display()))
        .hint("edit it, or pass another file with --out")
}

/// Creates the file; an error if it exists by now.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let file = std::fs::File::options().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists(path)),
        other => other.doing(|| format!("write {}", path.display())),
    }
}

/// The Cargo package in the current folder, if there is one.
fn package_here() -> Option<String> {
    let manifest: toml::Table = std::fs::read_to_string("Cargo.toml").ok()?.parse().ok()?;
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}

/// The text of the file.
fn compose(arguments: &Args, package: Option<&str>, person: &mut dyn Ask) -> Result<String> {
    let service = service(arguments, package, person)?;
    // The settings decide what can be deployed.
    if key::<App>(service.key()).is_none() {
        return Err(Error::usage(format!("this version of bluegreen cannot deploy {}", service.value()))
            .because(format!("its settings have no app.{}", service.key()))
            .hint("pass a Cargo package: bluegreen init --cargo shop"));
    }
    let mut said = |given: Option<String>, question: &str, default: &str| match given {
        Some(given) => Ok(given),
        None => person.ask(question, default),
    };
    let defaults = Settings::default();
    let name = said(arguments.name.clone(), "Name of the stack", &service.name())?;
    let port = arguments.port.map(|port| port.to_string());
    let port = said(port, "Port that the service listens on", &defaults.app.port.get().to_string())?;
    let port: u16 = port
        .parse()
        .map_err(|_| Error::usage(format!("invalid port {port:?}")).hint("use a number from 1 to 65535"))?;
    let health = default_of::<HealthCheck>("path");
    let health = said(arguments.health_check.clone(), "Path that returns 200 when the service is healthy", &health)?;
    let probe = said(arguments.probe.clone(), "Path to probe during a cutover", &default_of::<Cutover>("probe_path"))?;
    let header = default_of::<App>("version_header");
    let header = said(arguments.version_header.clone(), "Response header that contains the version", &header)?;

    let mut text =
        "# Deployment settings, written by `bluegreen init`. Settings that are not listed have their default values.\n"
            .to_owned();
    text += &line("Name of the stack.", "name", &name.into());
    text += "\n[app]\n";
    text += &setting::<App>(service.key(), &service.value().into());
    text += &setting::<App>("port", &port.into());
    text += &setting::<App>("version_header", &header.into());
    text += "\n[health_check]\n";
    text += &setting::<HealthCheck>("path", &health.into());
    text += "\n[cutover]\n";
    text += &setting::<Cutover>("probe_path", &probe.into());
    // What was answered comes from outside: it must be a setting, not only TOML.
    Settings::parse(&text)?;
    Ok(text)
}

/// The source of the service.
enum Service {
    Image(String),
    Cargo(String),
}

impl Service {
    fn key(&self) -> &'static str {
        match self {
            Self::Image(_) => "image",
            Self::Cargo(_) => "cargo",
        }
    }

    fn value(&self) -> &str {
        match self {
            Self::Image(value) | Self::Cargo(value) => value,
        }
    }

    /// A name for the stack: the package's, or the last part of the image's.
    fn name(&self) -> String {
        let last = self.value().rsplit('/').next().unwrap_or_default();
        let last = last.split([':', '@']).next().unwrap_or_default();
        let name: String = last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let name = name.trim_matches('-');
        if name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            name.to_owned()
        } else {
            "bluegreen".to_owned()
        }
    }
}

fn service(arguments: &Args, package: Option<&str>, person: &mut dyn Ask) -> Result<Service> {
    if let Some(image) = &arguments.image {
        return Ok(Service::Image(image.clone()));
    }
    if let Some(package) = &arguments.cargo {
        return Ok(Service::Cargo(package.clone()));
    }
    let question = "Service (Cargo package, or image such as example.com/shop:{version})";
    let answer = person.ask(question, package.unwrap_or_default())?;
    match answer.as_str() {
        "" => Err(Error::usage("no service to deploy")
            .because("neither an image nor a Cargo package was given, and this folder contains no package")
            .hint("pass one: bluegreen init --image registry.example/shop:{version}, or --cargo shop")),
        image if image.contains(['/', ':', '@']) => Ok(Service::Image(answer)),
        _ => Ok(Service::Cargo(answer)),
    }
}

fn key<T: Table>(name: &str) -> Option<Key> {
    T::keys().into_iter().find(|key| key.name == name)
}

/// The default of a text, as a person would type it.
fn default_of<T: Table>(name: &str) -> String {
    key::<T>(name).and_then(|key| key.default).unwrap_or_default().trim_matches('"').to_owned()
}

/// A key with its meaning from the settings.
fn setting<T: Table>(name: &str, value: &Value) -> String {
    line(&key::<T>(name).map_or_else(String::new, |key| key.meaning), name, value)
}

/// The JSON of a text or a number is TOML too.
fn line(meaning: &str, name: &str, value: &Value) -> String {
    format!("# {}\n{name} = {value}\n", meaning.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A person who gives these answers, one after the other.
    struct Person(Vec<&'static str>);

    impl Ask for Person {
        fn ask(&mut self, _: &str, default: &str) -> Result<String> {
            let answer = self.0.remove(0);
            Ok(if answer.is_empty() { default } else { answer }.to_owned())
        }
    }

    #[test]
    fn a_package_in_the_folder_needs_no_answers() {
        let text = compose(&Args::default(), Some("shop"), &mut Nobody).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_is_answered_is_written_and_understood() {
        let mut person = Person(vec!["shop", "shop-prod", "3000", "/ready", "", ""]);
        let text = compose(&Args::default(), None, &mut person).unwrap();
        let settings = Settings::parse(&text).unwrap();
        assert_eq!(settings.stack_name(), "shop-prod");
        assert_eq!((settings.app.port.get(), settings.health_check.path.as_str()), (3000, "/ready"));
    }

    #[test]
    fn an_answer_is_a_value_and_nothing_else() {
        let mut person = Person(vec!["shop", "x\"\n[app]\nport = 1", "8080", "", "", ""]);
        assert_eq!(compose(&Args::default(), None, &mut person).unwrap_err().kind().exit_code(), 2);
        let mut person = Person(vec!["shop", "shop", "http", "", "", ""]);
        assert!(compose(&Args::default(), None, &mut person).unwrap_err().message().contains("invalid port"));
    }

    #[test]
    fn an_image_is_taken_where_the_settings_have_one_and_nowhere_else() {
        let arguments = Args { image: Some("registry.example/shop:{version}".to_owned()), ..Args::default() };
        let written = compose(&arguments, None, &mut Nobody);
        assert_eq!(written.is_ok(), key::<App>("image").is_some(), "{written:?}");
    }

    #[test]
    fn no_service_is_said_with_what_to_name() {
        let error = compose(&Args::default(), None, &mut Nobody).unwrap_err();
        assert!(error.hints()[0].contains("--image"), "{error}");
    }

    #[test]
    fn the_stack_is_named_after_its_service() {
        for (value, name) in
            [("registry.example:5000/team/shop:{version}", "shop"), ("9lives", "bluegreen"), ("my_app", "my-app")]
        {
            assert_eq!(Service::Image(value.to_owned()).name(), name);
        }
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bluegreen.toml");
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(write_new(&path, "other").unwrap_err().kind().exit_code(), 3);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
