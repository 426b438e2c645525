//! How data at rest is encrypted: with keys of AWS services, or with one customer managed key.

use super::part::{Marking, Serves};
use super::{Settings, tags};
use cfn_kit::resources::kms::Key;
use cfn_kit::resources::logs::LogGroup;
use cfn_kit::resources::s3::BucketEncryption;
use cfn_kit::{Arn, Expr, PolicyDocument, Principal, Ref, Stack, Statement, join, sub};

/// The customer managed key of the stack, if it has one.
pub struct Keys {
    key: Option<Ref<Key>>,
}

impl Keys {
    /// Adds the key to the stack, if the settings request one.
    pub fn new(stack: &mut Stack, settings: &Settings) -> Self {
        let stack = &mut stack.serving(Serves::Everyone);
        let key = settings.security.kms.then(|| {
            let key = stack.add(
                "Key",
                Key {
                    description: join(&["Data at rest of stack ".into(), Expr::stack_name()]),
                    enable_key_rotation: true,
                    pending_window_in_days: 7,
                    key_policy: PolicyDocument::new(policy()),
                    tags: tags("key"),
                },
            );
            stack.delete_with_stack(&key);
            key
        });
        Self { key }
    }

    /// The ARN of the key, if there is one.
    pub fn arn(&self) -> Option<Expr<Arn<Key>>> {
        self.key.as_ref().map(Ref::<Key>::arn)
    }

    /// How a bucket is encrypted.
    pub fn bucket(&self) -> BucketEncryption {
        self.arn().map_or_else(BucketEncryption::s3_managed, BucketEncryption::with)
    }

    /// A log group with the retention of the settings. It is deleted with the stack.
    pub fn log_group(&self, settings: &Settings, name: &str) -> LogGroup {
        LogGroup {
            retention_in_days: settings.logs.retention_days,
            log_group_name: None,
            kms_key_id: self.arn(),
            tags: tags(name),
        }
    }

    /// Adds a log group to the stack.
    pub fn add_log(&self, stack: &mut Stack, id: &str, log_group: LogGroup) -> Ref<LogGroup> {
        let log_group = stack.add(id, log_group);
        stack.delete_with_stack(&log_group);
        self.accept_without(stack, "CKV_AWS_158", &log_group);
        log_group
    }

    /// Records an accepted finding that there is no customer managed key, if there is none.
    pub fn accept_without<R>(&self, stack: &mut Stack, finding: &str, resource: &Ref<R>) {
        if self.key.is_none() {
            stack.accept(finding, resource, "there is no key of the account's own; with security.kms there is");
        }
    }

    /// Allows the use of the key, if there is one.
    pub fn grant_use(&self) -> Option<Statement> {
        self.key.as_ref().map(Ref::<Key>::grant_use)
    }
}

/// IAM policies of the account control the key; logs, alarms and events encrypt with it
/// (<https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>).
fn policy() -> Vec<Statement> {
    const LOGS: &[&str] = &[
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
    ];
    const PUBLISH: &[&str] = &["kms:Decrypt", "kms:GenerateDataKey"];
    // In a key policy, "*" means that key.
    let this_key = || vec!["*".into()];
    vec![
        Statement::allow("Account", &["kms:*"], this_key()).by(Principal::this_account()),
        Statement::allow("Logs", LOGS, this_key())
            .by(Principal::service(sub("logs.${AWS::Region}.amazonaws.com")))
            .only_if(
                "ArnLike",
                "kms:EncryptionContext:aws:logs:arn",
                sub("arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:*"),
            ),
        Statement::allow("Alarms", PUBLISH, this_key())
            .by(Principal::service("cloudwatch.amazonaws.com"))
            .only_from_this_account(),
        Statement::allow("Events", PUBLISH, this_key())
            .by(Principal::service("events.amazonaws.com"))
            .only_from_this_account(),
    ]
}
