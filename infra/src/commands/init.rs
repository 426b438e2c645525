//! `bluegreen init`: writes a `bluegreen.toml` for an existing service from questions or flags, explains each setting,
//! and deploys it on the local cloud.
//!
//! The explanations are those of the settings themselves, so they are always current, and the text is parsed before
//! it is written: an invalid file is never written.

mod questions;
mod service;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::Metadata;
use serde_json::Value;

use self::questions::{Ask, Nobody, Question, Terminal};
use self::service::Service;
use crate::build;
use crate::error::{Doing, Error, Result};
use crate::rehearse::cloud::local_cloud;
use crate::session::print_text;
use cfn_kit::resources::values::{Port, StackName, UrlPath};
use oci_image::Image;
use stack::Settings;
use stack::settings::{App, Cutover, HealthCheck, Key, Table};
use stack::values::{VersionHeader, VersionLabel};

/// The answer that means that no header contains the version.
const NO_HEADER: &str = "none";
/// How to deploy on the local cloud without `--local`.
const ON_LOCAL_CLOUD: &str = "local-cloud up && local-cloud exec -- bluegreen deploy";

/// The arguments of `init`. Missing ones are asked for on a terminal, and have their defaults elsewhere.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Image of the service, by tag or digest; {version} is replaced with the version.
    #[arg(long, conflicts_with = "cargo")]
    pub image: Option<String>,
    /// Cargo package of the service.
    #[arg(long, value_name = "PACKAGE")]
    pub cargo: Option<String>,
    /// Version of the first release.
    #[arg(long, value_name = "VERSION")]
    pub first_version: Option<String>,
    /// Name of the stack.
    #[arg(long)]
    pub name: Option<String>,
    /// Container port that the service listens on [default: the port that the image exposes, else 8080].
    #[arg(long)]
    pub port: Option<String>,
    /// Path that returns 200 when the service is healthy.
    #[arg(long, value_name = "PATH")]
    pub health_check: Option<String>,
    /// Path to probe during a cutover.
    #[arg(long, value_name = "PATH")]
    pub probe: Option<String>,
    /// Response header that contains the version of the service; "none" if no header does.
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

/// Writes the file; returns what to do next, for people.
fn write(arguments: &Args) -> Result<String> {
    // Fail before any question is asked.
    if arguments.out.exists() {
        return Err(exists(&arguments.out));
    }
    let asked = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let person: &mut dyn Ask = if asked { &mut Terminal } else { &mut Nobody };
    // The image is no part of a Cargo project.
    let project = if arguments.image.is_some() { None } else { build::project_here()? };
    let text = compose(arguments, project.as_ref(), person)?;
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
        return Ok("\nNext, on the local cloud:\n  local-cloud exec -- bluegreen deploy --version VERSION\n  \
             local-cloud exec -- bluegreen cutover\n  local-cloud exec -- bluegreen dashboard\n"
            .to_owned());
    }
    Ok(format!(
        "{written}\nNext:\n  bluegreen synth      print the CloudFormation template\n  \
         bluegreen deploy     create the stack on AWS; on the local cloud, run\n                       \
         {ON_LOCAL_CLOUD}\n"
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
                .hint(format!("{} was kept; when the cause is removed, run {ON_LOCAL_CLOUD}", config.display())));
        }
    }
    Ok(())
}

fn exists(path: &Path) -> Error {
    Error::refused(format!("{} already exists and is not overwritten", path.display()))
        .hint(format!("to deploy what it describes, run bluegreen deploy (on the local cloud: {ON_LOCAL_CLOUD})"))
        .hint("to change it, edit it; to start again, delete it; to keep both, pass another file with --out")
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

/// The text of the file.
fn compose(arguments: &Args, project: Option<&Metadata>, person: &mut dyn Ask) -> Result<String> {
    let service = Service::find(arguments, project, person)?;
    let defaults = Settings::default();
    let ask = |option, given: &'_ Option<String>, text, default: &'_ str, person: &mut dyn Ask, check: Check| {
        Question { option, given: given.as_deref(), text, default }.answer(person, check)
    };
    let first_version = defaults.app.first_version.to_string();
    let first_version = match &service {
        Service::Image(_) => ask(
            "--first-version",
            &arguments.first_version,
            "Version of the first release",
            &first_version,
            person,
            |answer| valid(VersionLabel::try_from(answer), answer),
        )?,
        Service::Cargo(_) => arguments.first_version.clone().unwrap_or(first_version),
    };
    let image = in_runtime(service.image(&first_version))?;
    let name = ask("--name", &arguments.name, "Name of the stack", &service.name(), person, |answer| {
        valid(StackName::try_from(answer), answer)
    })?;
    let port = port_of(image.as_ref()).unwrap_or(defaults.app.port.get()).to_string();
    let port = ask("--port", &arguments.port, "Port that the service listens on", &port, person, |answer| {
        let port = answer.parse::<i64>().map_err(|_| "use a number from 1 to 65535".to_owned())?;
        valid(Port::try_from(port), answer)
    })?;
    let port: u16 = port.parse().doing(|| "parse the port".to_owned())?;
    let path = |answer: &str| valid(UrlPath::try_from(answer), answer);
    let health = default_of::<HealthCheck>("path");
    let question = "Path that returns 200 when the service is healthy";
    let health = ask("--health-check", &arguments.health_check, question, &health, person, path)?;
    let probe = default_of::<Cutover>("probe_path");
    let probe = ask("--probe", &arguments.probe, "Path to probe during a cutover", &probe, person, path)?;
    let header = default_of::<App>("version_header");
    let question = "Response header that contains the version (\"none\" if no header does)";
    let header = ask("--version-header", &arguments.version_header, question, &header, person, |answer| {
        let header = if answer == NO_HEADER { "" } else { answer };
        valid(VersionHeader::try_from(header), header)
    })?;

    let mut text =
        "# Deployment settings, written by `bluegreen init`. Settings that are not listed have their default values.\n"
            .to_owned();
    text += &line("Name of the stack.", "name", &name.into());
    text += "\n[app]\n";
    text += &setting::<App>(service.key(), &service.value().into());
    if first_version != defaults.app.first_version.as_str() {
        text += &setting::<App>("first_version", &first_version.into());
    }
    text += &setting::<App>("port", &port.into());
    text += &setting::<App>("version_header", &header.into());
    text += "\n[health_check]\n";
    text += &setting::<HealthCheck>("path", &health.into());
    text += "\n[cutover]\n";
    text += &setting::<Cutover>("probe_path", &probe.into());
    // The answers come from outside: they must be settings, not only TOML.
    Settings::parse(&text)?;
    Ok(text)
}

/// Checks an answer; returns what to write.
type Check = fn(&str) -> Result<String, String>;

/// The answer, if the type of the setting accepts it.
fn valid<T, E: std::fmt::Display>(parsed: Result<T, E>, answer: &str) -> Result<String, String> {
    parsed.map(|_| answer.to_owned()).map_err(|error| error.to_string())
}

/// The port of the service, if the image exposes exactly one.
fn port_of(image: Option<&Image>) -> Option<u16> {
    match image?.run_config().tcp_ports()[..] {
        [port] => Some(port),
        _ => None,
    }
}

/// Waits for the result of asynchronous work.
fn in_runtime<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.doing(|| "start".to_owned())?.block_on(work))
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
    use serde_json::json;

    /// A person who gives these answers, one after the other.
    struct Person(Vec<&'static str>);

    impl Ask for Person {
        fn ask(&mut self, _: &str, default: &str) -> Result<String> {
            let answer = self.0.remove(0);
            Ok(if answer.is_empty() { default } else { answer }.to_owned())
        }

        fn is_person(&self) -> bool {
            true
        }
    }

    /// A workspace with these packages, and their programs.
    fn project(packages: &[(&str, &[&str])]) -> Metadata {
        let package = |(name, programs): &(&str, &[&str])| {
            let target = |name: &&str| json!({"name": name, "kind": ["bin"], "src_path": "/w/main.rs"});
            json!({
                "name": name, "version": "0.1.0", "id": name, "manifest_path": format!("/w/{name}/Cargo.toml"),
                "targets": programs.iter().map(target).collect::<Vec<_>>(), "dependencies": [], "features": {},
            })
        };
        serde_json::from_value(json!({
            "workspace_root": "/w", "target_directory": "/w/target", "version": 1, "workspace_members": [],
            "packages": packages.iter().map(package).collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    fn shop() -> Metadata {
        project(&[("shop", &["shop"]), ("common", &[])])
    }

    /// The settings after these answers about an image.
    fn image(name: &str, answers: Vec<&'static str>) -> Settings {
        let arguments = Args { image: Some(name.to_owned()), ..Args::default() };
        Settings::parse(&compose(&arguments, None, &mut Person(answers)).unwrap()).unwrap()
    }

    #[test]
    fn the_only_package_with_a_program_needs_no_answers() {
        let text = compose(&Args::default(), Some(&shop()), &mut Nobody).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_is_answered_is_written_and_understood() {
        let mut person = Person(vec!["shop", "shop-prod", "3000", "/ready", "", ""]);
        let text = compose(&Args::default(), Some(&shop()), &mut person).unwrap();
        let settings = Settings::parse(&text).unwrap();
        assert_eq!(settings.stack_name(), "shop-prod");
        assert_eq!((settings.app.port.get(), settings.health_check.path.as_str()), (3000, "/ready"));
    }

    #[test]
    fn an_image_has_a_first_version_and_may_tell_no_version() {
        let settings = image("./absent-{version}.tar", vec!["1.4.0", "", "", "", "", "none"]);
        assert_eq!(settings.app.first_version.as_str(), "1.4.0");
        assert_eq!(settings.app.version_header.as_str(), "");
        assert_eq!(settings.stack_name(), "absent");
    }

    #[test]
    fn an_invalid_answer_is_asked_again() {
        let mut person =
            Person(vec!["other", "shop", "x\"\n[app]\nport = 1", "fine", "http", "0", "80", "ready", "/", "", ""]);
        let settings = Settings::parse(&compose(&Args::default(), Some(&shop()), &mut person).unwrap()).unwrap();
        assert_eq!((settings.stack_name().as_str(), settings.app.port.get()), ("fine", 80));
        assert_eq!(settings.health_check.path.as_str(), "/");
    }

    #[test]
    fn an_invalid_option_is_an_error_that_names_the_option() {
        let shop = || Args { cargo: Some("shop".to_owned()), ..Args::default() };
        for (arguments, option) in [
            (Args { port: Some("http".to_owned()), ..shop() }, "--port"),
            (Args { port: Some("70000".to_owned()), ..shop() }, "--port"),
            (Args { name: Some("9".to_owned()), ..shop() }, "--name"),
            (Args { health_check: Some("healthz".to_owned()), ..shop() }, "--health-check"),
            (Args { version_header: Some("a b".to_owned()), ..shop() }, "--version-header"),
            (Args { cargo: Some("common".to_owned()), ..Args::default() }, "--cargo"),
            (Args { cargo: Some("nothere".to_owned()), ..Args::default() }, "--cargo"),
            (Args { image: Some("Upper/Case".to_owned()), ..Args::default() }, "--image"),
            (Args { image: Some("/".to_owned()), ..Args::default() }, "--image"),
        ] {
            let error = compose(&arguments, Some(&self::shop()), &mut Nobody).unwrap_err();
            assert_eq!(error.kind().exit_code(), 2, "{error:?}");
            assert!(error.message().contains(option), "{error:?}");
        }
    }

    #[test]
    fn without_a_service_the_error_lists_what_there_is() {
        let error = compose(&Args::default(), None, &mut Nobody).unwrap_err();
        assert!(error.hints()[0].contains("--image"), "{error:?}");
        let two = project(&[("shop", &["shop"]), ("cart", &["cart"]), ("common", &[])]);
        let error = compose(&Args::default(), Some(&two), &mut Nobody).unwrap_err();
        assert_eq!(error.causes(), ["packages with a program: shop, cart"]);
    }

    #[test]
    fn the_stack_is_named_after_its_service() {
        for (value, name) in [
            ("registry.example:5000/team/shop:{version}", "shop"),
            ("9lives", "bluegreen"),
            ("my_app", "my-app"),
            ("build/go-host-{version}.tar.gz", "go-host"),
            ("go-host--v{version}.tar", "go-host"),
            ("{version}.tar", "bluegreen"),
        ] {
            assert_eq!(Service::Image(value.to_owned()).name(), name, "{value}");
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
