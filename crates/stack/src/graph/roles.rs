//! How each type of resource is drawn in a picture: as a box, as a frame around boxes, or as a part of another
//! resource.

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

pub(super) const VPC: &str = "AWS::EC2::VPC";
pub(super) const NAT: &str = "AWS::EC2::NatGateway";
pub(super) const ENDPOINT: &str = "AWS::EC2::VPCEndpoint";
pub(super) const SECURITY_GROUP: &str = "AWS::EC2::SecurityGroup";
pub(super) const BALANCER: &str = "AWS::ElasticLoadBalancingV2::LoadBalancer";
pub(super) const LISTENER: &str = "AWS::ElasticLoadBalancingV2::Listener";
pub(super) const TARGET_GROUP: &str = "AWS::ElasticLoadBalancingV2::TargetGroup";
pub(super) const CLUSTER: &str = "AWS::ECS::Cluster";
pub(super) const SERVICE: &str = "AWS::ECS::Service";
pub(super) const TASK: &str = "AWS::ECS::TaskDefinition";
pub(super) const FUNCTION: &str = "AWS::Lambda::Function";
pub(super) const CAPACITY: &str = "AWS::ApplicationAutoScaling::ScalableTarget";
pub(super) const SCALING: &str = "AWS::ApplicationAutoScaling::ScalingPolicy";
pub(super) const ALARM: &str = "AWS::CloudWatch::Alarm";
pub(super) const TOPIC: &str = "AWS::SNS::Topic";
pub(super) const REGISTRY: &str = "AWS::ECR::Repository";
pub(super) const BUCKET: &str = "AWS::S3::Bucket";
pub(super) const KEY: &str = "AWS::KMS::Key";
const FLOW_LOG: &str = "AWS::EC2::FlowLog";
const ROUTES: &str = "AWS::EC2::RouteTable";
const ATTACHMENT: &str = "AWS::EC2::VPCGatewayAttachment";
const ACL: &str = "AWS::WAFv2::WebACL";
const ACL_OF: &str = "AWS::WAFv2::WebACLAssociation";
const ACL_LOG: &str = "AWS::WAFv2::LoggingConfiguration";

const WATCHING: Role = Role::Together("Alarms", "CloudWatch and SNS");

/// How resources of this type are drawn. Unknown types, such as those that a user adds, are separate boxes.
pub(super) fn role(resource_type: &str) -> Role {
    match resource_type {
        "AWS::EC2::Subnet"
        | ROUTES
        | "AWS::EC2::Route"
        | "AWS::EC2::SubnetRouteTableAssociation"
        | "AWS::EC2::InternetGateway"
        | ATTACHMENT
        | FLOW_LOG => Role::Part(&[VPC, ROUTES, ATTACHMENT]),
        "AWS::EC2::EIP" => Role::Part(&[NAT]),
        NAT => Role::Together("NAT gateways", "EC2"),
        ENDPOINT => Role::Together("VPC endpoints", "EC2"),
        SECURITY_GROUP => Role::Part(&[BALANCER, ENDPOINT, FUNCTION, SERVICE]),
        "AWS::IAM::Role" => Role::Part(&[FUNCTION, FLOW_LOG, TASK]),
        "AWS::Logs::LogGroup" => Role::Part(&[FUNCTION, FLOW_LOG, ACL_LOG, TASK]),
        TASK | TARGET_GROUP | CAPACITY => Role::Part(&[SERVICE]),
        SCALING => Role::Part(&[CAPACITY]),
        "AWS::ElasticLoadBalancingV2::ListenerRule" => Role::Part(&[LISTENER]),
        "AWS::Lambda::EventInvokeConfig" => Role::Part(&[FUNCTION]),
        "AWS::S3::BucketPolicy" => Role::Part(&[BUCKET]),
        ACL_OF => Role::Part(&[BALANCER]),
        ACL => Role::Part(&[ACL_OF]),
        ACL_LOG => Role::Part(&[ACL]),
        ALARM
        | TOPIC
        | "AWS::SNS::TopicPolicy"
        | "AWS::CloudWatch::Dashboard"
        | "AWS::Events::Rule"
        | "AWS::Logs::MetricFilter" => WATCHING,
        _ => Role::Own,
    }
}

/// Types that watch metrics of other resources or control connections: their references are not drawn as lines.
pub(super) fn is_silent(resource_type: &str) -> bool {
    resource_type == SECURITY_GROUP || resource_type == SCALING || role(resource_type) == WATCHING
}
