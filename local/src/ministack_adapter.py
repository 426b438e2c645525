"""MiniStack with the extensions of the local cloud: written to its scratch directory and started instead of MiniStack.

It publishes the state of the load balancers as one document, so that a separate data plane can follow all changes (of the
API, CloudFormation, and ECS). It stores what MiniStack drops: weighted forwards, protocol versions, lists of certificates. It rejects requests that AWS rejects and
MiniStack accepts. If a new ECS deployment replaces one that never became healthy, it stops the old tasks; MiniStack waits
without a limit. It passes on how tasks run, which MiniStack drops, and tells why tasks ended in the words of ECS. It must
not decide the target of a request.
"""

import asyncio
import base64
import collections
import contextlib
import contextvars
import functools
import hashlib
import hmac
import http.server
import json
import os
import queue
import re
import secrets
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

from ministack.app import app as ministack
from ministack.core import lambda_runtime
from ministack.services import acm, alb, ecr, ecs, imds, lambda_svc, s3
from ministack.services.cloudformation import helpers, provisioners

PATH = "/_local-cloud/load-balancers"
# Interval for a waiting client to see changes that no function below announces. There is none that we know of.
LOOK_EVERY = 1.0
# Shorter than any timeout between the client and this adapter.
WAIT_AT_MOST = 20.0

_seen = {"version": 0, "text": ""}
# The event loop and the event of each waiting client.
_waiting = set()


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
        "Listeners": [
            dict(listener, Certificates=listener.get("Certificates", []) + _more_certificates.get(arn, []))
            for arn, listener in _records(alb._listeners)
        ],
        # MiniStack does not read the names of an imported certificate.
        "Certificates": [
            {"CertificateArn": arn, "Names": [one["DomainName"], *one.get("SubjectAlternativeNames", [])]}
            for arn, one in _records(acm._certificates)
            if one.get("Type") != "IMPORTED"
        ],
        "Rules": [rule for _, rule in _records(alb._rules)],
        "TargetGroups": [
            dict(group, Attributes=groups.get(arn, {}), Targets=targets.get(arn, []))
            for arn, group in _records(alb._tgs)
        ],
    }


# The certificate list of each listener, without the default certificate.
_more_certificates = {}


def _look():
    """The version of the state, which grows with every change, and the state as text."""
    text = json.dumps(_state(), default=str)
    if text != _seen["text"]:
        _seen.update(version=_seen["version"] + 1, text=text)
    return _seen["version"], _seen["text"]


def _announcing(function):
    """A function that changes the load balancers, from any thread: waiting clients look when it ends."""

    @functools.wraps(function)
    def change(*given, **named):
        try:
            return function(*given, **named)
        finally:
            for loop, changed in list(_waiting):
                loop.call_soon_threadsafe(changed.set)

    return change


async def _answer(scope, send):
    query = parse_qs(scope.get("query_string", b"").decode())
    after = int(query.get("after", ["-1"])[0])
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    deadline = loop.time() + WAIT_AT_MOST
    waiter = (loop, changed)
    _waiting.add(waiter)
    try:
        version, text = _look()
        while version == after and loop.time() < deadline:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), LOOK_EVERY)
            changed.clear()
            version, text = _look()
    finally:
        _waiting.discard(waiter)
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


def _with_body(body, receive):
    """A `receive` that returns a body that was already read."""
    rest = [{"type": "http.request", "body": body, "more_body": False}]

    async def again():
        return rest.pop() if rest else await receive()

    return again


async def _read(receive):
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _is_invocation(scope):
    return scope["method"] == "POST" and scope["path"].endswith("/invocations") and "/functions/" in scope["path"]


def _is_no_event(body):
    """Whether a payload is not JSON. MiniStack invokes the function with `{}` in its place; AWS refuses it.

    https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
    """
    try:
        json.loads(body or b"{}")
    except ValueError:
        return True
    return False


async def _refuse_event(send):
    body = b'{"Type":"User","message":"Could not parse request body into json"}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-amzn-errortype", b"InvalidRequestContentException"),
    ]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def app(scope, receive, send):
    """MiniStack with the path of the load balancer state, and conditions that MiniStack does not support."""
    if scope["type"] == "http" and scope["path"] == PATH:
        await _answer(scope, send)
    elif scope["type"] == "http" and _is_of_another_task(scope):
        await _forbid(send)
    elif scope["type"] == "http" and _is_of_another_owner(scope):
        await _forbid(send)
    elif scope["type"] == "http" and _is_invocation(scope):
        body = await _read(receive)
        if _is_no_event(body):
            await _refuse_event(send)
        else:
            await ministack(scope, _with_body(body, receive), send)
    else:
        await ministack(scope, receive, send)


# The keys of functions and tasks. The gateway recognizes them by the secret of this instance (`access.rs`).
_SECRET = Path(__file__).with_name("secret").read_text().encode()
_HEX_OF_AN_ID = 32


def _derive(purpose):
    return hmac.new(_SECRET, purpose.encode(), hashlib.sha256).hexdigest()


def _issue(letter):
    """A new access key: id and secret."""
    begin = f"LC{letter}{secrets.token_hex(_HEX_OF_AN_ID // 2).upper()}"
    key = begin + _derive(f"id {begin}").upper()[:_HEX_OF_AN_ID]
    return key, _derive(f"secret {key}")


def _credentials_of_function(config):
    key, secret = _issue("F")
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": ""}


lambda_runtime.execution_credentials = _credentials_of_function
lambda_svc.execution_credentials = _credentials_of_function


# A task proves itself with a token in its environment:
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html.
_TASKS_KNOWN = 10_000
_task_tokens = collections.OrderedDict()
_register_metadata = ecs._register_metadata


def _register_metadata_with_token(task_arn, cluster_arn, td, cdef, launch_type, env, *rest):
    registered = _register_metadata(task_arn, cluster_arn, td, cdef, launch_type, env, *rest)
    path = urlparse(env["AWS_CONTAINER_CREDENTIALS_FULL_URI"]).path
    _task_tokens[path] = env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    while len(_task_tokens) > _TASKS_KNOWN:
        _task_tokens.popitem(last=False)
    return registered


def _is_of_another_task(scope):
    """Whether a request is for the credentials of a task, without the token of that task."""
    if not scope["path"].startswith("/v2/credentials"):
        return False
    token = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    own = _task_tokens.get(scope["path"])
    return own is None or not hmac.compare_digest(token.encode(), own.encode())


_task_credentials = imds._ecs_task_credentials_doc


def _credentials_of_task():
    key, secret = _issue("C")
    return dict(_task_credentials(), AccessKeyId=key, SecretAccessKey=secret)


ecs._register_metadata = _register_metadata_with_token
imds._ecs_task_credentials_doc = _credentials_of_task


# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
def _authorization_token(data):
    token = base64.b64encode(f"AWS:{_derive('registry')}".encode()).decode()
    host = f"https://{ecr.get_account_id()}.dkr.ecr.{ecr.get_region()}.amazonaws.com"
    expires = int(time.time()) + 43200
    return ecr.json_response(
        {"authorizationData": [{"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": host}]}
    )


ecr._get_authorization_token = _authorization_token


# Every function has an HTTP server on loopback from which its process takes events. Only processes of this user may use
# it, and no web page.
def _user_of(address):
    """The user of the process at the other end of a connection, from the table of the kernel, or None."""
    host, port = address[:2]
    wanted = bytes(reversed([int(part) for part in host.split(".")])).hex().upper() + f":{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            fields = line.split()
            if fields[1] == wanted:
                return int(fields[7])
    return None


_parse_request = http.server.BaseHTTPRequestHandler.parse_request


def _parse_own_request(handler):
    if not _parse_request(handler):
        return False
    host = "{}:{}".format(*handler.server.server_address[:2])
    browser = any(name.lower() == "origin" or name.lower().startswith("sec-fetch-") for name in handler.headers)
    if browser or handler.headers.get_all("host") != [host] or _user_of(handler.client_address) != os.geteuid():
        handler.close_connection = True
        handler.send_error(403, "Only the function may use this address")
        return False
    return True


http.server.BaseHTTPRequestHandler.parse_request = _parse_own_request


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


# The protocol version of a target group and the codes of its gRPC health check, which MiniStack drops:
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html and
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html.
_create_group = alb._create_tg
_modify_group = alb._modify_tg
_group_xml = alb._tg_xml
_create_group_of_stack = provisioners._elbv2_target_group_create
_update_group_of_stack = provisioners._elbv2_target_group_update
_VERSIONS = ("HTTP1", "HTTP2", "GRPC")


def _group_xml_with_version(group):
    xml = _group_xml(group)
    code = group["Matcher"].get("GrpcCode")
    if code:
        xml = re.sub(r"<Matcher>.*</Matcher>", f"<Matcher><GrpcCode>{alb._esc(code)}</GrpcCode></Matcher>", xml)
    version = group.get("ProtocolVersion", "HTTP1")
    return xml.removesuffix("</member>") + f"<ProtocolVersion>{version}</ProtocolVersion></member>"


def _set_version(group, version, path, code):
    group["ProtocolVersion"] = version
    if version == "GRPC":
        group["HealthCheckPath"] = path or "/AWS.ALB/healthcheck"
        group["Matcher"] = {"GrpcCode": str(code or "12")}


def _create_group_with_version(params):
    version = alb._p(params, "ProtocolVersion", "HTTP1").upper()
    if version not in _VERSIONS:
        return alb._error("ValidationError", f"Protocol version '{version}' must be one of {', '.join(_VERSIONS)}")
    before = set(alb._tgs.keys())
    created = _create_group(params)
    for arn in set(alb._tgs.keys()) - before:
        group = alb._tgs[arn]
        if group["TargetGroupName"] == alb._p(params, "Name"):
            path, code = alb._p(params, "HealthCheckPath"), alb._p(params, "Matcher.GrpcCode")
            _set_version(group, version, path, code)
            return alb._xml(200, "CreateTargetGroup", f"<TargetGroups>{alb._tg_xml(group)}</TargetGroups>")
    return created


def _modify_group_with_codes(params):
    code, group = alb._p(params, "Matcher.GrpcCode"), alb._tgs.get(alb._p(params, "TargetGroupArn"))
    if code and group:
        group["Matcher"] = {"GrpcCode": code}
    return _modify_group(params)


def _set_version_of_stack(arn, props):
    code = (props.get("Matcher") or {}).get("GrpcCode")
    _set_version(alb._tgs[arn], props.get("ProtocolVersion") or "HTTP1", props.get("HealthCheckPath"), code)


def _create_group_of_stack_with_version(logical_id, props, stack_name):
    created = _create_group_of_stack(logical_id, props, stack_name)
    _set_version_of_stack(created[0], props)
    return created


def _update_group_of_stack_with_version(physical_id, old_props, new_props, *rest):
    updated = _update_group_of_stack(physical_id, old_props, new_props, *rest)
    _set_version_of_stack(updated[0], new_props)
    return updated


alb._tg_xml = _group_xml_with_version
alb._ACTION_MAP["CreateTargetGroup"] = _create_group_with_version
alb._ACTION_MAP["ModifyTargetGroup"] = _modify_group_with_codes
_GROUP = "AWS::ElasticLoadBalancingV2::TargetGroup"
provisioners._elbv2_target_group_create = _create_group_of_stack_with_version
provisioners._RESOURCE_HANDLERS[_GROUP].update(
    create=_create_group_of_stack_with_version, update=_update_group_of_stack_with_version
)


# The certificate list of a listener:
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_AddListenerCertificates.html,
# API_RemoveListenerCertificates.html and API_DescribeListenerCertificates.html.
def _certificates_xml(action, certificates):
    members = "".join(
        f"<member><CertificateArn>{alb._esc(arn)}</CertificateArn><IsDefault>{default}</IsDefault></member>"
        for arn, default in certificates
    )
    return alb._xml(200, action, f"<Certificates>{members}</Certificates>")


def _certificate_action(change):
    """An action on the certificate list of a listener that exists."""

    def act(params):
        listener = alb._p(params, "ListenerArn")
        if listener not in alb._listeners:
            return alb._error("ListenerNotFound", "One or more listeners not found")
        return change(listener, alb._parse_certificate_arns(params))

    return act


def _add_certificates(listener, arns):
    more = _more_certificates.setdefault(listener, [])
    more += [arn for arn in arns if arn not in more]
    return _certificates_xml("AddListenerCertificates", [(arn, "false") for arn in arns])


def _remove_certificates(listener, arns):
    _more_certificates[listener] = [arn for arn in _more_certificates.get(listener, []) if arn not in arns]
    return alb._empty("RemoveListenerCertificates")


def _describe_certificates(listener, _):
    default = [(arn, "true") for arn in alb._listeners[listener].get("Certificates", [])]
    more = [(arn, "false") for arn in _more_certificates.get(listener, [])]
    return _certificates_xml("DescribeListenerCertificates", default + more)


alb._ACTION_MAP["AddListenerCertificates"] = _certificate_action(_add_certificates)
alb._ACTION_MAP["RemoveListenerCertificates"] = _certificate_action(_remove_certificates)
alb._ACTION_MAP["DescribeListenerCertificates"] = _certificate_action(_describe_certificates)


# Requests that AWS rejects: https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateRule.html,
# API_DescribeRules.html and API_DeleteTargetGroup.html.
_create_rule = alb._create_rule
_describe_rules = alb._describe_rules
_delete_group = alb._delete_tg
_delete_group_of_stack = provisioners._elbv2_target_group_delete


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
_register_metadata_with_credentials = ecs._register_metadata
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
    return _register_metadata_with_credentials(task_arn, cluster_arn, td, cdef, launch_type, env, *rest)


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


# MiniStack asks the engine ten times a second whether a task has ended. The engine can tell when.
_WATCH_AGAIN = 0.1


def _watch_until_the_end(task, docker_client, account_id, region):
    arn = task["taskArn"]
    containers = list(task.get("_docker_ids") or [])

    def watch(container):
        with ecs.request_scope(account_id, region):
            while ecs._task_is_active(arn, task):
                try:
                    docker_client.containers.get(container).wait()
                except Exception:
                    # The time limit of the client has passed, or the engine does not answer: ask again.
                    time.sleep(_WATCH_AGAIN)
                    continue
                ecs._maybe_mark_stopped(task, docker_client)
                if task.get("lastStatus") == "RUNNING":
                    # The task does without this container.
                    return
                time.sleep(_WATCH_AGAIN)
            # MiniStack forgets the other containers of a task whose essential container has ended, and ECS stops them:
            # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
            if task.get("stopCode") == "EssentialContainerExited":
                for other in containers:
                    ecs._remove_docker_container(docker_client, other)

    for container in containers:
        name = f"ministack-ecs-watch-{container[:12]}"
        ecs.spawn_background(functools.partial(watch, container), thread_name=name)
    group = task.get("group", "")
    cluster = ecs._cluster_name_from_arn(task.get("clusterArn", ""))
    if cluster and group.startswith("service:"):
        service = f"{cluster}/{group.removeprefix('service:')}"
        ecs._schedule_service_deployment_completion(cluster, service, account_id, region, healthy_task=task)


ecs._watch_task_lifecycle = _watch_until_the_end


# The server of a function looks ten times a second whether it is still wanted, while its process waits for an event.
_PATIENCE = 2.0


class _EventQueue(queue.Queue):
    """A queue for one event, whose reader waits longer."""

    def get(self, block=True, timeout=None):
        patient = self.maxsize == 1 and timeout is not None
        return super().get(block, max(timeout, _PATIENCE) if patient else timeout)


class _Queues:
    """The module `queue` with that queue."""

    Queue = _EventQueue

    def __getattr__(self, name):
        return getattr(queue, name)


lambda_runtime.queue = _Queues()


# A function that sets other hosts to connect to still reaches the load balancers at the ports of this machine.
_CONNECT_TO = "BLUEGREEN_CONNECT_TO"
_worker_env = lambda_svc._provided_worker_env


def _worker_env_of_this_machine(config, *rest):
    env, own = _worker_env(config, *rest), os.environ.get(_CONNECT_TO, "")
    given = env.get(_CONNECT_TO, "")
    if own and given != own:
        env[_CONNECT_TO] = f"{own},{given}"
    return env


lambda_svc._provided_worker_env = _worker_env_of_this_machine


# The process of a function ends with the function. MiniStack ends it only where the API of Lambda deletes the function.
_FUNCTION = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
_delete_function_of_stack = _FUNCTION["delete"]


def _delete_function_with_process(physical_id, props):
    _delete_function_of_stack(physical_id, props)
    account, region = lambda_svc.get_account_id(), lambda_svc.get_region()
    lambda_runtime.invalidate_worker(physical_id, account=account, region=region)


_FUNCTION["delete"] = _delete_function_with_process


# Every function that changes the load balancers, also for CloudFormation and ECS.
alb.set_targets_for_group = _announcing(alb.set_targets_for_group)
for _name, _function in alb._ACTION_MAP.items():
    if not _name.startswith("Describe"):
        alb._ACTION_MAP[_name] = _announcing(_function)
for _type, _handlers in provisioners._RESOURCE_HANDLERS.items():
    if _type.startswith("AWS::ElasticLoadBalancingV2::"):
        _handlers.update({name: _announcing(handler) for name, handler in _handlers.items() if callable(handler)})
