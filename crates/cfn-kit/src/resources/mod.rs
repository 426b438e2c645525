//! CloudFormation resource types, one file per AWS service.
//!
//! Each type is a struct of its properties with CloudFormation's names, so a typing error does not compile. The values
//! of `Ref` and `Fn::GetAtt` are methods with a name and a type on the `Ref` of the type.

pub mod autoscaling;
pub mod cloudwatch;
pub mod ec2;
pub mod ecr;
pub mod ecs;
pub mod elbv2;
pub mod events;
pub mod iam;
pub mod kms;
pub mod lambda;
pub mod logs;
pub mod s3;
pub mod schema;
pub mod sns;
pub mod values;
pub mod waf;
