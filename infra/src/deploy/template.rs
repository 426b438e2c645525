//! How a template gets to CloudFormation: in the call where it fits into one, else through the stack's bucket.

use aws_sdk_s3::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};

use crate::cloud::Cloud;
use crate::error::{Calling, Doing, Error, Result};
use crate::image::Digest;
use crate::stack::storage::template_key;

/// CloudFormation takes a template of this many bytes in a call.
pub const CALL_LIMIT: usize = 51_200;

/// CloudFormation takes a template of this many bytes from a bucket.
pub const BUCKET_LIMIT: usize = 1_000_000;

/// Whether a template fits into a call.
pub const fn fits_into_a_call(template: &str) -> bool {
    template.len() <= CALL_LIMIT
}

/// A template as a call takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Its text.
    Body(String),
    /// Where CloudFormation reads it, in the caller's name.
    Url(String),
}

impl Given {
    /// This template, put into the stack's bucket where it does not fit into a call. What is put there expires by itself.
    pub async fn of(cloud: &Cloud, bucket: &str, template: &str) -> Result<Self> {
        if fits_into_a_call(template) {
            return Ok(Self::Body(template.to_owned()));
        }
        let key = template_key(Digest::of(template.as_bytes()).hex());
        // Even where it is there already: its days begin anew.
        cloud
            .s3
            .put_object()
            .bucket(bucket)
            .key(&key)
            .content_type("application/json")
            .body(template.as_bytes().to_vec().into())
            .send()
            .await
            .calling(|| format!("upload the template to bucket {bucket}"))?;
        Ok(Self::Url(url(cloud.region(), bucket, &key).await?))
    }
}

/// The address of an object on S3 itself, whatever endpoint this command uses: it is CloudFormation that goes there.
async fn url(region: &str, bucket: &str, key: &str) -> Result<String> {
    let what = || format!("find the address of S3 in {region}");
    let params = Params::builder().region(region).bucket(bucket).force_path_style(true).build().doing(what)?;
    let endpoint = DefaultResolver::new().resolve_endpoint(&params).await;
    let endpoint = endpoint.map_err(|error| Error::failed(format!("cannot {}", what())).because(error))?;
    Ok(format!("{}/{key}", endpoint.url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_of_the_region_and_its_partition() {
        for (region, expected) in [
            ("us-east-1", "https://s3.us-east-1.amazonaws.com/bucket/templates/1.json"),
            ("eu-central-1", "https://s3.eu-central-1.amazonaws.com/bucket/templates/1.json"),
            ("us-gov-west-1", "https://s3.us-gov-west-1.amazonaws.com/bucket/templates/1.json"),
            ("cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn/bucket/templates/1.json"),
        ] {
            assert_eq!(url(region, "bucket", &template_key("1")).await.unwrap(), expected);
        }
    }
}
