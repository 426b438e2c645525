//! How each type of resource is drawn in a picture: as a box, as a frame around boxes, or as a part of another
//! resource.

use cfn_kit::Resource as _;
use cfn_kit::resources::{autoscaling, cloudwatch, ec2, ecr, ecs, elbv2, events, iam, kms, lambda, logs, s3, sns, waf};

/// How a type is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A separate box.
    Own,
    /// All resources of the type, or of several, are one box with this title, of this service.
    Together(&'static str, &'static str),
    /// Part of the nearest resource of the first of these types that exists: one that refers to it, or that it refers
    /// to.
    Part(&'static [&'static str]),
}

pub(super) const VPC: &str = ec2::Vpc::TYPE;
pub(super) const NAT: &str = ec2::NatGateway::TYPE;
pub(super) const ENDPOINT: &str = ec2::VpcEndpoint::TYPE;
pub(super) const SECURITY_GROUP: &str = ec2::SecurityGroup::TYPE;
pub(super) const BALANCER: &str = elbv2::LoadBalancer::TYPE;
pub(super) const LISTENER: &str = elbv2::Listener::TYPE;
pub(super) const TARGET_GROUP: &str = elbv2::TargetGroup::TYPE;
pub(super) const CLUSTER: &str = ecs::Cluster::TYPE;
pub(super) const SERVICE: &str = ecs::Service::TYPE;
pub(super) const TASK: &str = ecs::TaskDefinition::TYPE;
pub(super) const FUNCTION: &str = lambda::Function::TYPE;
pub(super) const CAPACITY: &str = autoscaling::ScalableTarget::TYPE;
pub(super) const SCALING: &str = autoscaling::ScalingPolicy::TYPE;
pub(super) const ALARM: &str = cloudwatch::Alarm::TYPE;
pub(super) const TOPIC: &str = sns::Topic::TYPE;
pub(super) const REGISTRY: &str = ecr::Repository::TYPE;
pub(super) const BUCKET: &str = s3::Bucket::TYPE;
pub(super) const KEY: &str = kms::Key::TYPE;
const FLOW_LOG: &str = ec2::FlowLog::TYPE;
const ROUTES: &str = ec2::RouteTable::TYPE;
const ATTACHMENT: &str = ec2::VpcGatewayAttachment::TYPE;
pub(super) const ACL: &str = waf::WebAcl::TYPE;
const ACL_OF: &str = waf::WebAclAssociation::TYPE;
const ACL_LOG: &str = waf::LoggingConfiguration::TYPE;

const WATCHING: Role = Role::Together("Alarms", "CloudWatch and SNS");

/// How resources of this type are drawn. Unknown types, such as those that a user adds, are separate boxes.
pub(super) fn role(resource_type: &str) -> Role {
    match resource_type {
        ec2::Subnet::TYPE
        | ROUTES
        | ec2::Route::TYPE
        | ec2::SubnetRouteTableAssociation::TYPE
        | ec2::InternetGateway::TYPE
        | ATTACHMENT
        | FLOW_LOG => Role::Part(&[VPC, ROUTES, ATTACHMENT]),
        ec2::Eip::TYPE => Role::Part(&[NAT]),
        NAT => Role::Together("NAT gateways", "EC2"),
        ENDPOINT => Role::Together("VPC endpoints", "EC2"),
        SECURITY_GROUP => Role::Part(&[BALANCER, ENDPOINT, FUNCTION, SERVICE]),
        iam::Role::TYPE => Role::Part(&[FUNCTION, FLOW_LOG, TASK]),
        logs::LogGroup::TYPE => Role::Part(&[FUNCTION, FLOW_LOG, ACL_LOG, TASK]),
        TASK | TARGET_GROUP | CAPACITY => Role::Part(&[SERVICE]),
        SCALING => Role::Part(&[CAPACITY]),
        elbv2::ListenerRule::TYPE => Role::Part(&[LISTENER]),
        lambda::EventInvokeConfig::TYPE => Role::Part(&[FUNCTION]),
        s3::BucketPolicy::TYPE => Role::Part(&[BUCKET]),
        ACL_OF => Role::Part(&[BALANCER]),
        ACL => Role::Part(&[ACL_OF]),
        ACL_LOG => Role::Part(&[ACL]),
        ALARM
        | TOPIC
        | sns::TopicPolicy::TYPE
        | cloudwatch::Dashboard::TYPE
        | events::Rule::TYPE
        | logs::MetricFilter::TYPE => WATCHING,
        _ => Role::Own,
    }
}

/// Types that watch metrics of other resources or control connections: their references are not drawn as lines.
pub(super) fn is_silent(resource_type: &str) -> bool {
    resource_type == SECURITY_GROUP || resource_type == SCALING || role(resource_type) == WATCHING
}
