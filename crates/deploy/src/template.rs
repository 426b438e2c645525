//! How a template gets to CloudFormation: in the call if it fits into one, else through the stack's bucket.

use aws_sdk_s3::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use oci_image::Digest;

use cfn_kit::limits::CALL_LIMIT;

use crate::cloud::Cloud;
use crate::error::{Error, Result};
use aws::Calling as _;
use stack::storage::template_key;

/// Whether a template fits into a call.
pub const fn fits_into_a_call(template: &str) -> bool {
    template.len() <= CALL_LIMIT
}

/// A template as a call takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Its text.
    Body(String),
    /// From where CloudFormation reads it, with the permissions of the caller.
    Url(String),
}

impl Given {
    /// This template, uploaded to the stack's bucket if it does not fit into a call. What is uploaded expires by itself.
    ///
    /// Its key contains the caller's id, so that a policy can permit a caller to write only there, and
    /// CloudFormation reads the version that was written, so that nobody can replace it in between.
    pub async fn of(cloud: &Cloud, bucket: &str, template: &str) -> Result<Self> {
        if fits_into_a_call(template) {
            return Ok(Self::Body(template.to_owned()));
        }
        let key = template_key(&caller(cloud).await?, Digest::of(template.as_bytes()).hex());
        // Even if it exists already: it expires later then.
        let written = cloud
            .s3
            .put_object()
            .bucket(bucket)
            .set_expected_bucket_owner(cloud.account())
            .key(&key)
            .content_type("application/json")
            .body(template.as_bytes().to_vec().into())
            .send()
            .await
            .calling(|| format!("upload the template to bucket {bucket}"))?;
        Ok(Self::Url(url(cloud.region(), bucket, &key, written.version_id()).await?))
    }
}

/// The id that policies know as `aws:userid`.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>
async fn caller(cloud: &Cloud) -> Result<String> {
    let sts = aws_sdk_sts::Client::new(&cloud.config);
    let answer = sts.get_caller_identity().send().await.calling(|| "read the identity of the caller".to_owned())?;
    answer.user_id.ok_or(Error::NoCaller)
}

/// The address of a version of an object on S3 itself, whatever endpoint this command uses: it is CloudFormation that
/// reads it. In a bucket without versions there is only the object.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-using-console-create-stack-template.html>
async fn url(region: &str, bucket: &str, key: &str, version: Option<&str>) -> Result<String> {
    let lost = |source| Error::NoEndpoint { service: "S3", region: region.to_owned(), source };
    let params = Params::builder().region(region).bucket(bucket).force_path_style(true).build();
    let params = params.map_err(|error| lost(error.into()))?;
    let endpoint = DefaultResolver::new().resolve_endpoint(&params).await.map_err(lost)?;
    let query = version.map_or_else(String::new, |version| format!("?versionId={}", encoded(version)));
    Ok(format!("{}/{}{query}", endpoint.url(), encoded(key)))
}

/// A text as it stands in an address. What may stand there as it is does, as in the ids of callers and versions.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~:@=,".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_of_the_region_and_its_partition() {
        let key = template_key("AROA1:me@example.com", "1");
        for (region, host) in [
            ("us-east-1", "s3.us-east-1.amazonaws.com"),
            ("eu-central-1", "s3.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", "s3.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
        ] {
            let expected = format!("https://{host}/bucket/templates/AROA1:me@example.com/1.json?versionId=a_b.c");
            assert_eq!(url(region, "bucket", &key, Some("a_b.c")).await.unwrap(), expected);
        }
        let without = url("us-east-1", "bucket", &key, None).await.unwrap();
        assert!(without.ends_with("/1.json"), "{without}");
    }

    #[test]
    fn what_an_address_would_read_otherwise_is_encoded() {
        assert_eq!(encoded("AROA1:a+b c&d"), "AROA1:a%2Bb%20c%26d");
    }
}
