//! Values that only the settings of this product use. Each type accepts only valid values; its error says what is
//! accepted.

use cfn_kit::resources::values::{DomainName, TagValue};
use model::request::StatusSet;

cfn_kit::checked_numbers! {
    /// Seconds that the load balancer may take to follow a cutover.
    pub struct SettleSeconds(u16): 1..=600;
}

cfn_kit::checked_texts! {
    /// The name of the HTTP header with the version, or an empty text if there is none.
    pub struct VersionHeader: |text| text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "a valid header name: at most 40 letters, digits, - and _, or \"\" if no header has the version";
    /// The status codes of a successful health check, as the load balancer reads them
    /// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-elasticloadbalancingv2-targetgroup-matcher.html>).
    pub struct HealthCodes: is_matcher,
        "status codes from 200 to 499 as a list or a range, such as 200,204 or 200-299";
    /// The status codes of a successful probe.
    pub struct ProbeCodes: |text| text.parse::<StatusSet>().is_ok(),
        "status codes from 100 to 599, such as 200-299,304";
    /// The name of a Cargo package.
    pub struct PackageName: |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "a valid package name: letters, digits, - and _";
    /// The name of an image, or the path of an archive with one; `{version}` in it stands for the version.
    pub struct ImageName: |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "an image name (registry.example/app:{version}) or the path of an archive (build/app-{version}.tar), without spaces";
    /// The label of a version.
    pub struct VersionLabel: |text| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
        "a valid version: 1 to 64 letters, digits, dots, hyphens and underscores";
    /// A repository on GitHub, with or without the ids that never change.
    pub struct RepositoryName: is_repository,
        "a GitHub repository (owner/name, or with both ids owner@123/name@456)";
    /// The issuer of OIDC tokens: its URL without `https://`.
    pub struct IssuerName: is_issuer,
        "an OIDC issuer without https://, such as gitlab.com";
    /// The subject of an OIDC token (its claim `sub`), without characters that have a meaning in a policy (`*`, `?`,
    /// `$`).
    pub struct TokenSubject: |text| (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"*?$".contains(&byte)),
        "a valid token subject: 1 to 512 characters, without spaces and without * ? $";
    /// The name of an environment or a branch on GitHub, without characters that have a meaning in a condition (`*`,
    /// `?`) or in the subject of a token (`:`).
    pub struct RefName: |text| (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte)),
        "a valid name: 1 to 255 letters, digits and . _ - /";
    /// The ARN of an OIDC provider.
    pub struct ProviderArn: |text| text.strip_prefix("arn:").is_some_and(|rest| rest.contains(":iam::") && rest.contains(":oidc-provider/")),
        "the ARN of an OIDC provider (arn:aws:iam::ACCOUNT:oidc-provider/token.actions.githubusercontent.com)";
    /// The key of a tag.
    pub struct TagKey: |text| (1..=128).contains(&text.len()) && is_tag_text(text) && !text.to_ascii_lowercase().starts_with("aws:") && !text.starts_with("bluegreen:") && text != "Name",
        "a valid tag key: at most 128 letters, digits, spaces and _.:/=+-@, not Name, and without the prefix aws: or bluegreen:";
}

/// Whether the load balancer accepts these codes: several values, or a range.
fn is_matcher(text: &str) -> bool {
    let code = |text: &str| text.parse().ok().filter(|code: &u16| (200..=499).contains(code) && text.len() == 3);
    match text.split_once('-') {
        Some((first, last)) => matches!((code(first), code(last)), (Some(first), Some(last)) if first < last),
        None => text.split(',').all(|part| code(part).is_some()),
    }
}

/// Whether these are labels of a domain name.
fn is_domain(text: &str) -> bool {
    DomainName::try_from(text).is_ok()
}

fn is_tag_text(text: &str) -> bool {
    TagValue::try_from(text).is_ok()
}

/// Whether this is `owner/name`, or `owner@ID/name@ID`.
fn is_repository(text: &str) -> bool {
    let Some((owner, name)) = text.split_once('/') else { return false };
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (owner.split_once('@'), name.split_once('@')) {
        (None, None) => is_name(owner) && is_name(name),
        (Some((owner, owner_id)), Some((name, name_id))) => {
            is_name(owner) && is_name(name) && is_number(owner_id) && is_number(name_id)
        }
        _ => false,
    }
}

/// Whether this is a host, or a host with a path.
fn is_issuer(text: &str) -> bool {
    let mut parts = text.split('/');
    parts.next().is_some_and(is_domain)
        && parts.all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        })
}

impl RepositoryName {
    /// The forms in which tokens name it: by its names, and if its ids are known, also by names and ids.
    pub fn in_tokens(&self) -> Vec<String> {
        if !self.0.contains('@') {
            return vec![self.0.clone()];
        }
        let names = self.0.split('/').map(|part| part.split('@').next().unwrap_or_default()).collect::<Vec<_>>();
        vec![names.join("/"), self.0.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_both_ids_or_none() {
        let in_tokens = |text| RepositoryName::try_from(text).map(|name: RepositoryName| name.in_tokens());
        assert_eq!(in_tokens("example/shop").unwrap(), ["example/shop"]);
        assert_eq!(in_tokens("example@1/shop@23").unwrap(), ["example/shop", "example@1/shop@23"]);
        for bad in ["shop", "example/*", "example@1/shop", "example/shop@1", "a@x/b@1", "a@/b@", "a@1@2/b@3", "a/b/c"] {
            assert!(in_tokens(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_issuer_is_a_host_with_a_path_if_need_be() {
        for good in ["gitlab.com", "agent.buildkite.com", "oidc.circleci.com/org/0a1b-2c"] {
            assert!(IssuerName::try_from(good).is_ok(), "{good}");
        }
        for bad in ["https://gitlab.com", "gitlab", "gitlab.com/", "*.gitlab.com", ""] {
            assert!(IssuerName::try_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_of_the_stack_itself_cannot_be_taken() {
        for bad in ["aws:x", "AWS:x", "bluegreen:stack", "Name", ""] {
            assert!(TagKey::try_from(bad).is_err(), "{bad}");
        }
        assert!(TagKey::try_from("team").is_ok());
    }
}
