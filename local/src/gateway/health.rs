//! `DescribeTargetHealth` with the health of the data plane; MiniStack reports every registered target as healthy.

use super::fault::answer;
use crate::balancer::{Described, HealthState};
use crate::http_client::Body;
use http::{Response, StatusCode};
use std::fmt::Write;

/// The response for the targets of a group.
pub(super) fn answer_targets(targets: &[Described]) -> Response<Body> {
    answer(StatusCode::OK, "text/xml", document(targets), None)
}

fn document(targets: &[Described]) -> String {
    let mut members = String::new();
    for target in targets {
        let health = &target.health;
        // Writing to a String cannot fail.
        let _ = write!(
            members,
            "<member><Target><Id>{}</Id><Port>{}</Port></Target><HealthCheckPort>{}</HealthCheckPort>\
             <TargetHealth><State>{}</State>",
            escape(&target.id),
            target.port,
            escape(&target.check_port),
            word(health.state)
        );
        if let Some(reason) = health.reason {
            let _ = write!(members, "<Reason>{reason}</Reason>");
        }
        if let Some(description) = &health.description {
            let _ = write!(members, "<Description>{}</Description>", escape(description));
        }
        members.push_str("</TargetHealth></member>");
    }
    format!(
        "<DescribeTargetHealthResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\">\
         <DescribeTargetHealthResult><TargetHealthDescriptions>{members}</TargetHealthDescriptions>\
         </DescribeTargetHealthResult><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>\
         </DescribeTargetHealthResponse>",
        uuid::Uuid::new_v4()
    )
}

fn word(state: HealthState) -> &'static str {
    match state {
        HealthState::Initial => "initial",
        HealthState::Healthy => "healthy",
        HealthState::Unhealthy => "unhealthy",
        HealthState::Unused => "unused",
        HealthState::Unavailable => "unavailable",
        HealthState::Draining => "draining",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balancer::Health;

    #[test]
    fn a_target_is_described_with_its_reason() {
        let health = Health {
            state: HealthState::Unhealthy,
            reason: Some("Target.ResponseCodeMismatch"),
            description: Some("Health checks failed with these codes: [500]".into()),
        };
        let target = Described { id: "127.64.0.1".into(), port: 8080, check_port: "8080".into(), health };
        let document = document(&[target]);
        let expected = "<TargetHealth><State>unhealthy</State><Reason>Target.ResponseCodeMismatch</Reason>\
                        <Description>Health checks failed with these codes: [500]</Description></TargetHealth>";
        assert!(document.contains(expected), "{document}");
    }
}
