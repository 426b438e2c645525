//! What every verb works with: the stack, its settings, who is told and asked, and the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cutover::run::LEASE_TTL;
use ledger::{Holder, Lease, LeaseError, S3Ledger, S3Store};
use model::lease::{LONGEST_LIFE, Purpose};
use tokio::sync::Mutex;

use crate::cloud::{Cloud, DeployedStack};
use crate::deploy::{Control, Listener, Operation, Plan, Poll};
use crate::error::{Error, Kind, Result};
use stack::Settings;

/// For how long a renewal of the lease holds while CloudFormation changes the stack: it goes on with that by itself if this
/// command dies, or may not call AWS any more.
const OPERATION_TTL: Duration = LONGEST_LIFE;

/// Who holds the lock, and for how long.
pub(crate) fn held(holder: &Holder) -> String {
    format!(
        "{} began at {}; its lock ends in {} s, unless renewed",
        holder.info.holder,
        holder.info.since,
        holder.left().as_secs()
    )
}

/// Who is asked before something is done that cannot be undone.
pub trait Confirmation: Send + Sync {
    /// Asks whether what the plan does is meant, above all these concerns of it. An error where it is not.
    fn confirm(&self, plan: &Plan, concerns: &BTreeSet<String>) -> Result<()>;
}

/// Nobody can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Confirmation for Nobody {
    fn confirm(&self, _: &Plan, concerns: &BTreeSet<String>) -> Result<()> {
        let error = Error::refused("this deployment needs a person's word, and there is no terminal to ask on");
        let error = concerns.iter().fold(error, Error::because);
        Err(error.hint("look at it: bluegreen diff").hint("where it is meant: add --yes (YES=1 with make)"))
    }
}

/// Everything is meant.
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
    /// What the stack is made from.
    pub settings: Settings,
    /// Who is told what happens.
    pub listener: Arc<dyn Listener>,
    /// Who is asked before something is replaced, removed or opened.
    pub confirmation: Arc<dyn Confirmation>,
    /// What can be done about a change while it goes on.
    pub control: Control,
    pub(crate) lease: Mutex<Option<Lease<S3Store>>>,
}

impl Context {
    /// A context for one command.
    pub fn new(stack: String, settings: Settings, listener: Arc<dyn Listener>) -> Self {
        let (confirmation, control) = (Arc::new(Nobody), Control::default());
        Self { stack, settings, listener, confirmation, control, lease: Mutex::new(None) }
    }

    /// An operation of a stack, of which this context's listener is told.
    pub(crate) fn operation<'a>(
        &'a self,
        cloud: &'a Cloud,
        stack: &'a DeployedStack,
        resources: &'a BTreeMap<String, String>,
    ) -> Operation<'a> {
        Operation::new(cloud, stack, resources, &self.control, &*self.listener)
    }

    /// Asks whether these concerns are meant, where there are any.
    pub(crate) async fn confirm(&self, plan: &Plan, concerns: BTreeSet<String>) -> Result<()> {
        if concerns.is_empty() {
            return Ok(());
        }
        let (confirmation, plan) = (Arc::clone(&self.confirmation), plan.clone());
        // Somebody may think for long: that must not keep everything else from going on.
        tokio::task::spawn_blocking(move || confirmation.confirm(&plan, &concerns))
            .await
            .map_err(|error| Error::failed("nobody could be asked").because(error))?
    }

    /// Takes the lock as soon as a cutover or another deployment gives it back.
    pub(crate) async fn wait_for_lock(&self, cloud: &Cloud, bucket: &str) -> Result<()> {
        let ledger = cloud.ledger(bucket);
        let mut poll = Poll::default();
        let mut told = None;
        loop {
            let holder = ledger.holder().await;
            let holder = holder.map_err(|error| Error::failed("cannot read the lock").because(error))?;
            if let Some(holder) = holder {
                if told.as_ref() != Some(&holder.info.holder) {
                    let (purpose, id) = (holder.info.purpose, &holder.info.holder);
                    self.listener.note(format!("waiting for the {purpose} that is under way: {id}"));
                    told = Some(id.clone());
                }
                if Box::pin(self.expire_abandoned(cloud, &ledger, &holder)).await? {
                    continue;
                }
                poll.wait().await;
                continue;
            }
            match self.lock(cloud, bucket).await {
                // Somebody else was faster.
                Err(error) if error.kind() == Kind::Refused && ledger.holder().await.is_ok_and(|it| it.is_some()) => {}
                other => return other,
            }
        }
    }

    /// Takes the lock that deployments and cutovers share.
    pub(crate) async fn lock(&self, cloud: &Cloud, bucket: &str) -> Result<()> {
        let ledger = cloud.ledger(bucket);
        let id = uuid::Uuid::now_v7().to_string();
        match ledger.acquire(Purpose::Deployment, &id, LEASE_TTL).await {
            Ok(lease) => {
                *self.lease.lock().await = Some(lease);
                Ok(())
            }
            // Nothing was written: the lock goes on remembering them.
            Err(LeaseError::Interrupted(runs)) => {
                Err(Error::refused("a cutover was interrupted, and its listeners may be half swapped")
                    .because(format!("nobody has put run {} in order yet", runs.join(", ")))
                    .hint("put the listeners in order first: bluegreen reconcile"))
            }
            Err(LeaseError::Held(holder)) => {
                if Box::pin(self.expire_abandoned(cloud, &ledger, &holder)).await? {
                    return Box::pin(self.lock(cloud, bucket)).await;
                }
                Err(Error::refused(format!("a {} is under way on stack {}", holder.info.purpose, self.stack))
                    .because(held(&holder))
                    .hint(
                        "wait for it to end: add --wait to bluegreen deploy, or look at bluegreen status and run the \
                         command again",
                    ))
            }
            Err(error @ (LeaseError::Gone | LeaseError::Store(_))) => {
                Err(Error::failed(format!("cannot take the lock of stack {}", self.stack)).because(error))
            }
        }
    }

    /// Lets the lock of a deployment expire whose command died: at once where that can be seen on this machine; once
    /// CloudFormation is done where that changed the stack. False if there is none such: then the lock is held, or expires by
    /// itself soon enough.
    pub(crate) async fn expire_abandoned(&self, cloud: &Cloud, ledger: &S3Ledger, holder: &Holder) -> Result<bool> {
        if holder.info.purpose != Purpose::Deployment {
            return Ok(false);
        }
        let failed = |error| Error::failed("cannot look after the lock").because(error);
        if holder.info.life() <= LEASE_TTL {
            let gone = ledger.expire_gone(holder).await.map_err(failed)?;
            if gone {
                self.listener
                    .note(format!("deployment {} was ended on this machine: the lock is free now", holder.info.holder));
            }
            return Ok(gone);
        }
        let stack = DeployedStack::find(cloud, &self.stack).await?;
        if stack.is_some_and(|stack| stack.in_progress()) {
            return Ok(false);
        }
        let expired = ledger.expire_abandoned(LEASE_TTL).await.map_err(failed)?;
        if expired {
            self.listener
                .note(format!("deployment {} renews its lock no more: the lock is free now", holder.info.holder));
        }
        Ok(expired)
    }

    /// Runs what CloudFormation goes on with by itself, under a lock that outlives this command. If afterwards it is not
    /// certain that the stack is at rest, the lock stays until it expires.
    pub(crate) async fn covered<T>(&self, cloud: &Cloud, operation: impl Future<Output = Result<T>>) -> Result<T> {
        self.cover(OPERATION_TTL).await?;
        let result = operation.await;
        let at_rest = result.is_ok() || {
            let stack = Box::pin(DeployedStack::find(cloud, &self.stack)).await;
            stack.is_ok_and(|stack| !stack.is_some_and(|stack| stack.in_progress()))
        };
        if at_rest {
            // What failed is that the lock was lost, or cannot be written: whoever gives it back is told.
            let _ = self.cover(LEASE_TTL).await;
        } else if self.lease.lock().await.take().is_some() {
            self.listener.warn(
                "CloudFormation may go on with the stack: the lock stays for half an hour at most; the next bluegreen \
                 deploy takes it over once the stack is at rest",
            );
        }
        result
    }

    /// Lets every renewal of the lock, if this command holds it, hold for so long.
    pub(crate) async fn cover(&self, life: Duration) -> Result<()> {
        let held = self.lease.lock().await;
        let Some(lease) = held.as_ref() else { return Ok(()) };
        lease.cover(life).await.map_err(|error| {
            Error::failed(format!("cannot keep the lock of stack {}", self.stack))
                .because(error)
                .hint("look at bluegreen status, and run the command again")
        })
    }

    /// Gives the lock back.
    pub(crate) async fn unlock(&self) -> Result<()> {
        let Some(lease) = self.lease.lock().await.take() else { return Ok(()) };
        lease.release().await.map_err(|error| {
            Error::failed(format!("cannot give the lock of stack {} back", self.stack))
                .because(error)
                .hint("it ends by itself, after half an hour at most; the next bluegreen deploy takes it over")
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
            // It is given back as a courtesy: the next command takes it over.
            let _ = self.unlock().await;
        }
        Some(stack.status)
    }
}
