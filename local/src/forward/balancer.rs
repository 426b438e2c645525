//! Which load balancer has a listener on a port, without asking for every request.

use crate::aws::Cloud;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A name this old is looked up again, behind the requests that still use it.
const FRESH: Duration = Duration::from_secs(1);

/// The DNS name of the load balancer behind one listener port.
#[derive(Debug)]
pub(super) struct Balancer {
    cloud: Cloud,
    port: u16,
    known: Mutex<Option<(String, Instant)>>,
    refreshing: std::sync::atomic::AtomicBool,
}

impl Balancer {
    pub(super) fn new(cloud: Cloud, port: u16) -> Self {
        Self { cloud, port, known: Mutex::default(), refreshing: false.into() }
    }

    /// The name now, or `None` where no load balancer has such a listener.
    pub(super) async fn name(self: &std::sync::Arc<Self>) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((name, since)) = known else { return self.look().await };
        if since.elapsed() > FRESH && !self.refreshing.swap(true, std::sync::atomic::Ordering::AcqRel) {
            let this = std::sync::Arc::clone(self);
            tokio::spawn(async move {
                this.look().await;
                this.refreshing.store(false, std::sync::atomic::Ordering::Release);
            });
        }
        Some(name)
    }

    async fn look(&self) -> Option<String> {
        match self.cloud.balancer_with_listener(self.port).await {
            Ok(found) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                *known = found.clone().map(|name| (name, Instant::now()));
                found
            }
            // A question without an answer changes nothing: whoever was known stays known.
            Err(error) => {
                tracing::warn!("{error}");
                self.known.lock().unwrap_or_else(PoisonError::into_inner).clone().map(|(name, _)| name)
            }
        }
    }
}
