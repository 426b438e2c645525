//! The content of a picture: boxes that represent a resource and everything that belongs to it, and lines between them.
//! Must not know how it is drawn.

use std::collections::{BTreeMap, BTreeSet};

use model::Color;
use serde_json::Value;

use super::roles::{BALANCER, CLUSTER, FUNCTION, KEY, LISTENER, NAT, Role, SERVICE, VPC, is_silent, role};
use super::wires::{Wire, neighbours, wires};
use super::{describe, roles};
use cfn_kit::Template;

/// The place of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Outside: clients.
    Internet,
    /// The network itself, a frame.
    Network,
    /// The load balancer, a frame in the public subnets.
    Balancer,
    /// In the load balancer.
    Listener,
    /// Beside the load balancer in the public subnets.
    Public,
    /// The cluster, a frame in the subnets of the tasks.
    Cluster,
    /// In the cluster.
    Environment,
    /// Beside the cluster in the private subnets.
    Private,
    /// Outside of the network: control.
    Control,
    /// Outside of the network: storage.
    Store,
}

/// A box or a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Unique name: the logical id of the resource that it represents.
    pub id: String,
    /// Title.
    pub title: String,
    /// The type of the resource.
    pub kind: String,
    /// Its most important properties, one line each.
    pub details: Vec<String>,
    /// The environment that it belongs to.
    pub color: Option<Color>,
    /// Its place.
    pub place: Place,
    /// Logical ids of all resources that it represents.
    pub members: Vec<String>,
}

/// A line from one box to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Id of the box that refers.
    pub from: String,
    /// Id of the box that is referred to.
    pub to: String,
    /// By which permissions, or on which port.
    pub label: String,
    /// Whether it exists only after a cutover.
    pub later: bool,
}

/// A template as boxes and lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// The boxes and frames, in the order of their places.
    pub nodes: Vec<Node>,
    /// The lines.
    pub lines: Vec<Line>,
    /// Whether tasks are in separate subnets, without public addresses.
    pub private_tasks: bool,
}

impl Drawing {
    /// The content of a template.
    pub fn of(template: &Template) -> Self {
        Self::of_json(&serde_json::to_value(template).unwrap_or_default())
    }

    pub(super) fn of_json(template: &Value) -> Self {
        let wires = wires(template);
        let owners = Owners::new(template, &wires);
        let mut members: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, owner) in &owners.of {
            members.entry(owner).or_default().push(id);
        }
        let mut nodes: Vec<Node> =
            members.iter().map(|(head, members)| node(template, &wires, &owners, head, members)).collect();
        let mut lines = lines(template, &wires, &owners);
        if !nodes.iter().any(|node| node.place == Place::Network) {
            nodes.extend(describe::existing_network(template));
        }
        for (visitor, line) in describe::visitors(template) {
            nodes.push(visitor);
            lines.push(line);
        }
        lines.sort();
        // The environment that prod forwards to now comes first.
        let first = lines.iter().find(|line| !line.later && line.from.starts_with("Prod")).map(|line| line.to.clone());
        nodes.sort_by_key(|node| (node.place, Some(&node.id) != first.as_ref(), rank(node), node.id.clone()));
        let private_tasks = nodes.iter().any(|node| {
            let service = &template["Resources"][&node.id]["Properties"]["NetworkConfiguration"];
            service["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
        });
        Self { nodes, lines, private_tasks }
    }

    /// The box or frame with this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The boxes and frames at a place.
    pub fn at(&self, place: Place) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.place == place)
    }
}

/// Boxes of one place in this order; prod before dev before what redirects, the registry before buckets before the
/// rest.
fn rank(node: &Node) -> usize {
    const ORDER: [&str; 6] = ["Prod", "Dev", "Redirect", "Registry", "Bucket", "AccessLogBucket"];
    ORDER.iter().position(|start| node.id.starts_with(start)).unwrap_or(ORDER.len())
}

/// Which box each resource is in.
struct Owners<'a> {
    template: &'a Value,
    neighbours: BTreeMap<&'a str, Vec<&'a str>>,
    of: BTreeMap<&'a str, &'a str>,
}

impl<'a> Owners<'a> {
    fn new(template: &'a Value, wires: &'a [Wire<'a>]) -> Self {
        let mut owners = Self { template, neighbours: neighbours(wires), of: BTreeMap::new() };
        for id in template["Resources"].as_object().into_iter().flatten().map(|(id, _)| id.as_str()) {
            let owner = owners.find(id, 0);
            owners.of.insert(id, owner);
        }
        owners
    }

    fn find(&self, id: &'a str, depth: usize) -> &'a str {
        // There are no longer chains of parts; a longer one is a cycle.
        const DEEPEST: usize = 8;
        match role(type_of(self.template, id)) {
            Role::Part(types) if depth < DEEPEST => self.part(id, types, depth).unwrap_or(id),
            together @ Role::Together(..) => self.first_of(together).unwrap_or(id),
            Role::Own | Role::Part(_) => id,
        }
    }

    /// The owner of a part. If several share it, the owner is their cluster.
    fn part(&self, id: &'a str, types: &[&str], depth: usize) -> Option<&'a str> {
        let near = self.neighbours.get(id)?;
        let kind = types.iter().find(|kind| near.iter().any(|near| type_of(self.template, near) == **kind))?;
        let of_kind = near.iter().filter(|near| type_of(self.template, near) == *kind);
        let owners: BTreeSet<&str> = of_kind.map(|near| self.find(near, depth + 1)).collect();
        match owners.len() {
            1 => owners.first().copied(),
            _ => self.ids().find(|id| type_of(self.template, id) == CLUSTER).or(owners.first().copied()),
        }
    }

    fn first_of(&self, wanted: Role) -> Option<&'a str> {
        self.ids().find(|id| role(type_of(self.template, id)) == wanted)
    }

    fn ids(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.template["Resources"].as_object().into_iter().flatten().map(|(id, _)| id.as_str())
    }

    fn of(&self, id: &str) -> &'a str {
        self.of.get(id).copied().unwrap_or_default()
    }
}

fn type_of<'a>(template: &'a Value, id: &str) -> &'a str {
    template["Resources"][id]["Type"].as_str().unwrap_or_default()
}

fn node(template: &Value, wires: &[Wire<'_>], owners: &Owners<'_>, head: &str, members: &[&str]) -> Node {
    let kind = type_of(template, head);
    let mut details = describe::details(template, head, members);
    if kind == KEY {
        let encrypted: BTreeSet<&str> = wires
            .iter()
            .filter(|wire| wire.to == head)
            .map(|wire| owners.of(wire.from))
            .filter(|id| *id != head)
            .collect();
        details.push(format!("encrypts what {} boxes keep", encrypted.len()));
    }
    let (title, service) = match role(kind) {
        Role::Together(title, service) => (title.to_owned(), service.to_owned()),
        _ => (describe::title(head), describe::kind(kind)),
    };
    let color = Color::ALL.into_iter().find(|color| head.starts_with(crate::title(*color)));
    Node {
        id: head.to_owned(),
        title,
        kind: service,
        details,
        color,
        place: place(template, kind, head),
        members: members.iter().map(|id| (*id).to_owned()).collect(),
    }
}

fn place(template: &Value, kind: &str, id: &str) -> Place {
    match kind {
        VPC => Place::Network,
        BALANCER => Place::Balancer,
        LISTENER => Place::Listener,
        NAT => Place::Public,
        CLUSTER => Place::Cluster,
        SERVICE => Place::Environment,
        roles::ENDPOINT => Place::Private,
        FUNCTION if template["Resources"][id]["Properties"]["VpcConfig"].is_object() => Place::Private,
        FUNCTION => Place::Control,
        _ => Place::Store,
    }
}

/// The lines between boxes, each once. Several lines to boxes in one frame become one line to the frame.
fn lines(template: &Value, wires: &[Wire<'_>], owners: &Owners<'_>) -> Vec<Line> {
    let mut found: BTreeMap<(&str, &str), (BTreeSet<String>, bool)> = BTreeMap::new();
    for wire in wires.iter().filter(|wire| !is_silent(type_of(template, wire.from))) {
        let (from, to) = (owners.of(wire.from), owners.of(&wire.to));
        let [from_type, to_type] = [from, to].map(|id| type_of(template, id));
        let in_frame = [(LISTENER, BALANCER), (SERVICE, CLUSTER)].contains(&(from_type, to_type));
        if from == to || in_frame || [from_type, to_type].contains(&VPC) || [from_type, to_type].contains(&KEY) {
            continue;
        }
        let to = if from_type == LISTENER { to } else { framed(template, to) };
        if framed(template, from) == to {
            continue;
        }
        let (labels, later) = found.entry((from, to)).or_insert((BTreeSet::new(), true));
        labels.extend(wire.permission.map(|sid| describe::words(sid).to_lowercase()));
        *later &= wire.otherwise;
    }
    // The cutover function creates the rules of prod and dev: they are in no template.
    for (listener, service, later) in describe::carried_by_rules(template) {
        let (labels, is_later) =
            found.entry((owners.of(listener), owners.of(service))).or_insert((BTreeSet::new(), true));
        labels.clear();
        *is_later &= later;
    }
    found
        .into_iter()
        .map(|((from, to), (labels, later))| {
            let label = labels.into_iter().collect::<Vec<_>>().join(", ");
            Line { from: from.to_owned(), to: to.to_owned(), label, later }
        })
        .collect()
}

/// The frame around a box, or the box if there is none.
fn framed<'a>(template: &'a Value, id: &'a str) -> &'a str {
    let around = match type_of(template, id) {
        LISTENER => BALANCER,
        SERVICE => CLUSTER,
        _ => return id,
    };
    let resources = template["Resources"].as_object();
    resources.into_iter().flatten().find(|(_, resource)| resource["Type"] == around).map_or(id, |(id, _)| id)
}
