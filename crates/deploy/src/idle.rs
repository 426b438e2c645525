//! Environments that sleep: a stack may end the tasks of the idle one some time after a cutover.

use model::color::Color;

use super::service::describe;
use crate::cloud::Cloud;
use crate::error::Result;
use aws::Calling as _;
use stack::outputs::Outputs;

/// Whether an environment's service is there, and wants no tasks.
pub async fn sleeps(cloud: &Cloud, outputs: &Outputs, color: Color) -> Result<bool> {
    let Some(service) = outputs.service(color) else { return Ok(false) };
    let service = describe(cloud, outputs, service).await?;
    Ok(service.is_some_and(|service| service.desired_count() == 0))
}

/// Starts the tasks of an environment that sleeps, and does not wait for them.
pub async fn wake(cloud: &Cloud, outputs: &Outputs, color: Color, tasks: u16) -> Result<()> {
    let Some(service) = outputs.service(color) else { return Ok(()) };
    let request = cloud.ecs.update_service().cluster(&outputs.cluster).service(service).desired_count(tasks.into());
    request.send().await.calling(|| format!("start the tasks of {color}"))?;
    Ok(())
}
