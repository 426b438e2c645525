//! Two calls of EC2's Query API, made with the SDK's own machinery: signed, retried, through the same HTTP client as every
//! other call. EC2's SDK crate would take longer to compile than everything else here together.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html>.

use std::collections::BTreeMap;

use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_sdk_elasticloadbalancingv2::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_smithy_xml::decode::{Document, ScopedDecoder, XmlDecodeError, try_data};
use aws_types::SigningName;
use aws_types::region::{Region, SigningRegion};

use crate::cloud::Cloud;
use crate::error::{Error, Result};
use aws::Calling as _;

const VERSION: &str = "2016-11-15";

/// An availability zone, as `DescribeAvailabilityZones` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Zone {
    /// Its name in this account, such as `eu-central-1a`.
    pub(super) name: String,
    /// Its id in every account, such as `euc1-az2`.
    pub(super) id: String,
    /// Its state, such as `available`.
    pub(super) state: String,
    /// Its type: `availability-zone`, `local-zone` or `wavelength-zone`.
    pub(super) kind: String,
}

/// The zones of the region that the account can use.
pub(super) async fn zones(cloud: &Cloud) -> Result<Vec<Zone>> {
    let what = || format!("read the availability zones of {}", cloud.region());
    let answer = call(cloud, "DescribeAvailabilityZones", "", what).await?;
    read_zones(&answer).map_err(|source| Error::Unparsable { operation: what(), source })
}

/// The names of the zones that subnets are in, by the subnets' ids.
pub(super) async fn zones_of_subnets(cloud: &Cloud, ids: &[&str]) -> Result<BTreeMap<String, String>> {
    let what = || format!("read subnets {}", ids.join(", "));
    let parameters: Vec<String> = (1..).zip(ids).map(|(number, id)| format!("&SubnetId.{number}={id}")).collect();
    let answer = call(cloud, "DescribeSubnets", &parameters.concat(), what).await?;
    read_subnets(&answer).map_err(|source| Error::Unparsable { operation: what(), source })
}

/// Makes a call, and gives the XML of its answer. The parameters are encoded already.
async fn call(cloud: &Cloud, action: &'static str, parameters: &str, what: impl Fn() -> String) -> Result<String> {
    let config = &cloud.config;
    let (Some(http), Some(credentials), Some(region)) =
        (config.http_client(), config.credentials_provider(), config.region())
    else {
        return Err(Error::Unsigned { operation: what() });
    };
    let mut settings = Layer::new("ec2");
    settings.store_put(AuthSchemeOptionResolverParams::new(()));
    settings.store_put(SigV4OperationSigningConfig {
        region: Some(SigningRegion::from(Region::clone(region))),
        name: Some(SigningName::from_static("ec2")),
        ..SigV4OperationSigningConfig::default()
    });
    let signing = RuntimeComponentsBuilder::new("ec2")
        .with_auth_scheme(SigV4AuthScheme::new())
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
        .with_identity_cache(Some(IdentityCache::no_cache()))
        .with_identity_resolver(SCHEME_ID, credentials);
    let mut operation = Operation::builder()
        .service_name("ec2")
        .operation_name(action)
        .http_client(http)
        .endpoint_url(&endpoint(cloud).await?)
        .timeout_config(config.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled))
        .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
        .retry_classifier(HttpStatusCodeClassifier::default())
        .runtime_plugin(StaticRuntimePlugin::new().with_config(settings.freeze()).with_runtime_components(signing));
    if let Some(retries) = config.retry_config() {
        operation = operation.standard_retry(retries);
    }
    if let Some(sleep) = config.sleep_impl() {
        operation = operation.sleep_impl(sleep);
    }
    let operation = operation.serializer(request).deserializer(answer).build();
    Ok(operation.invoke(format!("Action={action}&Version={VERSION}{parameters}")).await.calling(what)?)
}

/// Where EC2 answers: what the AWS configuration names, or else the host beside the load balancer service's, which the
/// SDK knows for every partition (<https://docs.aws.amazon.com/general/latest/gr/ec2-service.html>).
async fn endpoint(cloud: &Cloud) -> Result<String> {
    if let Some(url) = cloud.config.endpoint_url() {
        return Ok(url.to_owned());
    }
    let lost = |source| Error::NoEndpoint { service: "EC2", region: cloud.region().to_owned(), source };
    let params = Params::builder().region(cloud.region()).set_use_fips(cloud.config.use_fips()).build();
    let params = params.map_err(|error| lost(error.into()))?;
    let beside = DefaultResolver::new().resolve_endpoint(&params).await.map_err(lost)?;
    Ok(beside.url().replacen("://elasticloadbalancing", "://ec2", 1))
}

fn request(form: String) -> std::result::Result<HttpRequest, aws_smithy_runtime_api::box_error::BoxError> {
    let mut request = HttpRequest::new(SdkBody::from(form));
    request.set_method("POST")?;
    request.set_uri("/")?;
    request.headers_mut().insert("content-type", "application/x-www-form-urlencoded");
    Ok(request)
}

fn answer(response: &HttpResponse) -> std::result::Result<String, OrchestratorError<ErrorMetadata>> {
    let text = String::from_utf8_lossy(response.body().bytes().unwrap_or_default()).into_owned();
    if response.status().is_success() {
        return Ok(text);
    }
    let error = read_error(&text).unwrap_or_default();
    Err(OrchestratorError::operation(error))
}

fn read_error(text: &str) -> std::result::Result<ErrorMetadata, XmlDecodeError> {
    let mut error = ErrorMetadata::builder();
    for mut fields in items(text, ["Errors", "Error"], &["Code", "Message"])? {
        error = error.code(take(&mut fields, "Code")).message(take(&mut fields, "Message"));
    }
    Ok(error.build())
}

fn read_zones(text: &str) -> std::result::Result<Vec<Zone>, XmlDecodeError> {
    let found = items(text, ["availabilityZoneInfo", "item"], &["zoneName", "zoneId", "zoneState", "zoneType"])?;
    let zone = |mut fields| Zone {
        name: take(&mut fields, "zoneName"),
        id: take(&mut fields, "zoneId"),
        state: take(&mut fields, "zoneState"),
        kind: take(&mut fields, "zoneType"),
    };
    Ok(found.into_iter().map(zone).collect())
}

fn read_subnets(text: &str) -> std::result::Result<BTreeMap<String, String>, XmlDecodeError> {
    let found = items(text, ["subnetSet", "item"], &["subnetId", "availabilityZone"])?;
    Ok(found.into_iter().map(|mut it| (take(&mut it, "subnetId"), take(&mut it, "availabilityZone"))).collect())
}

/// The fields of something in an answer.
type Fields = BTreeMap<String, String>;

fn take(fields: &mut Fields, name: &str) -> String {
    fields.remove(name).unwrap_or_default()
}

/// The wanted fields of every item of a list that is in the root of an answer.
fn items(text: &str, [list, item]: [&str; 2], wanted: &[&str]) -> std::result::Result<Vec<Fields>, XmlDecodeError> {
    let mut document = Document::new(text);
    let mut root = document.root_element()?;
    let mut items = Vec::new();
    while let Some(mut found) = root.next_tag() {
        if found.start_el().local() != list {
            continue;
        }
        while let Some(mut found) = found.next_tag() {
            if found.start_el().local() == item {
                items.push(fields(&mut found, wanted)?);
            }
        }
    }
    Ok(items)
}

fn fields(item: &mut ScopedDecoder<'_, '_>, wanted: &[&str]) -> std::result::Result<Fields, XmlDecodeError> {
    let mut fields = Fields::new();
    while let Some(mut field) = item.next_tag() {
        let name = field.start_el().local().to_owned();
        if wanted.contains(&name.as_str()) {
            fields.insert(name, try_data(&mut field)?.into_owned());
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_read_with_their_ids() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <DescribeAvailabilityZonesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
              <requestId>1</requestId>
              <availabilityZoneInfo>
                <item><zoneName>us-east-1a</zoneName><zoneState>available</zoneState><regionName>us-east-1</regionName>
                  <messageSet><item><message>m</message></item></messageSet>
                  <zoneId>use1-az6</zoneId><zoneType>availability-zone</zoneType></item>
                <item><zoneName>us-east-1b</zoneName><zoneState>impaired</zoneState><zoneId>use1-az1</zoneId>
                  <zoneType>availability-zone</zoneType></item>
              </availabilityZoneInfo>
            </DescribeAvailabilityZonesResponse>"#;
        let zones = read_zones(text).unwrap();
        let shown: Vec<_> = zones.iter().map(|it| (it.name.as_str(), it.id.as_str(), it.state.as_str())).collect();
        assert_eq!(shown, [("us-east-1a", "use1-az6", "available"), ("us-east-1b", "use1-az1", "impaired")]);
        assert!(zones.iter().all(|zone| zone.kind == "availability-zone"));
    }

    #[test]
    fn subnets_are_read_with_their_zones() {
        let text = "<DescribeSubnetsResponse><subnetSet><item><subnetId>subnet-1</subnetId>\
                    <availabilityZone>us-east-1b</availabilityZone><tagSet><item><key>Name</key></item></tagSet></item>\
                    </subnetSet></DescribeSubnetsResponse>";
        let expected = BTreeMap::from([("subnet-1".to_owned(), "us-east-1b".to_owned())]);
        assert_eq!(read_subnets(text).unwrap(), expected);
    }

    #[test]
    fn an_error_says_what_was_refused() {
        let text = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized</Message>\
                    </Error></Errors><RequestID>1</RequestID></Response>";
        let error = read_error(text).unwrap();
        assert_eq!((error.code(), error.message()), (Some("UnauthorizedOperation"), Some("You are not authorized")));
    }
}
