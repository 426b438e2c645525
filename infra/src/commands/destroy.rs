//! `bluegreen destroy`: deletes the stack and everything in it.

use cfn_kit::resources::values::StackName;

use crate::args::stack_name;
use crate::deletion::{Consent, destroy, target};
use crate::error::{Error, Result};
use crate::session::Session;

/// The arguments of `destroy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask for confirmation. A stack that serves users or has termination protection needs --confirm instead.
    #[arg(long)]
    yes: bool,
    /// Name of the stack, to confirm its deletion without a question. Also switches off its termination protection.
    #[arg(long, value_name = "NAME", value_parser = stack_name)]
    confirm: Option<StackName>,
    /// Resource (logical id) to keep if an earlier deletion failed; can be repeated.
    #[arg(long, value_name = "ID")]
    retain: Vec<String>,
}

impl Args {
    /// Asks, and deletes the stack.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let context = &session.context;
        let Some(target) = target(context).await? else {
            context.listener.note(format!("stack {} does not exist: nothing to delete", context.stack));
            return Ok(());
        };
        let name = &target.stack.name;
        let consent = match &self.confirm {
            Some(given) if given.as_str() == name => Consent::Named,
            Some(given) => {
                return Err(Error::usage(format!("--confirm {given} is not the name of the stack"))
                    .because(format!("the stack is {name}"))
                    .hint(format!("if this is intended, pass --confirm {name}")));
            }
            None if self.yes && !target.needs_name() => Consent::Yes,
            None => session.prompt.consent(&target).await?,
        };
        destroy(context, &self.retain, consent).await
    }
}
