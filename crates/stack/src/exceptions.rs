//! Accepted findings of template checkers, each with its reason, recorded in the template.
//!
//! An option that removes the cause also removes the exception. With every option on, only those of the redirect
//! remain, and one of the bucket for access logs if the stack creates it.

use super::network::Network;
use super::{Settings, Watched};
use cfn_kit::Stack;

const NO_CERTIFICATE: &str = "there is no certificate; with https.certificate this listener speaks HTTPS";
const NO_LOG: &str = "there is no log bucket; with logs.access or logs.access_bucket there is";
const REDIRECT: &str = "answers only with a redirect to HTTPS";

/// Records every exception of this stack.
pub(super) fn declare(stack: &mut Stack, settings: &Settings, watched: &Watched<'_>, network: &Network) {
    let balancer = watched.balancer;
    if !settings.has_https() {
        for listener in [&balancer.prod, &balancer.dev] {
            stack.accept("CKV_AWS_2", listener, NO_CERTIFICATE);
            stack.accept("CKV_AWS_103", listener, NO_CERTIFICATE);
        }
        let public =
            settings.prod_port().get() == 80 || (settings.dev_port().get() == 80 && !settings.dev_is_restricted());
        if public {
            stack.accept(
                "CKV_AWS_260",
                &network.balancer_group,
                "port 80 is where users of a plain-HTTP service come in",
            );
        }
    }
    if let Some(redirect) = &balancer.redirect {
        stack.accept("CKV_AWS_2", redirect, REDIRECT);
        stack.accept("CKV_AWS_103", redirect, REDIRECT);
        stack.accept("CKV_AWS_260", &network.balancer_group, "port 80 redirects to HTTPS");
    }
    if !settings.has_access_log() {
        stack.accept("CKV_AWS_91", &balancer.load_balancer, NO_LOG);
        stack.accept("CKV_AWS_18", watched.bucket, NO_LOG);
    }
    let function = &watched.cutover.function;
    if network.function.is_none() {
        let reason =
            "it reaches AWS and the load balancer by their public names; with network.tasks = \"nat\" it is inside";
        stack.accept("CKV_AWS_117", function, reason);
    }
    if !settings.security.kms {
        stack.accept(
            "CKV_AWS_173",
            function,
            "its environment holds names and no secrets; with security.kms it is encrypted",
        );
    }
    if settings.cutover.reserved_concurrency.is_none() {
        let reason = "a lease lets one cutover run at a time, and new accounts have no concurrency to reserve";
        stack.accept("CKV_AWS_115", function, reason);
    }
    if !settings.has_alarms() {
        let reason = "whoever invokes it follows its record and sees that nothing began; with alarms they are told";
        stack.accept("CKV_AWS_116", function, reason);
    }
}
