//! What is rehearsed: which image takes the place of which, and the settings as far as they mean something on one machine.

use std::path::Path;

use super::document::Side;
use crate::error::{Doing as _, Error, Result};
use cfn_kit::resources::values::UserId;
use stack::settings::{Alarms, Autoscaling, Https, Network, TaskNetwork};
use stack::values::{ImageName, VersionLabel};
use stack::{App, Settings};

/// The user that the programs of a Cargo package run as.
const USER: &str = "65532:65532";

/// The version label if none is known.
const NAMELESS: &str = "new";

/// Which versions take part.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The new version's label.
    pub version: Option<VersionLabel>,
    /// Its image.
    pub image: Option<ImageName>,
    /// The old version's label.
    pub from: Option<VersionLabel>,
    /// Its image.
    pub from_image: Option<ImageName>,
}

/// A version and the service that it is one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its label.
    pub version: VersionLabel,
    /// The service, with the image that has this version.
    pub app: App,
}

impl Release {
    /// What a rehearsal says of it.
    pub fn side(&self, name: String) -> Side {
        Side { version: self.version.to_string(), image: name }
    }
}

/// The old version and the new one. Without more, a version takes its own place.
pub fn releases(settings: &Settings, choice: &Choice) -> Result<(Release, Release)> {
    let own = &settings.app;
    let with = |image: Option<&ImageName>| App { image: image.or(own.image.as_ref()).cloned(), ..own.clone() };
    let new_app = with(choice.image.as_ref());
    let old_app = match (&choice.from_image, &choice.from) {
        (Some(image), _) => with(Some(image)),
        // A version of the service that the settings name.
        (None, Some(_)) => own.clone(),
        (None, None) => new_app.clone(),
    };
    if old_app.image.is_some() != new_app.image.is_some() {
        let error = Error::usage("cannot mix a package that is built here and an image");
        return Err(error.hint("pass the images of both versions: --from-image and --image"));
    }
    let first = &own.first_version;
    let nameless = VersionLabel::try_from(NAMELESS)
        .map_err(|error| Error::failed("cannot name the new version").because(error))?;
    let label = |given: &Option<VersionLabel>, app: &App, otherwise: &VersionLabel| {
        let tag = app.image.as_ref().filter(|image| !image.as_str().contains("{version}")).and_then(tag);
        given.clone().unwrap_or_else(|| tag.unwrap_or_else(|| otherwise.clone()))
    };
    let new = label(&choice.version, &new_app, if choice.image.is_some() { &nameless } else { first });
    let old = match (&choice.from, &choice.from_image) {
        (None, None) => new.clone(),
        (from, _) => label(from, &old_app, first),
    };
    Ok((Release { version: old, app: old_app }, Release { version: new, app: new_app }))
}

/// The tag of an image in a registry, if it is valid as a version label.
fn tag(image: &ImageName) -> Option<VersionLabel> {
    let name = image.as_str().split('@').next()?;
    let (_, tag) = name.rsplit('/').next()?.split_once(':')?;
    VersionLabel::try_from(tag).ok()
}

/// The settings as they mean something on this machine, and which were left out.
pub fn on_this_machine(settings: &Settings, old: &Release) -> Result<(Settings, Vec<String>)> {
    let mut settings = settings.clone();
    let mut left_out = Vec::new();
    let mut without = |name: &str, is_set: bool| {
        if is_set {
            left_out.push(name.to_owned());
        }
    };
    without("https", settings.has_https());
    without("autoscaling", settings.autoscaling.max.is_some());
    without("alarms", settings.has_alarms());
    without("network.tasks", settings.network.tasks != TaskNetwork::Public);
    without("network.vpc", settings.network.vpc.is_some());
    without("network.flow_logs", settings.network.flow_logs);
    without("dev.cidrs", settings.dev_is_restricted());
    without("logs.access", settings.has_access_log());
    without("security.waf", settings.security.waf);
    without("security.kms", settings.security.kms);
    without("secrets", !settings.secrets.is_empty());
    without("cutover.reserved_concurrency", settings.cutover.reserved_concurrency.is_some());
    let defaults = Settings::default();
    // The listeners stay where they are, whatever they would speak.
    settings.prod.port = Some(settings.prod_port());
    settings.dev.port = Some(settings.dev_port());
    (settings.https, settings.autoscaling, settings.alarms) =
        (Https::default(), Autoscaling::default(), Alarms::default());
    settings.network = Network::default();
    settings.dev.cidrs = defaults.dev.cidrs;
    (settings.logs.access, settings.logs.access_bucket) = (false, None);
    (settings.security, settings.secrets) = (defaults.security, defaults.secrets);
    settings.cutover.reserved_concurrency = None;
    // The image replaces the program of its version: both run as the same user.
    if settings.app.image.is_none() && old.app.image.is_none() && settings.app.user.is_none() {
        settings.app.user = UserId::try_from(USER).ok();
    }
    settings.app.image.clone_from(&old.app.image);
    settings.app.first_version = old.version.clone();
    Ok((settings, left_out))
}

/// Writes settings to a file for a command.
pub fn write_settings(settings: &Settings, path: &Path) -> Result<()> {
    let text = toml::to_string(settings).doing(|| "write the settings of the rehearsal".to_owned())?;
    std::fs::write(path, text).doing(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> ImageName {
        ImageName::try_from(name).unwrap()
    }

    fn label(text: &str) -> VersionLabel {
        VersionLabel::try_from(text).unwrap()
    }

    fn named(choice: &Choice, settings: &str) -> (String, String) {
        let name = |release: Release| {
            let image = release.app.image.map_or_else(|| "package".to_owned(), |image| image.to_string());
            format!("{} {image}", release.version)
        };
        let (old, new) = releases(&Settings::parse(settings).unwrap(), choice).unwrap();
        (name(old), name(new))
    }

    #[test]
    fn a_version_takes_its_own_place_unless_another_is_named() {
        let of = |choice: Choice| named(&choice, "");
        assert_eq!(of(Choice::default()), ("1 package".into(), "1 package".into()));
        let two = Choice { version: Some(label("2")), from: Some(label("1")), ..Choice::default() };
        assert_eq!(of(two), ("1 package".into(), "2 package".into()));
        let shop = Choice { image: Some(image("registry.example:5000/shop:7")), ..Choice::default() };
        let name = "7 registry.example:5000/shop:7".to_owned();
        assert_eq!(of(shop), (name.clone(), name));
        let archive =
            Choice { image: Some(image("build/shop.tar")), from_image: Some(image("shop:6")), ..Choice::default() };
        assert_eq!(of(archive), ("6 shop:6".into(), "new build/shop.tar".into()));
    }

    #[test]
    fn versions_of_the_image_in_the_settings_are_named_by_their_label() {
        let settings = "[app]\nimage = \"registry.example/shop:{version}\"";
        let choice = Choice { version: Some(label("8")), from: Some(label("7")), ..Choice::default() };
        let both = named(&choice, settings);
        assert_eq!(both, ("7 registry.example/shop:{version}".into(), "8 registry.example/shop:{version}".into()));
    }

    #[test]
    fn a_package_and_an_image_do_not_mix() {
        let choice = Choice { image: Some(image("shop:7")), from: Some(label("1")), ..Choice::default() };
        let error = releases(&Settings::default(), &choice).unwrap_err();
        assert!(error.hints()[0].contains("--from-image"), "{error:?}");
    }

    #[test]
    fn what_this_machine_does_not_have_is_left_out_and_named_and_the_rest_can_be_read_back() {
        let text = "name = \"shop\"\n[prod]\nport = 8443\n[https]\ncertificate = \
                    \"arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555\"\n\
                    domain = \"shop.example\"\n[autoscaling]\nmax = 9\n[health_check]\npath = \"/up\"\n\
                    [environment]\nGREETING = \"a \\\"b\\\" = c\"\n[dev]\nport = 9443\n";
        let settings = Settings::parse(text).unwrap();
        let (old, _) = releases(&settings, &Choice { version: Some(label("3")), ..Choice::default() }).unwrap();
        let (local, left_out) = on_this_machine(&settings, &old).unwrap();
        assert_eq!(left_out, ["https", "autoscaling"]);
        assert_eq!((local.prod_port().get(), local.dev_port().get(), local.has_https()), (8443, 9443, false));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bluegreen.toml");
        write_settings(&local, &file).unwrap();
        assert_eq!(Settings::load(Some(&file)).unwrap(), local);
    }
}
