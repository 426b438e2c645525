//! Termination protection: CloudFormation deletes no stack that has it
//! (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-protect-stacks.html>).

use crate::cloud::{Cloud, DeployedStack};
use crate::error::{Calling, Result};

/// Protects the stack against deletion. No call if it is protected already.
pub async fn protect(cloud: &Cloud, stack: &DeployedStack) -> Result<()> {
    if stack.protected { Ok(()) } else { set(cloud, stack, true).await }
}

/// Lets the stack be deleted again. No call if it is not protected.
pub(super) async fn unprotect(cloud: &Cloud, stack: &DeployedStack) -> Result<()> {
    if stack.protected { set(cloud, stack, false).await } else { Ok(()) }
}

async fn set(cloud: &Cloud, stack: &DeployedStack, on: bool) -> Result<()> {
    let word = if on { "on" } else { "off" };
    cloud
        .cloudformation
        .update_termination_protection()
        .stack_name(&stack.name)
        .enable_termination_protection(on)
        .send()
        .await
        .calling(|| format!("switch the termination protection of stack {} {word}", stack.name))?;
    Ok(())
}
