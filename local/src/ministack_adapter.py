"""MiniStack with the extensions of the local cloud: written to its scratch directory and started instead of MiniStack.

It publishes the state of the load balancers as one document, so that a separate data plane can follow all changes (of the
API, CloudFormation, and ECS). It stores weighted forwards, which MiniStack drops. It rejects requests that AWS rejects and
MiniStack accepts. If a new ECS deployment replaces one that never became healthy, it stops the old tasks; MiniStack waits
without a limit. It passes on how tasks run, which MiniStack drops, and tells why tasks ended in the words of ECS. It must
not decide the target of a request.
"""

import asyncio
import contextvars
import json
import re
from urllib.parse import parse_qs, unquote, urlparse

from ministack.app import app as ministack
from ministack.services import alb, ecs, s3
from ministack.services.cloudformation import helpers, provisioners

PATH = "/_local-cloud/load-balancers"
# Interval for a waiting client to see changes that no API call caused.
LOOK_EVERY = 0.02
# Shorter than any timeout between the client and this adapter.
WAIT_AT_MOST = 20.0

_seen = {"version": 0, "text": ""}


def _records(store):
    """The records of a store, of every account and region, in the order of creation."""
    return [(key[-1], record) for key, record in list(store._data.items())]


def _attributes(store):
    """Attributes by the ARN of their resource."""
    return {arn: {a["Key"]: str(a["Value"]) for a in attributes} for arn, attributes in _records(store)}


def _state():
    balancers, groups, targets = _attributes(alb._lb_attrs), _attributes(alb._tg_attrs), dict(_records(alb._targets))
    return {
        "LoadBalancers": [dict(lb, Attributes=balancers.get(arn, {})) for arn, lb in _records(alb._lbs)],
        "Listeners": [listener for _, listener in _records(alb._listeners)],
        "Rules": [rule for _, rule in _records(alb._rules)],
        "TargetGroups": [
            dict(group, Attributes=groups.get(arn, {}), Targets=targets.get(arn, []))
            for arn, group in _records(alb._tgs)
        ],
    }


def _look():
    """The version of the state, which grows with every change, and the state as text."""
    text = json.dumps(_state(), default=str)
    if text != _seen["text"]:
        _seen.update(version=_seen["version"] + 1, text=text)
    return _seen["version"], _seen["text"]


async def _answer(scope, send):
    query = parse_qs(scope.get("query_string", b"").decode())
    after = int(query.get("after", ["-1"])[0])
    deadline = asyncio.get_running_loop().time() + WAIT_AT_MOST
    version, text = _look()
    while version == after and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_EVERY)
        version, text = _look()
    body = f'{{"Version":{version},"State":{text}}}'.encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _is_of_another_owner(scope):
    """Whether a request to S3 is for a bucket whose account differs from the expected bucket owner.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html
    """
    expected = dict(scope["headers"]).get(b"x-amz-expected-bucket-owner")
    owner = s3._bucket_owner_account(scope["path"].lstrip("/").split("/")[0])
    return expected is not None and owner is not None and expected.decode() != owner


async def _forbid(send):
    body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    headers = [(b"content-type", b"application/xml"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def app(scope, receive, send):
    """MiniStack with the path of the load balancer state, and a condition of S3 that MiniStack does not support."""
    if scope["type"] == "http" and scope["path"] == PATH:
        await _answer(scope, send)
    elif scope["type"] == "http" and _is_of_another_owner(scope):
        await _forbid(send)
    else:
        await ministack(scope, receive, send)


def _weight(given):
    return 1 if given in (None, "") else int(given)


def _forward(groups, stickiness):
    """The configuration of a forward action as Describe* returns it, or None if it names no group."""
    groups = [
        {"TargetGroupArn": group["TargetGroupArn"], "Weight": _weight(group.get("Weight"))}
        for group in groups
        if isinstance(group, dict) and group.get("TargetGroupArn")
    ]
    if not groups:
        return None
    stickiness = stickiness if isinstance(stickiness, dict) else {}
    enabled = str(stickiness.get("Enabled", "false")).lower() == "true"
    duration = stickiness.get("DurationSeconds")
    kept = {"Enabled": enabled}
    if duration:
        kept["DurationSeconds"] = int(duration)
    return {"TargetGroups": groups, "TargetGroupStickinessConfig": kept}


def _keep(action, forward):
    """Stores a forward with an action; an action with one group also has it under the older name, as on AWS."""
    if forward:
        action["ForwardConfig"] = forward
        if len(forward["TargetGroups"]) == 1:
            action["TargetGroupArn"] = forward["TargetGroups"][0]["TargetGroupArn"]
        else:
            action.pop("TargetGroupArn", None)
    return action


_parse_actions = alb._parse_actions
_action_xml = alb._action_xml
_listener_actions = provisioners._elbv2_listener_actions


def _parse_actions_with_weights(params, prefix="DefaultActions"):
    actions = _parse_actions(params, prefix)
    for number, action in enumerate(actions, start=1):
        base = f"{prefix}.member.{number}.ForwardConfig"
        groups = []
        while arn := alb._p(params, f"{base}.TargetGroups.member.{len(groups) + 1}.TargetGroupArn"):
            weight = alb._p(params, f"{base}.TargetGroups.member.{len(groups) + 1}.Weight")
            groups.append({"TargetGroupArn": arn, "Weight": weight})
        sticky = f"{base}.TargetGroupStickinessConfig"
        stickiness = {name: alb._p(params, f"{sticky}.{name}") for name in ("Enabled", "DurationSeconds")}
        _keep(action, _forward(groups, stickiness))
    return actions


def _listener_actions_with_weights(props, lb_arn, prop="DefaultActions"):
    actions = _listener_actions(props, lb_arn, prop)
    given = [action for action in props.get(prop) or [] if isinstance(action, dict)]
    for action, wanted in zip(actions, given):
        config = wanted.get("ForwardConfig")
        if isinstance(config, dict):
            _keep(action, _forward(config.get("TargetGroups") or [], config.get("TargetGroupStickinessConfig")))
    return actions


def _action_xml_with_weights(action):
    xml = _action_xml(action)
    forward = action.get("ForwardConfig")
    if forward is None and action.get("TargetGroupArn"):
        forward = _forward([{"TargetGroupArn": action["TargetGroupArn"]}], None)
    if not forward:
        return xml
    groups = "".join(
        f"<member><TargetGroupArn>{group['TargetGroupArn']}</TargetGroupArn><Weight>{group['Weight']}</Weight></member>"
        for group in forward["TargetGroups"]
    )
    kept = forward["TargetGroupStickinessConfig"]
    sticky = f"<Enabled>{str(kept['Enabled']).lower()}</Enabled>"
    if "DurationSeconds" in kept:
        sticky += f"<DurationSeconds>{kept['DurationSeconds']}</DurationSeconds>"
    return xml.removesuffix("</member>") + (
        f"<ForwardConfig><TargetGroups>{groups}</TargetGroups>"
        f"<TargetGroupStickinessConfig>{sticky}</TargetGroupStickinessConfig></ForwardConfig></member>"
    )


alb._parse_actions = _parse_actions_with_weights
alb._action_xml = _action_xml_with_weights
provisioners._elbv2_listener_actions = _listener_actions_with_weights


# Requests that AWS rejects: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateRule.html,
# API_DescribeRules.html and API_DeleteTargetGroup.html.
_create_rule = alb._create_rule
_describe_rules = alb._describe_rules
_delete_group = alb._delete_tg
_delete_group_of_stack = provisioners._elbv2_target_group_delete
_GROUP = "AWS::ElasticLoadBalancingV2::TargetGroup"


def _create_rule_once(params):
    """Creates a rule, unless the listener has a rule with this priority or the priority is not 1 to 50,000."""
    priority = alb._p(params, "Priority")
    if not (priority.isdigit() and 1 <= int(priority) <= 50_000):
        return alb._error("ValidationError", f"Priority '{priority}' must be between 1 and 50000")
    listener = alb._p(params, "ListenerArn")
    if any(r["ListenerArn"] == listener and str(r["Priority"]) == priority for r in alb._rules.values()):
        return alb._error("PriorityInUse", f"Priority '{priority}' is currently in use")
    return _create_rule(params)


def _describe_rules_that_exist(params):
    arns = alb._parse_member_list(params, "RuleArns")
    if bool(arns) == bool(alb._p(params, "ListenerArn")):
        return alb._error("ValidationError", "You must specify either listener ARN or rule ARNs")
    if missing := [arn for arn in arns if arn not in alb._rules]:
        return alb._error("RuleNotFound", f"One or more rules not found: {missing}")
    if not arns and alb._p(params, "ListenerArn") not in alb._listeners:
        return alb._error("ListenerNotFound", "One or more listeners not found")
    return _describe_rules(params)


def _is_used(group):
    """Whether a rule or a default action forwards to a target group."""
    actions = [a for r in alb._rules.values() for a in r["Actions"]]
    actions += [a for listener in alb._listeners.values() for a in listener.get("DefaultActions") or []]
    forwards = [a.get("TargetGroupArn") for a in actions]
    forwards += [g["TargetGroupArn"] for a in actions for g in (a.get("ForwardConfig") or {}).get("TargetGroups", [])]
    return group in forwards


def _in_use(group):
    return f"Target group '{group}' is currently in use by a listener or a rule"


def _delete_unused_group(params):
    group = alb._p(params, "TargetGroupArn")
    return alb._error("ResourceInUse", _in_use(group)) if _is_used(group) else _delete_group(params)


def _delete_unused_group_of_stack(physical_id, props):
    if _is_used(physical_id):
        raise ValueError(f"{_in_use(physical_id)} (Service: ElasticLoadBalancingV2, Status Code: 400)")
    _delete_group_of_stack(physical_id, props)


alb._ACTION_MAP["CreateRule"] = _create_rule_once
alb._ACTION_MAP["DescribeRules"] = _describe_rules_that_exist
alb._ACTION_MAP["DeleteTargetGroup"] = _delete_unused_group
provisioners._RESOURCE_HANDLERS[_GROUP]["delete"] = _delete_unused_group_of_stack


# CloudFormation sets the tags of a bucket:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-s3-bucket.html.
def _with_tags(handler):
    def handle(given, *rest):
        name, attributes = handler(given, *rest)
        # The new properties come before the stack name.
        tags = rest[-2].get("Tags") or []
        s3._bucket_tags[name] = {tag["Key"]: tag["Value"] for tag in tags}
        return name, attributes

    return handle


_BUCKET = provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]
_BUCKET.update(create=_with_tags(_BUCKET["create"]), update=_with_tags(_BUCKET["update"]))


# The URL of a template can name a version of the object, and encodes characters that a path cannot contain:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-using-console-create-stack-template.html.
_resolve_document = helpers._resolve_document


def _resolve_version(params, body_key, url_key, label):
    url = helpers._p(params, url_key)
    parsed = urlparse(url or "")
    bucket, _, key = unquote(parsed.path).lstrip("/").partition("/")
    if helpers._p(params, body_key) or not key:
        return _resolve_document(params, body_key, url_key, label)
    version = parse_qs(parsed.query).get("versionId", [None])[0]
    data = s3._get_object_data(bucket, key, version)
    if data is None:
        return None, helpers._error("ValidationError", f"{label} not found at {url}")
    if body_key == "TemplateBody" and len(data) > helpers.TEMPLATE_URL_MAX_BYTES:
        limit = helpers.TEMPLATE_URL_MAX_BYTES
        return None, helpers._error("ValidationError", f"Template may not exceed {limit} bytes in size.")
    return data.decode("utf-8"), None


helpers._resolve_document = _resolve_version


_reconcile_service_tasks = ecs._reconcile_service_tasks


def _never_came_up(service, key):
    """Tasks of replaced deployments that are still starting: as on AWS, they make room for the tasks of the new one."""
    with ecs.resource_lock("ecs-service", key):
        primary = ecs._primary_deployment(service)
        return [
            arn
            for arn, task in list(ecs._tasks.items())
            if task.get("group") == f"service:{service['serviceName']}"
            and task.get("clusterArn") == service.get("clusterArn")
            and task.get("lastStatus") in ecs._PRE_STOP_STATUSES
            and task.get("lastStatus") != "RUNNING"
            and ecs._deployment_for_task(service, task) is not primary
        ]


def _reconcile_with_room(cluster, key):
    service = ecs._services.get(key)
    if service and service["status"] == "ACTIVE" and ecs._primary_deployment(service):
        for arn in _never_came_up(service, key):
            ecs._stop_task({"task": arn, "cluster": cluster, "reason": "Deployment replaced"})
    _reconcile_service_tasks(cluster, key)


ecs._reconcile_service_tasks = _reconcile_with_room


# Settings of services and tasks that MiniStack drops or leaves in the case of CloudFormation:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ecs-service.html and
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-ecs-taskdefinition-containerdefinition.html.
_grace = contextvars.ContextVar("grace", default=None)
_create_service = ecs._create_service
_create_service_of_stack = provisioners._RESOURCE_HANDLERS["AWS::ECS::Service"]["create"]
_create_task_definition = provisioners._ecs_task_def_create
_normalize_container_defs = provisioners._normalize_container_defs
_register_metadata = ecs._register_metadata
_DEEP = ("linuxParameters", "ulimits", "healthCheck", "dependsOn", "secrets", "restartPolicy")


def _create_service_with_grace(data):
    seconds = _grace.get()
    return _create_service(data if seconds is None else dict(data, healthCheckGracePeriodSeconds=int(seconds)))


def _create_service_of_stack_with_grace(logical_id, props, stack_name):
    token = _grace.set(props.get("HealthCheckGracePeriodSeconds"))
    try:
        return _create_service_of_stack(logical_id, props, stack_name)
    finally:
        _grace.reset(token)


def _create_whole_task_definition(logical_id, props, stack_name):
    volumes = provisioners._pascal_to_camel(props.get("Volumes") or [])
    return _create_task_definition(logical_id, dict(props, Volumes=volumes), stack_name)


def _normalize_deep(definitions):
    for definition in (normalized := _normalize_container_defs(definitions)):
        for name in _DEEP:
            if name in definition:
                definition[name] = provisioners._pascal_to_camel(definition[name])
    return normalized


def _register_metadata_with_region(task_arn, cluster_arn, td, cdef, launch_type, env, *rest):
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-metadata.html
    env.setdefault("AWS_REGION", ecs.get_region())
    env.setdefault("AWS_DEFAULT_REGION", ecs.get_region())
    return _register_metadata(task_arn, cluster_arn, td, cdef, launch_type, env, *rest)


ecs._create_service = _create_service_with_grace
ecs._register_metadata = _register_metadata_with_region
provisioners._normalize_container_defs = _normalize_deep
provisioners._ecs_task_def_create = _create_whole_task_definition
provisioners._RESOURCE_HANDLERS["AWS::ECS::Service"]["create"] = _create_service_of_stack_with_grace
provisioners._RESOURCE_HANDLERS["AWS::ECS::TaskDefinition"]["create"] = _create_whole_task_definition


# Why a task ended, in the words of ECS, with the last words of the program as the reason of its container:
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html.
_fail_task_start = ecs._fail_task_start
_mark_task_stopped = ecs._mark_task_stopped
_EXITED = "Essential container in task exited"


def _told(reason):
    """The code of a reason, and what the engine says, without what docker-py says around it."""
    found = re.match(r'(\w+): .*?Server Error for \S+: [^(]* \("(.*)"\)$', reason, re.DOTALL)
    return found.groups() if found else (None, reason)


def _explain(task, told):
    """Sets the exit code and the reason of the container that a message of the engine is about; returns the reason of
    the task, or None if the program has not ended by itself."""
    exited = re.match(r"the app exited with code (\d+)(?:: (.*))?$", told, re.DOTALL)
    memory = told.startswith("OutOfMemoryError")
    if not exited and not memory:
        return None
    # The containers start in their order, and those that started have an id.
    container = task["containers"][len(task.get("_docker_ids") or [])]
    container["exitCode"] = 137 if memory else int(exited.group(1))
    words = told if memory else exited.group(2)
    if words:
        container["reason"] = words
    return _EXITED


def _fail_in_own_words(task, docker_client, reason):
    code, told = _told(reason)
    if code is None:
        return _fail_task_start(task, docker_client, reason)
    if code == "CannotPullContainerError":
        return _fail_task_start(task, docker_client, f"{code}: {told}")
    if told.startswith("failed ELB health checks"):
        return _fail_task_start(task, docker_client, f"Task {told}")
    explained = _explain(task, told)
    if explained is None:
        return _fail_task_start(task, docker_client, f"CannotStartContainerError: {told}")
    try:
        ecs._mark_task_stopped(task["taskArn"], task, explained, "EssentialContainerExited")
    finally:
        ecs._cleanup_task_resources(task, docker_client)


def _stop_in_own_words(task_arn, task, reason, stop_code, exit_code=None):
    if reason == "Essential container exited":
        reason = _EXITED
        for container, docker_id in zip(task.get("containers", []), task.get("_docker_ids") or []):
            state = _state_of(docker_id)
            if words := state.get("Error"):
                told = re.match(r"the app exited with code \d+(?:: (.*))?$", words, re.DOTALL)
                container["reason"] = (told.group(1) or "") if told else words
    return _mark_task_stopped(task_arn, task, reason, stop_code, exit_code=exit_code)


def _state_of(docker_id):
    try:
        return ecs._get_docker().containers.get(docker_id).attrs["State"]
    except Exception as error:
        ecs.logger.warning("cannot read the state of container %s: %s", docker_id, error)
        return {}


ecs._fail_task_start = _fail_in_own_words
ecs._mark_task_stopped = _stop_in_own_words
