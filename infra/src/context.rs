//! The context of every command: the stack, its settings, the listener, the confirmation, and the lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cutover::run::LEASE_TTL;
use ledger::{Holder, Lease, LeaseError, S3Ledger, S3Store};
use model::lease::{LONGEST_LIFE, Purpose};
use model::stack_state::StackState;
use tokio::sync::Mutex;

use crate::error::{Error, Kind, Result};
use deploy::{Cloud, DeployedStack};
use deploy::{Control, Listener, Operation, Plan, Poll};
use stack::Settings;

/// The life of a renewed lease while CloudFormation changes the stack: the change continues if this command dies or
/// loses its permissions.
const OPERATION_TTL: Duration = LONGEST_LIFE;

/// Who holds the lease, and for how long.
pub(crate) fn held(holder: &Holder) -> String {
    format!(
        "{} started at {}; its lease expires in {} s unless renewed",
        holder.info.holder,
        holder.info.since,
        holder.left().as_secs()
    )
}

/// Asks for confirmation before an action that cannot be undone.
pub trait Confirmation: Send + Sync {
    /// Asks for confirmation of the plan, and of these concerns in particular. An error if it is refused.
    fn confirm(&self, plan: &Plan, concerns: &BTreeSet<String>) -> Result<()>;
}

/// Refuses everything, because nobody can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Confirmation for Nobody {
    fn confirm(&self, _: &Plan, concerns: &BTreeSet<String>) -> Result<()> {
        let error = Error::refused("cannot ask for confirmation of this deployment: not running in a terminal");
        let error = concerns.iter().fold(error, Error::because);
        Err(error.hint("review it: bluegreen diff").hint("if this is intended, pass --yes (make: YES=1)"))
    }
}

/// Confirms everything.
#[derive(Clone, Copy, Debug)]
pub struct Agreed;

impl Confirmation for Agreed {
    fn confirm(&self, _: &Plan, _: &BTreeSet<String>) -> Result<()> {
        Ok(())
    }
}

/// What every command works with.
pub struct Context {
    /// The stack's name.
    pub stack: String,
    /// The settings of the stack.
    pub settings: Settings,
    /// Receives the events.
    pub listener: Arc<dyn Listener>,
    /// Asks before something is replaced, removed or opened.
    pub confirmation: Arc<dyn Confirmation>,
    /// Controls a change in progress.
    pub control: Control,
    pub(crate) lease: Mutex<Option<Lease<S3Store>>>,
}

impl Context {
    /// A context for one command.
    pub fn new(stack: String, settings: Settings, listener: Arc<dyn Listener>) -> Self {
        let (confirmation, control) = (Arc::new(Nobody), Control::default());
        Self { stack, settings, listener, confirmation, control, lease: Mutex::new(None) }
    }

    /// An operation of a stack that reports to the listener of this context.
    pub(crate) fn operation<'a>(
        &'a self,
        cloud: &'a Cloud,
        stack: &'a DeployedStack,
        resources: &'a BTreeMap<String, String>,
    ) -> Operation<'a> {
        Operation::new(cloud, stack, resources, &self.control, &*self.listener)
    }

    /// Asks for confirmation of these concerns, if there are any.
    pub(crate) async fn confirm(&self, plan: &Plan, concerns: BTreeSet<String>) -> Result<()> {
        if concerns.is_empty() {
            return Ok(());
        }
        let (confirmation, plan) = (Arc::clone(&self.confirmation), plan.clone());
        // The answer may take long and must not block other tasks.
        tokio::task::spawn_blocking(move || confirmation.confirm(&plan, &concerns))
            .await
            .map_err(|error| Error::failed("cannot ask for confirmation").because(error))?
    }

    /// Takes the lease as soon as a cutover or another deployment releases it.
    pub(crate) async fn wait_for_lease(&self, cloud: &Cloud, bucket: &str) -> Result<()> {
        let ledger = cloud.ledger(bucket);
        let mut poll = Poll::default();
        let mut reported = None;
        loop {
            let holder = ledger.holder().await;
            let holder = holder.map_err(|error| Error::failed("cannot read the lease").because(error))?;
            if let Some(holder) = holder {
                if reported.as_ref() != Some(&holder.info.holder) {
                    let (purpose, id) = (holder.info.purpose, &holder.info.holder);
                    self.listener.note(format!("waiting for the {purpose} in progress: {id}"));
                    reported = Some(id.clone());
                }
                if Box::pin(self.expire_abandoned(cloud, &ledger, &holder)).await? {
                    continue;
                }
                poll.wait().await;
                continue;
            }
            match self.take_lease(cloud, bucket).await {
                // Another command was faster.
                Err(error) if error.kind() == Kind::Refused && ledger.holder().await.is_ok_and(|it| it.is_some()) => {}
                other => return other,
            }
        }
    }

    /// Takes the lease that deployments and cutovers share.
    pub(crate) async fn take_lease(&self, cloud: &Cloud, bucket: &str) -> Result<()> {
        let ledger = cloud.ledger(bucket);
        let id = uuid::Uuid::now_v7().to_string();
        match ledger.acquire(Purpose::Deployment, &id, LEASE_TTL).await {
            Ok(lease) => {
                *self.lease.lock().await = Some(lease);
                Ok(())
            }
            // Nothing was written: the lease still lists them.
            Err(LeaseError::Interrupted(runs)) => {
                Err(Error::refused("a cutover was interrupted: only one listener may be swapped")
                    .because(format!("not reconciled yet: run {}", runs.join(", ")))
                    .hint("repair the listeners first: bluegreen reconcile"))
            }
            Err(LeaseError::Held(holder)) => {
                if Box::pin(self.expire_abandoned(cloud, &ledger, &holder)).await? {
                    return Box::pin(self.take_lease(cloud, bucket)).await;
                }
                Err(Error::refused(format!("a {} is in progress on stack {}", holder.info.purpose, self.stack))
                    .because(held(&holder))
                    .hint(
                        "wait for it to end: pass --wait to bluegreen deploy, or check bluegreen status and run the \
                         command again",
                    ))
            }
            Err(error @ (LeaseError::Gone | LeaseError::Store(_))) => {
                Err(Error::failed(format!("cannot acquire the lease of stack {}", self.stack)).because(error))
            }
        }
    }

    /// Expires the lease of a deployment whose command died: immediately if the process ran on this machine; after
    /// CloudFormation has finished if the stack was changing. False if the lease is still held, or will soon expire
    /// anyway.
    pub(crate) async fn expire_abandoned(&self, cloud: &Cloud, ledger: &S3Ledger, holder: &Holder) -> Result<bool> {
        if holder.info.purpose != Purpose::Deployment {
            return Ok(false);
        }
        let failed = |error| Error::failed("cannot update the lease").because(error);
        if holder.info.life() <= LEASE_TTL {
            let gone = ledger.expire_gone(holder).await.map_err(failed)?;
            if gone {
                self.listener
                    .note(format!("deployment {} was stopped on this machine: released its lease", holder.info.holder));
            }
            return Ok(gone);
        }
        let stack = DeployedStack::find(cloud, &self.stack).await?;
        if stack.is_some_and(|stack| stack.in_progress()) {
            return Ok(false);
        }
        let expired = ledger.expire_abandoned(LEASE_TTL).await.map_err(failed)?;
        if expired {
            self.listener.note(format!("deployment {} no longer renews its lease: released it", holder.info.holder));
        }
        Ok(expired)
    }

    /// Runs an operation of CloudFormation under a lease that outlives this command. If the stack may still be changing
    /// afterwards, the lease is kept until it expires.
    pub(crate) async fn covered<T>(&self, cloud: &Cloud, operation: impl Future<Output = Result<T>>) -> Result<T> {
        self.cover(OPERATION_TTL).await?;
        let result = operation.await;
        let at_rest = result.is_ok() || {
            let stack = Box::pin(DeployedStack::find(cloud, &self.stack)).await;
            stack.is_ok_and(|stack| !stack.is_some_and(|stack| stack.in_progress()))
        };
        if at_rest {
            // If the lease was lost or cannot be written, releasing it reports that.
            let _ = self.cover(LEASE_TTL).await;
        } else if self.lease.lock().await.take().is_some() {
            self.listener.warn(
                "CloudFormation may still change the stack: the lease expires after at most 30 minutes; the next bluegreen \
                 deploy takes it over when the stack has settled",
            );
        }
        result
    }

    /// Sets the life of every renewal of the lease, if this command holds it.
    pub(crate) async fn cover(&self, life: Duration) -> Result<()> {
        let held = self.lease.lock().await;
        let Some(lease) = held.as_ref() else { return Ok(()) };
        lease.cover(life).await.map_err(|error| {
            Error::failed(format!("cannot renew the lease of stack {}", self.stack))
                .because(error)
                .hint("check bluegreen status, and run the command again")
        })
    }

    /// Releases the lease.
    pub(crate) async fn release_lease(&self) -> Result<()> {
        let Some(lease) = self.lease.lock().await.take() else { return Ok(()) };
        lease.release().await.map_err(|error| {
            Error::failed(format!("cannot release the lease of stack {}", self.stack))
                .because(error)
                .hint("run bluegreen deploy, which takes it over, or wait until it expires after at most 30 minutes")
        })
    }

    /// After an interruption: releases the lease, unless an operation of the stack is in progress, during which traffic
    /// must not be moved. Returns the state of the stack.
    pub async fn after_interruption(&self) -> Option<StackState> {
        if self.lease.lock().await.is_none() {
            return None;
        }
        let cloud = Cloud::connect(&self.settings).await.ok()?;
        let stack = DeployedStack::find(&cloud, &self.stack).await.ok()??;
        if !stack.in_progress() {
            // An error does not matter: the next command takes the lease over.
            let _ = self.release_lease().await;
        }
        Some(stack.state)
    }
}
