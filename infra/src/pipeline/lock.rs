//! Fifth stage: the lease that deployments and cutovers share. What was observed before is old once it is held, so the
//! stack is observed again.

use deploy::DeployedStack;
use stack::outputs::Outputs;

use super::confirm::{Agreed, Confirmed};
use super::observe::Observed;
use super::spec::Spec;
use super::{Deployed, Job, rules};
use crate::artifacts::{self, Release};
use crate::error::{Error, Result};

/// A deployment that holds the lease.
pub(super) struct Locked {
    pub(super) spec: Spec,
    pub(super) agreed: Agreed,
    pub(super) outputs: Outputs,
    /// What is in the registry already, with the function in the bucket.
    pub(super) uploaded: Option<Release>,
}

impl Confirmed {
    /// Takes the lease. The content of a stack that was just created is already known, so it is uploaded meanwhile.
    pub(super) async fn lock(self, job: Job<'_>) -> Result<Locked> {
        let Self { spec, agreed } = self;
        let outputs = DeployedStack::require(job.cloud, &job.context.stack).await?.outputs()?;
        let early = async {
            match agreed {
                Agreed::ToEverything => upload(job, &outputs, &spec).await,
                Agreed::To(_) => Ok(None),
            }
        };
        let (locked, early) = tokio::join!(take(job, &outputs.bucket), early);
        locked?;
        match early {
            Ok(uploaded) => Ok(Locked { spec, agreed, outputs, uploaded }),
            Err(error) => {
                // The first error is the one that matters.
                let _ = job.context.release_lease().await;
                Err(error)
            }
        }
    }
}

impl Locked {
    /// Applies and verifies the deployment, and releases the lease whatever comes of it.
    pub(super) async fn complete(self, job: Job<'_>) -> Result<Deployed> {
        let result = Box::pin(self.finish(job)).await;
        // The first error is the one that matters.
        let unlocked = job.context.release_lease().await;
        let deployed = result?;
        unlocked?;
        Ok(deployed)
    }

    async fn finish(self, job: Job<'_>) -> Result<Deployed> {
        let observed = Box::pin(self.observe_again(job)).await?;
        let applied = Box::pin(observed.apply(job)).await?;
        Box::pin(applied.verify(job)).await
    }

    /// Observes the stack under the lease: a cutover may have ended since.
    async fn observe_again(self, job: Job<'_>) -> Result<ObservedAgain> {
        let Job { context, cloud, request } = job;
        let Self { mut spec, agreed, uploaded, .. } = self;
        let mut observed = Observed::look(cloud, DeployedStack::require(cloud, &context.stack).await?).await?;
        retarget(job, &mut spec, &observed)?;
        if request.version.is_none() {
            observed.traffic = rules::make(job, &observed.outputs, observed.traffic).await?;
        }
        let image = match uploaded {
            Some(uploaded) => Some(uploaded),
            None => upload(job, &observed.outputs, &spec).await?,
        };
        Ok(ObservedAgain { spec, agreed, observed, image })
    }
}

/// A deployment that holds the lease, with the stack as it is under it.
pub(super) struct ObservedAgain {
    pub(super) spec: Spec,
    pub(super) agreed: Agreed,
    pub(super) observed: Observed,
    /// The image in the registry.
    pub(super) image: Option<Release>,
}

/// Takes the lease, or waits for it if that is requested.
pub(super) async fn take(job: Job<'_>, bucket: &str) -> Result<()> {
    let Job { context, cloud, request } = job;
    if request.wait { context.wait_for_lease(cloud, bucket).await } else { context.take_lease(cloud, bucket).await }
}

/// Uploads image and function, unless they are already uploaded.
async fn upload(job: Job<'_>, outputs: &Outputs, spec: &Spec) -> Result<Option<Release>> {
    let Job { context, cloud, .. } = job;
    let push = async {
        match &spec.app {
            Some(app) => artifacts::push_image(context, cloud, outputs, app).await.map(Some),
            None => Ok(None),
        }
    };
    let upload = async {
        match &spec.function {
            Some(function) => artifacts::upload(context, cloud, outputs, function).await,
            None => Ok(()),
        }
    };
    let ((), pushed) = tokio::try_join!(upload, push)?;
    Ok(pushed)
}

/// What is idle may have changed while a cutover was waited for.
fn retarget(job: Job<'_>, spec: &mut Spec, observed: &Observed) -> Result<()> {
    let Job { context, request, .. } = job;
    let Some(version) = &request.version else { return Ok(()) };
    let live = observed.traffic.require_live()?;
    let idle = live.other();
    if request.color.is_none() && request.wait && spec.environments != [idle] {
        context.listener.note(format!("{idle} is now idle: deploying version {version} to it"));
        spec.environments = vec![idle];
    }
    if spec.environments.contains(&live) && !request.allowed.live_version {
        return Err(Error::refused(format!("{live} became live during the build of this deployment"))
            .hint("run the command again"));
    }
    Ok(())
}
