//! The stack as constructs: edit them to change what is deployed.
//!
//! ```text
//! network ── load balancer (prod, dev) ── environment blue ─┐
//!    └────────────────────────────────── environment green ─┤── cutover function
//! storage (bucket, registry) ───────────────────────────────┘
//! ```

mod access_log;
mod alarms;
pub mod assembly;
mod cutover;
mod environment;
mod exceptions;
mod extension;
mod firewall;
pub mod graph;
mod idle;
mod kept;
mod keys;
mod load_balancer;
mod network;
pub mod outputs;
pub mod part;
mod pipeline;
pub mod render;
mod scaling;
pub mod settings;
mod side;
pub mod storage;
pub mod values;

use model::color::Color;

use part::Marking;

use cfn_kit::resources::ecs::ImageByDigest;
use cfn_kit::resources::s3::Bucket;
use cfn_kit::{Condition, Expr, Parameter, Ref, Stack, SynthError, Tag, Template, Test};

pub use cutover::FUNCTION_TIMEOUT;
pub use environment::{Environment, Fleet, Foundation, Parts};
pub use extension::{Built, Extend, Extension};
pub use idle::ID as IDLE_SCHEDULE;
pub use kept::Kept;
pub use load_balancer::{LoadBalancing, title};
pub use network::Network;
pub use part::Serves;
pub use settings::{App, Settings, TaskNetwork};
pub use side::{Blue, Green, Own, Side, Sides};

/// The description of every template. `DescribeStacks` returns it for a stack, and by it this product recognizes its
/// own stacks. It must never change, or existing stacks are no longer recognized.
pub const DESCRIPTION: &str = "Blue/green deployment of one web service on Amazon ECS Fargate: two environments behind \
                               one load balancer, and the function that swaps them.";

/// Names of the template's parameters.
pub mod parameter {
    use model::color::Color;

    /// The SHA-256 of the cutover function's zip, or empty.
    pub const CUTOVER_CODE: &str = "CutoverCode";

    /// The image of an environment by digest, or empty.
    pub const fn image(color: Color) -> &'static str {
        match color {
            Color::Blue => "BlueImage",
            Color::Green => "GreenImage",
        }
    }

    /// The version label of an environment's image, or empty.
    pub const fn version(color: Color) -> &'static str {
        match color {
            Color::Blue => "BlueVersion",
            Color::Green => "GreenVersion",
        }
    }

    /// The number of an environment's release, or empty.
    pub const fn release(color: Color) -> &'static str {
        match color {
            Color::Blue => "BlueRelease",
            Color::Green => "GreenRelease",
        }
    }

    /// The availability zones of the VPC that the stack creates, or empty. A template for an existing VPC does not have
    /// these parameters. They are set at the creation of the stack and do not change after that.
    pub const ZONES: [&str; 2] = ["ZoneA", "ZoneB"];

    /// Every parameter of every template: all but [`ZONES`].
    pub const ALL: [&str; 7] = [
        CUTOVER_CODE,
        image(Color::Blue),
        version(Color::Blue),
        release(Color::Blue),
        image(Color::Green),
        version(Color::Green),
        release(Color::Green),
    ];
}

/// The environment that the first release makes prod.
pub const FIRST_PROD: Color = Color::Green;

/// One value for each color.
#[derive(Clone, Debug)]
pub struct Both<T> {
    /// Blue's.
    pub blue: T,
    /// Green's.
    pub green: T,
}

impl<T> Both<T> {
    /// Creates a value for each color.
    pub fn make(mut make: impl FnMut(Color) -> T) -> Self {
        Self { blue: make(Color::Blue), green: make(Color::Green) }
    }

    /// The value of `color`, to change it.
    pub const fn of_mut(&mut self, color: Color) -> &mut T {
        match color {
            Color::Blue => &mut self.blue,
            Color::Green => &mut self.green,
        }
    }

    /// The value of `color`.
    pub const fn of(&self, color: Color) -> &T {
        match color {
            Color::Blue => &self.blue,
            Color::Green => &self.green,
        }
    }
}

/// What scaling and alarms watch.
struct Watched<'a> {
    balancer: &'a LoadBalancing,
    fleet: &'a Fleet,
    environments: &'a Both<Environment>,
    cutover: &'a cutover::Cutover,
    bucket: &'a Ref<Bucket>,
}

/// What is deployed to an environment: the template's parameters.
pub struct Release {
    /// The image.
    pub image: Expr<ImageByDigest>,
    /// The label of its version.
    pub version: Expr<String>,
    /// The number of the release.
    pub number: Expr<String>,
    /// The condition that holds if there is an image.
    pub deployed: Condition,
}

/// The whole stack as a template.
///
/// A pure function: the same settings give the same bytes.
pub fn synthesize(settings: &Settings) -> Result<Template, Vec<SynthError>> {
    synthesize_over(settings, &Kept::nothing())
}

/// The whole stack as a template whose shared part also serves the environments that stay as they are.
///
/// Both environments are rendered from the settings. [`render`] replaces them by those of a deployed template.
pub fn synthesize_over(settings: &Settings, kept: &Kept) -> Result<Template, Vec<SynthError>> {
    let stack = &mut Stack::new(DESCRIPTION);

    stack.describe(part::METADATA, render::metadata(settings));
    for (key, value) in &settings.tags {
        stack.tag(Tag::new(key.as_str(), value.as_str()));
    }
    let releases = Sides::make(|color| release(stack, color));
    let cutover_code = stack.parameter(
        parameter::CUTOVER_CODE,
        &Parameter {
            description: "SHA-256 of the cutover function's zip, which is code/<this>.zip in the stack's bucket. Empty \
                          at first, before the bucket exists.",
            default: "",
            allowed: &[],
            pattern: Some("^([0-9a-f]{64})?$"),
        },
    );
    for (label, color) in [("Blue environment", Color::Blue), ("Green environment", Color::Green)] {
        stack.parameter_group(label, &[parameter::image(color), parameter::version(color), parameter::release(color)]);
    }
    stack.parameter_group("Cutover function", &[parameter::CUTOVER_CODE]);

    let keys = keys::Keys::new(stack, settings);
    let log = access_log::AccessLog::new(stack, settings);
    let network = Network::new(stack, settings, &keys, kept);
    let storage = storage::Storage::new(stack, &keys, log.as_ref());
    let balancer = LoadBalancing::new(stack, settings, &network, log.as_ref());
    if settings.security.waf {
        firewall::add(stack, settings, &keys, &balancer);
    }
    let alarm_topic = alarms::topic(stack, settings, &keys);
    let fleet = Fleet::new(stack, settings, &network, &storage, &keys);
    let environments = Both {
        blue: Environment::new(stack, settings, &Parts::<Blue>::of(&fleet, &network, &balancer, &releases)),
        green: Environment::new(stack, settings, &Parts::<Green>::of(&fleet, &network, &balancer, &releases)),
    };
    let function = cutover::Cutover::new(
        stack,
        settings,
        &cutover::Parts {
            code: &cutover_code,
            balancer: &balancer,
            fleet: &fleet,
            environments: &environments,
            storage: &storage,
            keys: &keys,
            network: &network,
            alarm_topic: alarm_topic.as_ref(),
        },
    );
    let watched = Watched {
        balancer: &balancer,
        fleet: &fleet,
        environments: &environments,
        cutover: &function,
        bucket: &storage.bucket,
    };
    if let Some(max) = settings.autoscaling.max {
        scaling::add(stack, settings, max, &watched);
    }
    idle::add(stack, settings, &function);
    if let Some(topic) = &alarm_topic {
        alarms::add(stack, settings, &watched, topic);
    }
    let pipeline = pipeline::add(
        &mut stack.serving(Serves::Nobody),
        settings,
        &pipeline::Parts {
            balancer: &balancer,
            fleet: &fleet,
            environments: &environments,
            storage: &storage,
            keys: &keys,
            cutover: &function,
        },
    );
    let built = Built {
        network: &network,
        storage: &storage,
        balancer: &balancer,
        fleet: &fleet,
        environments: &environments,
        alarms: alarm_topic.as_ref(),
    };
    settings.extension.apply(stack, &built);
    exceptions::declare(stack, settings, &watched, &network);
    outputs::declare(stack, &storage, &balancer, &fleet, &environments, &function);
    if let Some(roles) = pipeline {
        outputs::declare_pipeline(stack, &roles, &function);
    }
    std::mem::take(stack).finish()
}

/// The first deployment of a new stack: only the bucket, because the template is too large for an API call and must be
/// uploaded to it (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>).
pub fn beginning(template: &Template) -> Template {
    // The parts that the metadata describes do not exist yet.
    template.only(&storage::FIRST, &[outputs::BUCKET]).without_metadata(part::METADATA)
}

fn release(stack: &mut Stack, color: Color) -> Release {
    let (image, version, number, condition) = match color {
        Color::Blue => (
            "Image of the blue environment by digest (registry/repository@sha256:...). Empty: nothing runs there.",
            "Version label of the blue environment's image, for people.",
            "Number of the blue environment's release.",
            "BlueDeployed",
        ),
        Color::Green => (
            "Image of the green environment by digest (registry/repository@sha256:...). Empty: nothing runs there.",
            "Version label of the green environment's image, for people.",
            "Number of the green environment's release.",
            "GreenDeployed",
        ),
    };
    let image = stack.parameter_of(parameter::image(color), image);
    let version = stack.parameter(
        parameter::version(color),
        &Parameter { description: version, default: "", allowed: &[], pattern: Some("^[A-Za-z0-9._-]{0,64}$") },
    );
    let number = stack.parameter(
        parameter::release(color),
        &Parameter { description: number, default: "", allowed: &[], pattern: Some("^[0-9]{0,9}$") },
    );
    let deployed = stack.condition(condition, Test::is_given(&image));
    Release { image, version, number, deployed }
}

/// The tags of a resource: its name in the console. CloudFormation adds tags with the name of the stack.
fn tags(name: &str) -> Vec<Tag> {
    let name = cfn_kit::join(&[Expr::stack_name(), format!("-{name}").into()]);
    vec![Tag::name(name)]
}
