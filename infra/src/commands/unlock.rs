//! `bluegreen unlock`: breaks the lease of a stack whose holder has died or must not continue.

use std::time::Duration;

use cutover::run::LEASE_TTL;
use ledger::{HEARTBEATS_PER_TTL, Holder, LeaseError, S3Ledger, StoreError};
use model::lease::Purpose;
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::session::Session;
use deploy::{Cloud, DeployedStack};

/// How long to check whether the lease is renewed: a live holder renews it twice in this time.
const WATCH: Duration = Duration::from_secs(2 + 2 * LEASE_TTL.as_secs() / HEARTBEATS_PER_TTL as u64);
/// Tries of breaking a lease that is renewed at the same moment.
const TRIES: u32 = 5;

/// A lease that may be broken.
#[derive(Debug)]
struct Lock {
    ledger: S3Ledger,
    stack: DeployedStack,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Held { holder: Box<Holder>, renewed: bool },
    Garbled { etag: String, why: String },
}

/// What was broken. Stable: fields are added, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlocked {
    /// The stack.
    pub stack: String,
    /// Who held its lease; null if nobody did, or if that could not be read.
    pub holder: Option<String>,
    /// Runs that `bluegreen reconcile` has to reconcile.
    pub interrupted: Vec<String>,
}

impl Unlocked {
    /// What it means, in lines.
    fn text(&self) -> String {
        let mut text = format!("the lease of stack {} is now free\n", self.stack);
        for run in &self.interrupted {
            text.push_str(&format!("run {run} was interrupted: repair the listeners with bluegreen reconcile\n"));
        }
        text
    }
}

/// The arguments of `unlock`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
}

impl Args {
    /// Asks, and breaks the lease.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let context = &session.context;
        let Some(lock) = look(context).await? else {
            let free = Unlocked { stack: context.stack.clone(), holder: None, interrupted: Vec::new() };
            return session
                .show(&free, |free, _| format!("the lease of stack {} is free: nothing to break\n", free.stack));
        };
        if !self.yes {
            session.prompt.agree_to(&lock.question(), "the lease was not broken").await?;
        }
        session.show(&lock.break_it().await?, |unlocked, _| unlocked.text())
    }
}

/// Reads the holder of the lease, and checks whether it is renewed; `None` if the lease is free.
async fn look(context: &Context) -> Result<Option<Lock>> {
    let cloud = Cloud::connect(&context.settings).await?;
    let stack = DeployedStack::require(&cloud, &context.stack).await?;
    let ledger = cloud.ledger(stack.bucket()?);
    let found = match ledger.holder().await {
        Ok(None) => return Ok(None),
        Ok(Some(holder)) => {
            context.listener.note(format!("checking for {} s whether the lease is renewed", WATCH.as_secs()));
            let renewed = ledger.is_renewed(&holder, WATCH).await.map_err(unreadable)?;
            let Some(now) = ledger.holder().await.map_err(unreadable)? else { return Ok(None) };
            Found::Held { holder: Box::new(now), renewed }
        }
        Err(StoreError::Garbled { etag, cause, .. }) => Found::Garbled { etag, why: cause },
        Err(error) => return Err(unreadable(error)),
    };
    Ok(Some(Lock { ledger, stack, found }))
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::failed("cannot read the lease").because(error)
}

impl Lock {
    /// What breaking it means, in lines.
    fn question(&self) -> String {
        let mut text = match &self.found {
            Found::Held { holder, renewed } => question(&self.stack.name, holder, *renewed),
            Found::Garbled { why, .. } => {
                format!("The lease of stack {} cannot be parsed: {why}.", self.stack.name)
            }
        };
        if self.stack.in_progress() {
            let status = &self.stack.state;
            text.push_str(&format!("\nCloudFormation is changing the stack ({status})."));
        }
        text
    }

    /// Breaks it. An error if somebody else has taken it since.
    async fn break_it(self) -> Result<Unlocked> {
        let stack = self.stack.name;
        let failed = |error: &dyn std::fmt::Display| {
            Error::failed(format!("cannot break the lease of stack {stack}"))
                .because(error)
                .hint("run the command again")
        };
        let (holder, interrupted) = match self.found {
            Found::Garbled { etag, .. } => (None, self.ledger.mend_lease(&etag).await.map_err(|error| failed(&error))?),
            Found::Held { holder, .. } => {
                let interrupted = break_held(&self.ledger, &holder).await.map_err(|error| failed(&error))?;
                (Some(holder.info.holder), interrupted)
            }
        };
        Ok(Unlocked { stack, holder, interrupted })
    }
}

/// Breaks the lease of this holder, even if it renews it at the same moment.
async fn break_held(ledger: &S3Ledger, held: &Holder) -> Result<Vec<String>, LeaseError> {
    let (mut holder, mut tries) = (held.clone(), 0);
    loop {
        tries += 1;
        let error = match ledger.break_lease(&holder).await {
            Err(error) if tries < TRIES => error,
            other => return other,
        };
        match ledger.holder().await? {
            Some(now) if now.info.writer == held.info.writer => holder = now,
            Some(now) => return Err(LeaseError::Held(Box::new(now))),
            None => return Err(error),
        }
    }
}

fn question(stack: &str, holder: &Holder, renewed: bool) -> String {
    let info = &holder.info;
    let mut text = format!(
        "The lease of stack {stack} is held by a {}: {}, since {} (clock of the holder).",
        info.purpose, info.holder, info.since
    );
    text.push_str(&if renewed {
        "\nThe holder is alive and renews the lease. Breaking it interrupts the holder.".to_owned()
    } else {
        let (age, left) = (holder.age.as_secs(), holder.left().as_secs());
        format!("\nThe lease was not renewed for {age} s: its holder has probably died. It expires in {left} s.")
    });
    if info.purpose == Purpose::Cutover {
        text.push_str("\nThe cutover will count as interrupted: repair the listeners with bluegreen reconcile.");
    }
    text
}

#[cfg(test)]
mod tests {
    use model::lease::LeaseInfo;

    use super::*;

    #[test]
    fn the_question_names_the_holder_its_purpose_since_when_and_whether_it_lives() {
        let holder = |purpose| Holder {
            info: LeaseInfo {
                holder: "0199".to_owned(),
                purpose,
                since: "2026-11-23T10:00:00Z".parse().unwrap(),
                epoch: 1,
                expires: jiff::Timestamp::MAX,
                life_ms: Some(30_000),
                released: false,
                interrupted: Vec::new(),
                writer: String::new(),
                process: None,
            },
            age: Duration::from_secs(13),
            version: String::new(),
        };
        insta::assert_snapshot!(question("shop", &holder(Purpose::Deployment), false), @r"
        The lease of stack shop is held by a deployment: 0199, since 2026-11-23T10:00:00Z (clock of the holder).
        The lease was not renewed for 13 s: its holder has probably died. It expires in 20 s.
        ");
        insta::assert_snapshot!(question("shop", &holder(Purpose::Cutover), true), @r"
        The lease of stack shop is held by a cutover: 0199, since 2026-11-23T10:00:00Z (clock of the holder).
        The holder is alive and renews the lease. Breaking it interrupts the holder.
        The cutover will count as interrupted: repair the listeners with bluegreen reconcile.
        ");
    }

    #[test]
    fn what_was_broken_is_said_and_what_is_left_to_do() {
        let unlocked =
            Unlocked { stack: "shop".to_owned(), holder: Some("a".to_owned()), interrupted: vec!["b".to_owned()] };
        insta::assert_snapshot!(unlocked.text(), @r"
        the lease of stack shop is now free
        run b was interrupted: repair the listeners with bluegreen reconcile
        ");
    }
}
