//! The artifacts of a deployment: builds them and uploads them to registry and bucket.

use aws_sdk_ecr::types::ImageIdentifier;
use oci_image::{Credentials, Image, Registry, RegistryEndpoint, push};

use crate::build::{FunctionSource, FunctionZip, Workspace, image_architecture};
use crate::context::Context;
use crate::error::{Doing, Result};
use aws::Calling as _;
use deploy::Cloud;
use stack::Settings;
use stack::outputs::Outputs;
use stack::storage::code_key;
use stack::values::VersionLabel;

/// Something built: a version of the service.
pub(crate) struct Artifact {
    name: String,
    version: VersionLabel,
    image: Image,
}

impl Artifact {
    /// What it will be called in this registry, whether it is there already or not.
    pub(crate) fn release(&self, registry_uri: &str) -> Release {
        let image = format!("{registry_uri}@{}", self.image.digest());
        Release { image, version: self.version.to_string(), number: None }
    }
}

/// An image, its version label and the number of the release, as they become parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) image: String,
    pub(crate) version: String,
    /// None before it has one, and for what an older version of this command deployed.
    pub(crate) number: Option<u64>,
}

/// What was built before from the same sources, so that nothing need be built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cached {
    image: Option<Image>,
    function: Option<FunctionZip>,
}

impl Cached {
    /// Finds the image of this version, if one is needed, and the function.
    pub(crate) async fn find(
        settings: &Settings,
        workspace: &Workspace,
        version: Option<&VersionLabel>,
    ) -> Result<Self> {
        let app = &settings.app;
        let (architecture, port) = (image_architecture(app.architecture), app.port.get());
        let (function, image) = (workspace.function_source().clone(), workspace.clone());
        let function = tokio::task::spawn_blocking(move || function.kept(architecture));
        let version = version.cloned();
        let image = tokio::task::spawn_blocking(move || match version {
            Some(version) => image.kept_image(&version, architecture, port),
            None => Ok(None),
        });
        let looking = || "find previous builds".to_owned();
        let (image, function) = tokio::join!(image, function);
        Ok(Self { image: image.doing(looking)??, function: function.doing(looking)?? })
    }

    /// Whether nothing need be built for a deployment, of a version or of the stack alone.
    pub(crate) fn is_enough(&self, version: bool) -> bool {
        self.function.is_some() && (self.image.is_some() || !version)
    }
}

/// Builds a version of the service as an image, or finds the image that others built.
pub(crate) async fn app(
    context: &Context,
    workspace: &Workspace,
    version: &VersionLabel,
    cached: &Cached,
) -> Result<Artifact> {
    let name = workspace.name(version);
    let app = &context.settings.app;
    let timer = context.listener.start(format!("{} {name}", if app.image.is_some() { "find" } else { "build" }));
    let image = match &cached.image {
        Some(image) => image.clone(),
        None => workspace.image(version, image_architecture(app.architecture), app.port.get()).await?,
    };
    timer.finish(&*context.listener, format!("image of {}", kib(image.size())));
    if image.runs_as_root() && app.user.is_none() {
        context.listener.warn(format!("{name} runs as root: set a user in the image or with app.user"));
    }
    Ok(Artifact { name, version: version.clone(), image })
}

/// Builds the cutover function, or takes the zip that is there.
pub(crate) async fn function(context: &Context, source: &FunctionSource, cached: &Cached) -> Result<FunctionZip> {
    let (what, from) = match source {
        FunctionSource::Ready { from, .. } => ("find", format!(", {from}")),
        FunctionSource::Project(project) if project.is_around() => ("build", String::new()),
        FunctionSource::Project(project) => ("build", format!(", in {}", project.folder().display())),
    };
    let timer = context.listener.start(format!("{what} the cutover function"));
    let zip = match &cached.function {
        Some(zip) => zip.clone(),
        None => source.zip(image_architecture(context.settings.app.architecture)).await?,
    };
    timer.finish(&*context.listener, format!("zip of {}{from}", kib(zip.bytes.len() as u64)));
    Ok(zip)
}

/// Whether the bucket has the function's zip.
pub(crate) async fn is_uploaded(cloud: &Cloud, outputs: &Outputs, function: &FunctionZip) -> Result<bool> {
    let key = code_key(&function.hash);
    let call = cloud.s3.head_object().bucket(&outputs.bucket).set_expected_bucket_owner(cloud.account());
    match call.key(&key).send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(false),
        Err(error) => Ok(Err(error).calling(|| format!("find {key} in bucket {}", outputs.bucket))?),
    }
}

/// Uploads the function's zip, unless the bucket has it.
pub(crate) async fn upload(context: &Context, cloud: &Cloud, outputs: &Outputs, function: &FunctionZip) -> Result<()> {
    if is_uploaded(cloud, outputs, function).await? {
        return Ok(());
    }
    let key = code_key(&function.hash);
    let timer = context.listener.start("upload the cutover function");
    cloud
        .s3
        .put_object()
        .bucket(&outputs.bucket)
        .set_expected_bucket_owner(cloud.account())
        .key(&key)
        .body(function.bytes.clone().into())
        .send()
        .await
        .calling(|| format!("upload {key} to bucket {}", outputs.bucket))?;
    timer.finish(&*context.listener, kib(function.bytes.len() as u64));
    Ok(())
}

/// Whether the registry has the image under its tag, with all its attestations.
pub(crate) async fn is_pushed(cloud: &Cloud, outputs: &Outputs, app: &Artifact) -> Result<bool> {
    let tag = app.image.tag(app.version.as_str());
    let digests: Vec<&str> = app.image.attachments().iter().map(|attachment| attachment.digest().as_str()).collect();
    let call = cloud.ecr.describe_images().repository_name(&outputs.registry_name);
    let call = call.image_ids(ImageIdentifier::builder().image_tag(&tag).build());
    let by_digest = |digest: &&str| ImageIdentifier::builder().image_digest(*digest).build();
    let call = digests.iter().map(by_digest).fold(call, |call, id| call.image_ids(id));
    let there = match call.send().await {
        Ok(answer) => answer.image_details.unwrap_or_default(),
        Err(error) if error.as_service_error().is_some_and(|it| it.is_image_not_found_exception()) => return Ok(false),
        Err(error) => Err(error).calling(|| format!("find {} in the registry", app.name))?,
    };
    let has = |digest: &str| there.iter().find(|it| it.image_digest() == Some(digest));
    let tagged = has(app.image.digest().as_str()).is_some_and(|it| it.image_tags().contains(&tag));
    Ok(tagged && digests.iter().all(|digest| has(digest).is_some()))
}

/// Pushes an image, unless the registry has it.
pub(crate) async fn push_image(context: &Context, cloud: &Cloud, outputs: &Outputs, app: &Artifact) -> Result<Release> {
    let timer = context.listener.start(format!("push {}", app.name));
    let answer = cloud.ecr.get_authorization_token().send().await.calling(|| "log in to the registry".to_owned())?;
    let token = answer.authorization_data().first().and_then(|data| data.authorization_token()).unwrap_or_default();
    let mut registry = Registry::new(&outputs.registry_uri, Credentials::from_ecr_token(token)?)?;
    if let Some(endpoint) = registry_endpoint()? {
        registry = registry.reached_at(endpoint);
    }
    let pushed = push(&app.image, &registry, &app.image.tag(app.version.as_str())).await?;
    let detail = match pushed.bytes_sent {
        0 => "already pushed".to_owned(),
        bytes => format!("{} sent", kib(bytes)),
    };
    timer.finish(&*context.listener, detail);
    for document in &pushed.unlisted {
        context.listener.warn(format!("{document} was pushed, but the registry does not list it with the image"));
    }
    Ok(Release { image: pushed.reference, version: app.version.to_string(), number: None })
}

/// The address of the registry, if it is not the host in its images' names (`BLUEGREEN_REGISTRY`): a proxy in
/// front of it, or a cloud that resolves no names.
fn registry_endpoint() -> Result<Option<RegistryEndpoint>> {
    match std::env::var("BLUEGREEN_REGISTRY") {
        Ok(address) if !address.is_empty() => Ok(Some(address.parse()?)),
        _ => Ok(None),
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes for people, to one decimal")]
fn kib(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(kib(12), "12 B");
        assert_eq!(kib(1536), "1.5 KiB");
        assert_eq!(kib(2_202_010), "2.1 MiB");
    }
}
