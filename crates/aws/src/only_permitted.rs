//! Limits the clients of the function to the calls that its policy allows. Must not know what a call is for.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use model::permissions::CALLS;

/// Allows an SDK client only listed calls: any other call fails before it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnlyPermitted;

#[dyn_dispatch_hint]
impl Intercept for OnlyPermitted {
    fn name(&self) -> &'static str {
        "OnlyPermitted"
    }

    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let call = config.load::<Metadata>().map(|metadata| (metadata.service(), metadata.name()));
        check(call.unwrap_or_default()).map_err(Into::into)
    }
}

fn check((service, operation): (&str, &str)) -> Result<(), String> {
    if CALLS.iter().any(|call| call.operation == (service, operation)) {
        return Ok(());
    }
    Err(format!(
        "{service} {operation} is not in the list of the function's calls (permissions.rs), so its policy does not allow it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_makes_no_call_that_is_not_listed() {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .interceptor(OnlyPermitted)
            .build();
        let client = aws_sdk_s3::Client::from_conf(config);
        let error = client.delete_object().bucket("bucket").key("key").send().await.unwrap_err();
        let said = aws_sdk_s3::error::DisplayErrorContext(error).to_string();
        assert!(said.contains("S3 DeleteObject is not in the list"), "{said}");
        let error = client.get_object().bucket("bucket").key("key").send().await.unwrap_err();
        let said = aws_sdk_s3::error::DisplayErrorContext(error).to_string();
        assert!(!said.contains("is not in the list"), "{said}");
    }
}
