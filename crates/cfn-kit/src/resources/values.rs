//! Values of properties and settings. Each type accepts only what AWS accepts, so a port cannot be used as a number of
//! tasks, and a typing error in a CIDR is found before AWS reads it. The error says what is accepted.
//!
//! ```
//! use cfn_kit::resources::values::*;
//!
//! /// Whether a type accepts the first text and refuses the second one.
//! fn accepts<T: for<'a> TryFrom<&'a str>>(good: &str, bad: &str) -> bool {
//!     T::try_from(good).is_ok() && T::try_from(bad).is_err()
//! }
//!
//! assert!(accepts::<UrlPath>("/health", "health"));
//! assert!(accepts::<StackName>("shop", "1shop"));
//! assert!(accepts::<UserId>("1000:1000", "root"));
//! assert!(accepts::<RegionName>("eu-central-1", "Frankfurt"));
//! assert!(accepts::<ZoneName>("eu-central-1a", "eu-central-1"));
//! assert!(accepts::<Cidr>("10.0.0.0/16", "10.0.0.1/16"));
//! assert!(accepts::<VpcId>("vpc-0a1b2c3d", "subnet-0a1b2c3d"));
//! assert!(accepts::<SubnetId>("subnet-0a1b2c3d", "vpc-0a1b2c3d"));
//! assert!(accepts::<BucketName>("shop-logs", "Shop_Logs"));
//! assert!(accepts::<DomainName>("shop.example", "shop"));
//! assert!(accepts::<VariableName>("LOG_LEVEL", "LOG-LEVEL"));
//! assert!(accepts::<Email>("on-call@shop.example", "on-call"));
//! assert!(accepts::<TagValue>("web shop", "web\nshop"));
//! assert!(accepts::<ImageByDigest>(&format!("shop@sha256:{}", "0".repeat(64)), "shop:latest"));
//! let certificate = "arn:aws:acm:eu-central-1:123456789012:certificate/1";
//! let secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-a1b2c3";
//! assert!(accepts::<CertificateArn>(certificate, secret));
//! assert!(accepts::<SecretReference>(secret, "hunter2"));
//!
//! // A number in the program is checked when it is compiled, one from outside when it is read.
//! assert_eq!(Port::of(8080).get(), 8080);
//! assert_eq!(Port::try_from(0).unwrap_err().to_string(), "0 is not from 1 to 65535");
//! assert!(Count::try_from(0).is_err() && Amount::try_from(0).is_err() && Percent::try_from(101).is_err());
//! assert!(CheckInterval::try_from(301).is_err() && CheckTimeout::try_from(1).is_err());
//! assert!(CheckThreshold::try_from(1).is_err() && DrainSeconds::try_from(3601).is_err());
//! assert_eq!(GraceSeconds::MAX, 2_147_483);
//! assert!(RetentionDays::try_from(31).unwrap_err().to_string().contains("use one of 1, 3, 5, 7, 14, 30"));
//! ```

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{Expr, InvalidValue, Matched};

crate::checked_numbers! {
    /// A TCP port.
    pub struct Port(u16): 1..=65535;
    /// Tasks in an environment.
    pub struct Count(u16): 1..=1000;
    /// Seconds that a replaced task has to finish its requests.
    pub struct DrainSeconds(u16): 0..=3600;
    /// Seconds between two health checks of a target.
    pub struct CheckInterval(u16): 5..=300;
    /// Seconds until a health check without a response fails.
    pub struct CheckTimeout(u16): 2..=120;
    /// Consecutive checks that make a target healthy or unhealthy.
    pub struct CheckThreshold(u8): 2..=10;
    /// A percentage.
    pub struct Percent(u8): 1..=100;
    /// A number of things, at least one.
    pub struct Amount(u32): 1..=10_000_000;
    /// Seconds in which failed health checks of a new task are ignored.
    pub struct GraceSeconds(u32): 0..=2_147_483;
}

crate::checked_texts! {
    /// The path of a URL.
    pub struct UrlPath: |text| text.starts_with('/') && text.len() <= 1024 && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "a valid path: it must begin with / and have no spaces, with at most 1024 characters";
    /// The name of a CloudFormation stack.
    pub struct StackName: is_stack_name,
        "a valid stack name: a letter, then letters, digits and hyphens, at most 100 characters";
    /// An immutable image: its registry and repository, and the digest of its content.
    pub struct ImageByDigest: |text| text.split_once("@sha256:").is_some_and(|(name, digest)| is_image_name(name) && is_sha256(digest)),
        "an image with a digest (registry.example/app@sha256: and 64 lower-case hexadecimal digits)";
    /// A user of a container.
    pub struct UserId: |text| text.splitn(2, ':').all(|id| id.parse::<u32>().is_ok()),
        "a numeric user (uid or uid:gid), such as 65532:65532";
    /// An AWS region.
    pub struct RegionName: |text| text.split('-').count() >= 3 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
        "a region, such as eu-central-1";
    /// An IPv4 address range.
    pub struct Cidr: is_cidr,
        "an IPv4 range in CIDR notation, such as 203.0.113.0/24 (all bits after the prefix must be 0)";
    /// The id of a VPC.
    pub struct VpcId: |text| is_id(text, "vpc-"),
        "a VPC id, such as vpc-0123456789abcdef0";
    /// The id of a subnet.
    pub struct SubnetId: |text| is_id(text, "subnet-"),
        "a subnet id, such as subnet-0123456789abcdef0";
    /// The name of a bucket.
    pub struct BucketName: is_bucket_name,
        "a valid bucket name: 3 to 63 lower-case letters, digits, dots and hyphens, with a letter or digit at both ends";
    /// The ARN of a certificate of AWS Certificate Manager.
    pub struct CertificateArn: |text| is_arn(text, "acm", "certificate/"),
        "the ARN of a certificate (arn:aws:acm:REGION:ACCOUNT:certificate/ID)";
    /// A DNS name.
    pub struct DomainName: is_domain,
        "a domain name, such as www.example.com";
    /// An availability zone of a region.
    pub struct ZoneName: is_zone,
        "an availability zone, such as eu-central-1a";
    /// A reference to a secret that AWS stores.
    pub struct SecretReference: |text| is_arn(text, "secretsmanager", "secret:") || is_arn(text, "ssm", "parameter/"),
        "a reference to a secret: the ARN of a Secrets Manager secret (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME) or of an SSM parameter (arn:aws:ssm:REGION:ACCOUNT:parameter/NAME). The value itself must not be stored in this file";
    /// The name of an environment variable.
    pub struct VariableName: |text| text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
        "a valid name of an environment variable: letters, digits and _, without a digit at the beginning";
    /// An email address.
    pub struct Email: is_mail_address, "an email address";
    /// The value of a tag.
    pub struct TagValue: |text| text.len() <= 256 && is_tag_text(text),
        "a valid tag value: at most 256 letters, digits, spaces and _.:/=+-@";
}

fn is_image_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@')
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// CloudFormation's rule for stack names, except that this product allows at most 100 characters instead of 128
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html>).
fn is_stack_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.len() <= 100
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_cidr(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(prefix)) = (address.parse::<Ipv4Addr>(), prefix.parse::<u32>()) else { return false };
    let host_bits = u32::MAX.checked_shr(prefix).unwrap_or(0);
    prefix <= 32 && address.to_bits() & host_bits == 0
}

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|id| {
        (8..=17).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

fn is_bucket_name(text: &str) -> bool {
    let end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    (3..=63).contains(&bytes.len())
        && end(bytes.first())
        && end(bytes.last())
        && bytes.iter().all(|byte| end(Some(byte)) || b".-".contains(byte))
        && !text.contains("..")
}

fn is_mail_address(text: &str) -> bool {
    let parts = text.split_once('@');
    text.len() <= 254
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && parts.is_some_and(|(name, host)| !name.is_empty() && is_domain(&host.to_ascii_lowercase()))
}

/// Whether this is a region followed by the letter of a zone. Names of local zones are longer (us-west-2-lax-1a);
/// Fargate does not run in local zones.
fn is_zone(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((letter, region)) = bytes.split_last() else { return false };
    letter.is_ascii_lowercase()
        && region.last().is_some_and(u8::is_ascii_digit)
        && text.split('-').count() >= 3
        && text.split('-').rev().skip(1).all(|part| !part.is_empty() && part.bytes().all(|it| it.is_ascii_lowercase()))
}

/// Whether this is `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE` with this service and this prefix of the resource.
fn is_arn(text: &str, service: &str, resource: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [arn, partition, of, region, account, rest] = parts[..] else { return false };
    arn == "arn"
        && partition.starts_with("aws")
        && of == service
        && !region.is_empty()
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && rest.strip_prefix(resource).is_some_and(|name| !name.is_empty())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_tag_text(text: &str) -> bool {
    text.chars().all(|character| character.is_alphanumeric() || " _.:/=+-@".contains(character))
}

impl Port {
    /// The default port of HTTP.
    pub const HTTP: Self = Self(80);
    /// The default port of HTTPS.
    pub const HTTPS: Self = Self(443);
}

impl SecretReference {
    /// The service that stores the secret: `secretsmanager` or `ssm`.
    pub fn service(&self) -> &str {
        self.0.split(':').nth(2).unwrap_or_default()
    }

    /// The ARN for IAM policies: without the JSON key and version that a reference may end with
    /// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html>).
    pub fn resource(&self) -> &str {
        match self.0.match_indices(':').nth(6) {
            Some((end, _)) if self.service() == "secretsmanager" => &self.0[..end],
            _ => &self.0,
        }
    }
}

impl Matched for ZoneName {
    // The same rule as in `is_zone`.
    const PATTERN: &'static str = "^([a-z]+(-[a-z]+)+-[0-9]+[a-z])?$";
}

impl Cidr {
    /// Every address.
    pub fn anywhere() -> Self {
        Self("0.0.0.0/0".to_owned())
    }

    /// The `index`th /24 in this range, which is a /16.
    #[must_use]
    pub fn part(&self, index: u8) -> Self {
        let address = self.0.split('/').next().and_then(|address| address.parse::<Ipv4Addr>().ok());
        let [first, second, ..] = address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
        Self(format!("{first}.{second}.{index}.0/24"))
    }
}

impl From<Cidr> for Expr<Cidr> {
    fn from(range: Cidr) -> Self {
        Self::from_json(range.0.into())
    }
}

impl Matched for ImageByDigest {
    const PATTERN: &'static str = "^([^@ ]+@sha256:[0-9a-f]{64})?$";
}

impl From<ImageByDigest> for Expr<ImageByDigest> {
    fn from(image: ImageByDigest) -> Self {
        Self::from_json(image.0.into())
    }
}

/// Days to keep logs: the values that CloudWatch Logs accepts
/// (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct RetentionDays(u16);

impl RetentionDays {
    /// Every accepted value.
    pub const OFFERED: [u16; 22] =
        [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
    /// A day.
    pub const DAY: Self = Self(1);
    /// A month.
    pub const MONTH: Self = Self(30);
}

impl TryFrom<i64> for RetentionDays {
    type Error = InvalidValue;

    fn try_from(days: i64) -> Result<Self, InvalidValue> {
        Self::OFFERED.into_iter().find(|offered| i64::from(*offered) == days).map(Self).ok_or_else(|| {
            let offered: Vec<String> = Self::OFFERED.iter().map(u16::to_string).collect();
            InvalidValue::new(format!(
                "{days} days is not a retention of CloudWatch Logs; use one of {}",
                offered.join(", ")
            ))
        })
    }
}

impl From<RetentionDays> for i64 {
    fn from(days: RetentionDays) -> Self {
        days.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_no_bits_behind_its_prefix() {
        for good in ["0.0.0.0/0", "10.0.0.0/8", "203.0.113.7/32"] {
            assert!(Cidr::try_from(good).is_ok(), "{good}");
        }
        for bad in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "10.0.0.0", "::/0", ""] {
            assert!(Cidr::try_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_a_reference_and_never_a_value() {
        for good in [
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-a1b2c3",
            "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/app/key",
        ] {
            assert!(SecretReference::try_from(good).is_ok(), "{good}");
        }
        for bad in ["hunter2", "arn:aws:s3:::bucket", "arn:aws:ssm:eu-central-1:123:parameter/x"] {
            assert!(SecretReference::try_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_zone_is_a_region_and_a_letter() {
        for good in ["eu-central-1a", "us-gov-west-1b", "ap-northeast-1d"] {
            assert!(ZoneName::try_from(good).is_ok(), "{good}");
        }
        for bad in ["eu-central-1", "euc1-az1", "us-west-2-lax-1a", "a", "", "eu--1a"] {
            assert!(ZoneName::try_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_say_their_limits() {
        assert_eq!(Port::try_from(0).unwrap_err().to_string(), "0 is not from 1 to 65535");
        assert_eq!(CheckInterval::try_from(5).map(CheckInterval::get), Ok(5));
    }
}
