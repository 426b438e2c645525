//! The verbs of the `bluegreen` command, one file each, and what they share.

pub mod cutover;
pub mod dashboard;
pub mod deploy;
pub mod destroy;
pub mod history;
pub mod init;
pub mod manual;
mod publish;
pub mod report;
pub mod status;
pub mod synth;

use std::sync::Arc;

use cutover_lambda::ledger::{Lease, LeaseError, Purpose, S3Ledger, S3Store};
use cutover_lambda::run::LEASE_TTL;
use tokio::sync::Mutex;

use crate::cloud::{Cloud, DeployedStack};
use crate::deploy::Listener;
use crate::error::{Error, Result};
use crate::stack::Settings;
use crate::stack::outputs::Outputs;

/// What every command works with.
pub struct Context {
    /// The stack's name.
    pub stack: String,
    /// What the stack is made from.
    pub settings: Settings,
    /// Who is told what happens.
    pub listener: Arc<dyn Listener>,
    lease: Mutex<Option<Lease<S3Store>>>,
}

impl Context {
    /// A context for one command.
    pub fn new(stack: String, settings: Settings, listener: Arc<dyn Listener>) -> Self {
        Self { stack, settings, listener, lease: Mutex::new(None) }
    }

    /// Takes the lock that deployments and cutovers share.
    async fn lock(&self, cloud: &Cloud, outputs: &Outputs) -> Result<()> {
        let ledger = S3Ledger::in_bucket(&cloud.config, &outputs.bucket);
        let id = uuid::Uuid::now_v7().to_string();
        match ledger.acquire(Purpose::Deployment, &id, LEASE_TTL).await {
            // Not given back: so it keeps the list of what was interrupted until it ends by itself.
            Ok(lease) if !lease.interrupted().is_empty() => {
                Err(Error::refused("a cutover was interrupted, and its listeners may be half swapped")
                    .because(format!("nobody has put run {} in order yet", lease.interrupted().join(", ")))
                    .hint("put the listeners in order first: make reconcile"))
            }
            Ok(lease) => {
                *self.lease.lock().await = Some(lease);
                Ok(())
            }
            Err(LeaseError::Held(holder)) => {
                Err(Error::refused(format!("a {} is under way on stack {}", holder.purpose, self.stack))
                    .because(format!(
                        "{} began at {}; its lock ends at {}",
                        holder.holder, holder.since, holder.expires
                    ))
                    .hint("wait for it to end (make status), then run the command again"))
            }
            Err(LeaseError::Store(error)) => {
                Err(Error::failed(format!("cannot take the lock of stack {}", self.stack)).because(error))
            }
        }
    }

    /// Gives the lock back.
    async fn unlock(&self) -> Result<()> {
        let Some(lease) = self.lease.lock().await.take() else { return Ok(()) };
        lease.release().await.map_err(|error| {
            Error::failed(format!("cannot give the lock of stack {} back", self.stack))
                .because(error)
                .hint("it ends by itself within half a minute")
        })
    }

    /// After an interruption: gives the lock back, unless an operation of the stack goes on, in which traffic must
    /// not be moved. Says what the stack is doing.
    pub async fn after_interruption(&self) -> Option<String> {
        if self.lease.lock().await.is_none() {
            return None;
        }
        let cloud = Cloud::connect(&self.settings).await.ok()?;
        let stack = DeployedStack::find(&cloud, &self.stack).await.ok()??;
        if !stack.in_progress() {
            // It is given back as a courtesy: it ends by itself within half a minute.
            let _ = self.unlock().await;
        }
        Some(stack.status)
    }
}
