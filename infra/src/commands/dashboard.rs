//! `bluegreen dashboard`: a page on loopback with data from `status`, `cutover` and the ledger.

use ledger::S3Ledger;
use model::request::Request;
use model::steering::SteeringAnswer;
use tokio::sync::Mutex;

use deploy::{Cloud, DeployedStack};

use crate::context::Context;
use crate::dashboard::{Dashboard, NewRun, Source, Steer};
use crate::error::Result;
use crate::report::{Place, Run};
use crate::requests::Meter;
use crate::runs;
use crate::session::{Session, json_line, print_text};
use crate::status;

/// The arguments of `dashboard`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Loopback port; 0 selects a free port.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
}

impl Args {
    /// Serves the dashboard until the command is interrupted.
    pub async fn run(&self, session: &Session) -> Result<()> {
        let context = &session.context;
        let place = Place { stack: context.stack.clone(), ..Place::default() };
        let source = Live { context, ledger: Mutex::new(None), meter: Mutex::default() };
        let dashboard = Dashboard::bind(source, place, self.port)?;
        let url = dashboard.url();
        print_text(&if session.json { json_line(&serde_json::json!({ "url": url }))? } else { format!("{url}\n") })?;
        context.listener.note("open this URL in a browser on this machine; press Ctrl-C to stop the dashboard");
        Box::pin(dashboard.run()).await
    }
}

/// The stack itself.
struct Live<'a> {
    context: &'a Context,
    /// Kept between two reads of a run, of which there are many per second.
    ledger: Mutex<Option<S3Ledger>>,
    meter: Mutex<Meter>,
}

impl Source for Live<'_> {
    async fn status(&self) -> Result<status::Status> {
        // Read credentials and bucket again each time: both may have been renewed.
        *self.ledger.lock().await = None;
        let mut meter = self.meter.lock().await;
        Box::pin(status::look(self.context, &mut meter)).await
    }

    async fn run(&self, id: &str) -> Result<Option<Run>> {
        let mut kept = self.ledger.lock().await;
        let ledger = if let Some(ledger) = &*kept {
            ledger.clone()
        } else {
            let cloud = Cloud::connect(&self.context.settings).await?;
            let outputs = DeployedStack::require(&cloud, &self.context.stack).await?.outputs()?;
            kept.insert(cloud.ledger(&outputs.bucket)).clone()
        };
        drop(kept);
        runs::load_with_samples(&ledger, id).await
    }

    async fn begin(&self, new_run: NewRun) -> Result<String> {
        let request =
            Request { op: new_run.op, to: Some(new_run.to), expect: Some(new_run.expect), ..Request::default() };
        Box::pin(runs::begin(self.context, request)).await
    }

    async fn tell(&self, reported: Steer) -> Result<SteeringAnswer> {
        Box::pin(runs::steer::tell(self.context, reported.op, Some(reported.run))).await
    }
}
