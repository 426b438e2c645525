// The stack of bluegreen as a CDK app: what `make bench` compares with. The same resources, written as a CDK user would,
// with the library's own constructs. Context: blueImage, greenImage, code ("bucket/key"), retention (days).
//
// Images and code are named, not built: with their assets the CDK would have to build and upload them too. Without them
// there are no services and no function, as in the first step of a deployment with bluegreen.

const cdk = require('aws-cdk-lib');
const ec2 = require('aws-cdk-lib/aws-ec2');
const ecr = require('aws-cdk-lib/aws-ecr');
const ecs = require('aws-cdk-lib/aws-ecs');
const elbv2 = require('aws-cdk-lib/aws-elasticloadbalancingv2');
const iam = require('aws-cdk-lib/aws-iam');
const lambda = require('aws-cdk-lib/aws-lambda');
const logs = require('aws-cdk-lib/aws-logs');
const s3 = require('aws-cdk-lib/aws-s3');

const PORT = 8080;
const COLORS = ['Blue', 'Green'];

class Bluegreen extends cdk.Stack {
  constructor(scope, id, props) {
    super(scope, id, props);
    const retention = Number(this.node.tryGetContext('retention') ?? 30);

    const vpc = new ec2.Vpc(this, 'Vpc', {
      ipAddresses: ec2.IpAddresses.cidr('10.0.0.0/16'),
      maxAzs: 2,
      natGateways: 0,
      subnetConfiguration: [{ name: 'public', subnetType: ec2.SubnetType.PUBLIC, cidrMask: 24, mapPublicIpOnLaunch: false }],
    });
    const open = new ec2.SecurityGroup(this, 'LoadBalancerSecurityGroup', { vpc, allowAllOutbound: false });
    const tasks = new ec2.SecurityGroup(this, 'TaskSecurityGroup', { vpc, allowAllOutbound: false });
    open.addIngressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(80), 'Users of prod');
    open.addIngressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(81), 'Users of dev');
    open.addEgressRule(ec2.Peer.ipv4('10.0.0.0/16'), ec2.Port.tcp(PORT), 'The tasks');
    tasks.addIngressRule(ec2.Peer.securityGroupId(open.securityGroupId), ec2.Port.tcp(PORT), 'The load balancer');
    tasks.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(443), 'Registry and logs');
    // Immutable from here: otherwise load balancer and services add rules of their own, as resources that the local
    // cloud does not know.
    const fixed = (name, group) => ec2.SecurityGroup.fromSecurityGroupId(this, name, group.securityGroupId, { mutable: false });
    const balancerGroup = fixed('FixedLoadBalancerSecurityGroup', open);
    const taskGroup = fixed('FixedTaskSecurityGroup', tasks);

    const bucket = new s3.Bucket(this, 'Bucket', {
      versioned: true,
      encryption: s3.BucketEncryption.S3_MANAGED,
      enforceSSL: true,
      blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
      objectOwnership: s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
      lifecycleRules: [{ noncurrentVersionExpiration: cdk.Duration.days(30), abortIncompleteMultipartUploadAfter: cdk.Duration.days(1) }],
      removalPolicy: cdk.RemovalPolicy.DESTROY,
    });
    const registry = new ecr.Repository(this, 'Registry', {
      imageScanOnPush: true,
      imageTagMutability: ecr.TagMutability.IMMUTABLE,
      encryption: ecr.RepositoryEncryption.KMS,
      emptyOnDelete: true,
      removalPolicy: cdk.RemovalPolicy.DESTROY,
    });

    const balancer = new elbv2.ApplicationLoadBalancer(this, 'LoadBalancer', {
      vpc,
      internetFacing: true,
      securityGroup: balancerGroup,
      dropInvalidHeaderFields: true,
      desyncMitigationMode: elbv2.DesyncMitigationMode.DEFENSIVE,
    });
    const groups = {};
    for (const color of COLORS) {
      groups[color] = new elbv2.ApplicationTargetGroup(this, `${color}TargetGroup`, {
        vpc,
        port: PORT,
        protocol: elbv2.ApplicationProtocol.HTTP,
        targetType: elbv2.TargetType.IP,
        deregistrationDelay: cdk.Duration.seconds(30),
        healthCheck: {
          path: '/healthz',
          interval: cdk.Duration.seconds(5),
          timeout: cdk.Duration.seconds(2),
          healthyThresholdCount: 2,
          unhealthyThresholdCount: 2,
          healthyHttpCodes: '200',
        },
      });
    }
    const listener = (name, port, color) => balancer.addListener(name, {
      port,
      protocol: elbv2.ApplicationProtocol.HTTP,
      open: false,
      defaultAction: elbv2.ListenerAction.forward([groups[color]]),
    });
    const prod = listener('ProdListener', 80, 'Green');
    const dev = listener('DevListener', 81, 'Blue');
    const rules = {};
    COLORS.forEach((color, index) => {
      rules[color] = new elbv2.ApplicationListenerRule(this, `Dev${color}Rule`, {
        listener: dev,
        priority: 10 * (index + 1),
        conditions: [elbv2.ListenerCondition.httpHeader('x-bluegreen-env', [color.toLowerCase()])],
        action: elbv2.ListenerAction.forward([groups[color]]),
      });
    });

    const cluster = new ecs.Cluster(this, 'Cluster', { vpc, containerInsightsV2: ecs.ContainerInsights.ENABLED });
    const assumedByTasks = () => new iam.ServicePrincipal('ecs-tasks.amazonaws.com', {
      conditions: {
        StringEquals: { 'aws:SourceAccount': this.account },
        ArnLike: { 'aws:SourceArn': `arn:${this.partition}:ecs:${this.region}:${this.account}:*` },
      },
    });
    const executionRole = new iam.Role(this, 'ExecutionRole', { assumedBy: assumedByTasks() });
    const taskRole = new iam.Role(this, 'TaskRole', { assumedBy: assumedByTasks() });
    registry.grantPull(executionRole);
    const services = {};
    for (const color of COLORS) {
      const log = new logs.LogGroup(this, `${color}LogGroup`, { retention, removalPolicy: cdk.RemovalPolicy.DESTROY });
      log.grantWrite(executionRole);
      const image = this.node.tryGetContext(`${color.toLowerCase()}Image`);
      if (!image) continue;
      const definition = new ecs.FargateTaskDefinition(this, `${color}TaskDefinition`, {
        family: `${this.stackName}-${color.toLowerCase()}`,
        cpu: 256,
        memoryLimitMiB: 512,
        executionRole,
        taskRole,
        runtimePlatform: { cpuArchitecture: ecs.CpuArchitecture.X86_64, operatingSystemFamily: ecs.OperatingSystemFamily.LINUX },
      });
      const linuxParameters = new ecs.LinuxParameters(this, `${color}Linux`, { initProcessEnabled: true });
      linuxParameters.dropCapabilities(ecs.Capability.ALL);
      definition.addContainer('app', {
        image: ecs.ContainerImage.fromRegistry(image),
        environment: { PORT: String(PORT) },
        portMappings: [{ containerPort: PORT }],
        readonlyRootFilesystem: true,
        stopTimeout: cdk.Duration.seconds(30),
        user: '65532:65532',
        linuxParameters,
        logging: ecs.LogDrivers.awsLogs({ logGroup: log, streamPrefix: 'app', mode: ecs.AwsLogDriverMode.NON_BLOCKING, maxBufferSize: cdk.Size.mebibytes(4) }),
      });
      services[color] = new ecs.FargateService(this, `${color}Service`, {
        cluster,
        taskDefinition: definition,
        desiredCount: 2,
        assignPublicIp: true,
        securityGroups: [taskGroup],
        vpcSubnets: { subnetType: ec2.SubnetType.PUBLIC },
        circuitBreaker: { enable: true, rollback: true },
        minHealthyPercent: 100,
        maxHealthyPercent: 200,
        healthCheckGracePeriod: cdk.Duration.seconds(30),
        enableECSManagedTags: true,
        propagateTags: ecs.PropagatedTagSource.SERVICE,
        platformVersion: ecs.FargatePlatformVersion.LATEST,
      });
      services[color].attachToApplicationTargetGroup(groups[color]);
      services[color].node.addDependency(prod, rules[color]);
    }

    const log = new logs.LogGroup(this, 'CutoverLogGroup', { retention, removalPolicy: cdk.RemovalPolicy.DESTROY });
    const role = new iam.Role(this, 'CutoverRole', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
    const allow = (actions, resources) => role.addToPolicy(new iam.PolicyStatement({ actions, resources }));
    allow(['elasticloadbalancing:ModifyListener'], [prod.listenerArn, dev.listenerArn]);
    allow(['elasticloadbalancing:DescribeListeners', 'elasticloadbalancing:DescribeTargetGroupAttributes', 'elasticloadbalancing:DescribeTargetHealth'], ['*']);
    allow(['ecs:DescribeServices'], [`arn:${this.partition}:ecs:${this.region}:${this.account}:service/${cluster.clusterName}/*`]);
    allow(['events:PutEvents'], [`arn:${this.partition}:events:${this.region}:${this.account}:event-bus/default`]);
    allow(['s3:GetObject', 's3:PutObject'], [bucket.arnForObjects('cutover/*')]);
    allow(['s3:ListBucket'], [bucket.bucketArn]);
    log.grantWrite(role);
    const code = this.node.tryGetContext('code');
    if (code) {
      const [codeBucket, ...key] = code.split('/');
      const optional = (color) => (services[color] ? { [`BLUEGREEN_${color.toUpperCase()}_SERVICE`]: services[color].serviceArn } : {});
      const handler = new lambda.Function(this, 'CutoverFunction', {
        code: lambda.Code.fromBucket(s3.Bucket.fromBucketName(this, 'CodeBucket', codeBucket), key.join('/')),
        handler: 'bootstrap',
        runtime: lambda.Runtime.PROVIDED_AL2023,
        architecture: lambda.Architecture.X86_64,
        memorySize: 512,
        timeout: cdk.Duration.minutes(15),
        role,
        logGroup: log,
        loggingFormat: lambda.LoggingFormat.JSON,
        environment: {
          BLUEGREEN_BLUE_TARGET_GROUP: groups.Blue.targetGroupArn,
          BLUEGREEN_GREEN_TARGET_GROUP: groups.Green.targetGroupArn,
          BLUEGREEN_BUCKET: bucket.bucketName,
          BLUEGREEN_CLUSTER: cluster.clusterName,
          BLUEGREEN_DEV_LISTENER: dev.listenerArn,
          BLUEGREEN_DEV_URL: `http://${balancer.loadBalancerDnsName}:81`,
          BLUEGREEN_EVENT_BUS: 'default',
          BLUEGREEN_PROBE_PATH: '/',
          BLUEGREEN_PROD_LISTENER: prod.listenerArn,
          BLUEGREEN_PROD_URL: `http://${balancer.loadBalancerDnsName}`,
          BLUEGREEN_STACK_NAME: this.stackName,
          BLUEGREEN_VERSION_HEADER: 'x-app-version',
          ...optional('Blue'),
          ...optional('Green'),
        },
      });
      handler.configureAsyncInvoke({ maxEventAge: cdk.Duration.seconds(60), retryAttempts: 0 });
    }

    const output = (name, value) => new cdk.CfnOutput(this, name, { value });
    output('BucketName', bucket.bucketName);
    output('ClusterName', cluster.clusterName);
    output('RegistryUri', registry.repositoryUri);
    output('ProdListenerArn', prod.listenerArn);
    output('DevListenerArn', dev.listenerArn);
    output('ProdUrl', `http://${balancer.loadBalancerDnsName}`);
    output('DevUrl', `http://${balancer.loadBalancerDnsName}:81`);
    for (const color of COLORS) {
      output(`${color}TargetGroupArn`, groups[color].targetGroupArn);
      if (services[color]) output(`${color}ServiceArn`, services[color].serviceArn);
    }
  }
}

const app = new cdk.App({ analyticsReporting: false });
// Without a bootstrap stack, as bluegreen needs none either: the template goes to CloudFormation in the call itself.
new Bluegreen(app, 'bench-cdk', { synthesizer: new cdk.BootstraplessSynthesizer() });
