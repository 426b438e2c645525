//! The positions of boxes and lines in a picture: columns from the left (clients) to the right (storage), and frames
//! around boxes. Knows sizes, no colors.

use std::collections::BTreeMap;

use super::model::{Drawing, Line, Node, Place};

/// Height of a line of text.
pub(super) const TEXT: i32 = 15;
const MARGIN: i32 = 20;
const PAD: i32 = 16;
/// From the top of a frame to its content: space for the title.
const HEAD: i32 = 34;
const GAP: i32 = 26;
const BOX_WIDTH: i32 = 208;
const VISITOR_WIDTH: i32 = 150;
const LISTENER_WIDTH: i32 = 150;
/// Beside a box: space for a line that passes it.
const PASSING: i32 = 48;
/// Between the columns: space for lines and their labels.
const BETWEEN: i32 = 110;

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) width: i32,
    pub(super) height: i32,
}

impl Area {
    pub(super) const fn right(&self) -> i32 {
        self.x + self.width
    }

    pub(super) const fn bottom(&self) -> i32 {
        self.y + self.height
    }

    pub(super) const fn middle(&self) -> i32 {
        self.y + self.height / 2
    }

    /// The smallest rectangle around all of them, with space for a title.
    fn around(areas: &[Self]) -> Option<Self> {
        let x = areas.iter().map(|area| area.x).min()? - PAD;
        let y = areas.iter().map(|area| area.y).min()? - HEAD;
        let width = areas.iter().map(Self::right).max()? + PAD - x;
        let height = areas.iter().map(Self::bottom).max()? + PAD - y;
        Some(Self { x, y, width, height })
    }
}

/// A frame that does not represent a single resource.
pub(super) struct Frame {
    pub(super) title: &'static str,
    pub(super) area: Area,
}

/// The course of a line: an SVG path, and the position of its label.
pub(super) struct Way<'a> {
    pub(super) line: &'a Line,
    pub(super) path: String,
    pub(super) label: (i32, i32),
}

/// A whole picture.
pub(super) struct Layout<'a> {
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) subnets: Vec<Frame>,
    pub(super) areas: BTreeMap<&'a str, Area>,
    pub(super) ways: Vec<Way<'a>>,
}

impl<'a> Layout<'a> {
    pub(super) fn of(drawing: &'a Drawing) -> Self {
        let mut places = Places { drawing, areas: BTreeMap::new() };
        let subnets = places.put();
        let areas = places.areas;
        let mut ways: Vec<Way<'a>> = Vec::new();
        for line in &drawing.lines {
            if let (Some(from), Some(to)) = (areas.get(line.from.as_str()), areas.get(line.to.as_str())) {
                let port = Port::of(drawing, line, &areas);
                let is_frame = drawing.node(&line.from).is_some_and(|node| node.place == Place::Balancer);
                ways.push(Way::between(line, &port, *from, *to, is_frame));
            }
        }
        let width = areas.values().map(Area::right).max().unwrap_or_default() + MARGIN;
        let height = areas.values().map(Area::bottom).max().unwrap_or_default() + MARGIN;
        Self { width, height, subnets, areas, ways }
    }
}

/// How tall a box is.
fn height(node: &Node) -> i32 {
    let lines = i32::try_from(node.details.len()).unwrap_or_default();
    46 + TEXT * lines
}

struct Places<'a> {
    drawing: &'a Drawing,
    areas: BTreeMap<&'a str, Area>,
}

impl Places<'_> {
    /// Positions every box and frame, and the frames of the subnets.
    fn put(&mut self) -> Vec<Frame> {
        let drawing = self.drawing;
        let listeners_x = MARGIN + VISITOR_WIDTH + BETWEEN + 2 * PAD;
        let tasks_x = listeners_x + LISTENER_WIDTH + 2 * PAD + BETWEEN + 2 * PAD;
        let store_x = tasks_x + BOX_WIDTH + 3 * PAD + BETWEEN;
        let top = MARGIN + 3 * HEAD;
        let nat = self.stack(Place::Public, listeners_x - PAD, top - HEAD, LISTENER_WIDTH + 2 * PAD);
        let top = nat.map_or(top, |bottom| bottom + GAP + HEAD);
        let environments_end = self.stack(Place::Environment, tasks_x, top, BOX_WIDTH).unwrap_or(top);
        self.listeners(listeners_x, top);
        self.frame(Place::Cluster, Place::Environment);
        self.frame(Place::Balancer, Place::Listener);
        // Lines from boxes below pass the boxes inside.
        let past = if drawing.at(Place::Control).next().is_some() { PASSING } else { 0 };
        let inside = self.stack(Place::Private, tasks_x, environments_end + PAD + GAP + 14, BOX_WIDTH - past);
        let (public, private) = self.subnets();
        let subnets: Vec<Frame> = [("Public subnets", public), ("Private subnets", private)]
            .into_iter()
            .filter_map(|(title, area)| Some(Frame { title, area: area? }))
            .collect();
        let within: Vec<Area> = subnets.iter().map(|frame| frame.area).collect();
        let network = Area::around(&within);
        if let (Some(node), Some(area)) = (drawing.at(Place::Network).next(), network) {
            self.areas.insert(&node.id, area);
        }
        let below = network.map_or(inside.unwrap_or(environments_end), |area| area.bottom()) + GAP + 12;
        self.stack(Place::Control, tasks_x, below, BOX_WIDTH);
        self.visitors();
        self.store(store_x, top);
        subnets
    }

    /// Puts the boxes of a place under each other; returns the end of the last one.
    fn stack(&mut self, place: Place, x: i32, top: i32, width: i32) -> Option<i32> {
        let mut y = top;
        for node in self.drawing.at(place) {
            let area = Area { x, y, width, height: height(node) };
            self.areas.insert(&node.id, area);
            y = area.bottom() + GAP;
        }
        (y > top).then_some(y - GAP)
    }

    /// Each listener at the height of the environment that it forwards to; the others below.
    fn listeners(&mut self, x: i32, top: i32) {
        let drawing = self.drawing;
        let mut next = top;
        for node in drawing.at(Place::Listener) {
            let forwards = drawing.lines.iter().find(|line| line.from == node.id && !line.later);
            let beside = forwards.and_then(|line| self.areas.get(line.to.as_str())).map(Area::middle);
            let height = height(node);
            let y = beside.map_or(next, |middle| (middle - height / 2).max(next));
            self.areas.insert(&node.id, Area { x, y, width: LISTENER_WIDTH, height });
            next = y + height + GAP;
        }
    }

    /// A frame around all boxes of a place.
    fn frame(&mut self, place: Place, around: Place) {
        let areas = self.of(&[around]);
        if let (Some(node), Some(mut area)) = (self.drawing.at(place).next(), Area::around(&areas)) {
            // Its description is under its boxes.
            area.height += TEXT * i32::try_from(node.details.len()).unwrap_or_default();
            self.areas.insert(&node.id, area);
        }
    }

    fn of(&self, places: &[Place]) -> Vec<Area> {
        let nodes = places.iter().flat_map(|place| self.drawing.at(*place));
        nodes.filter_map(|node| self.areas.get(node.id.as_str()).copied()).collect()
    }

    /// The frames around the boxes in public and in private subnets, with the same height.
    fn subnets(&self) -> (Option<Area>, Option<Area>) {
        let entry = [Place::Public, Place::Balancer];
        let tasks = [Place::Cluster, Place::Private];
        if !self.drawing.private_tasks {
            return (Area::around(&self.of(&[entry, tasks].concat())), None);
        }
        let (mut public, mut private) = (Area::around(&self.of(&entry)), Area::around(&self.of(&tasks)));
        if let (Some(public), Some(private)) = (&mut public, &mut private) {
            let (top, bottom) = (public.y.min(private.y), public.bottom().max(private.bottom()));
            for area in [public, private] {
                (area.y, area.height) = (top, bottom - top);
            }
        }
        (public, private)
    }

    /// The clients, each at the height of its listener.
    fn visitors(&mut self) {
        let drawing = self.drawing;
        for node in drawing.at(Place::Internet) {
            let asked = drawing.lines.iter().find(|line| line.from == node.id);
            let middle = asked.and_then(|line| self.areas.get(line.to.as_str())).map_or(0, Area::middle);
            let height = height(node);
            let area = Area { x: MARGIN, y: middle - height / 2, width: VISITOR_WIDTH, height };
            self.areas.insert(&node.id, area);
        }
    }

    /// The storage: each box at the height of those that refer to it, if the boxes above leave space.
    fn store(&mut self, x: i32, top: i32) {
        let drawing = self.drawing;
        let mut next = top;
        for node in drawing.at(Place::Store) {
            let height = height(node);
            let users = drawing.lines.iter().filter(|line| line.to == node.id);
            let user = users.filter_map(|line| {
                let place = drawing.node(&line.from)?.place;
                let area = self.areas.get(line.from.as_str())?;
                matches!(place, Place::Control | Place::Private | Place::Cluster).then(|| area.middle())
            });
            let y = user.max().map_or(next, |middle| (middle - height / 2).max(next));
            self.areas.insert(&node.id, Area { x, y, width: BOX_WIDTH, height });
            next = y + height + GAP;
        }
    }
}

/// The distance of a line's ends from the middle of the sides of the boxes, so that lines do not overlap.
struct Port {
    from: i32,
    to: i32,
}

impl Port {
    fn of(drawing: &Drawing, line: &Line, areas: &BTreeMap<&str, Area>) -> Self {
        const APART: i32 = 14;
        let middle = |id: &str| areas.get(id).map_or(0, Area::middle);
        // Lines that go to the right share a side.
        let aside = |it: &&Line| {
            let (from, to) = (areas.get(it.from.as_str()), areas.get(it.to.as_str()));
            from.zip(to).is_some_and(|(from, to)| to.x >= from.right())
        };
        let spread = |mut lines: Vec<&Line>, far: fn(&Line) -> &str| {
            lines.sort_by_key(|it| middle(far(it)));
            let Some(place) = lines.iter().position(|it| *it == line) else { return 0 };
            let (place, count) =
                (i32::try_from(place).unwrap_or_default(), i32::try_from(lines.len()).unwrap_or_default());
            APART * (2 * place - (count - 1)) / 2
        };
        let from = drawing.lines.iter().filter(|it| it.from == line.from).filter(aside).collect();
        let to = drawing.lines.iter().filter(|it| it.to == line.to).filter(aside).collect();
        Self { from: spread(from, |it| &it.to), to: spread(to, |it| &it.from) }
    }
}

impl<'a> Way<'a> {
    fn between(line: &'a Line, port: &Port, from: Area, to: Area, from_below: bool) -> Self {
        let (start, end) = (from.middle() + port.from, to.middle() + port.to);
        let beside = to.bottom() > start && to.y < start;
        let (path, label) = if from_below && to.middle() > from.bottom() {
            let x = from.x + 24;
            (format!("M{x} {}V{end}H{}", from.bottom(), to.x), (i32::midpoint(x, to.x), end - 6))
        } else if to.x >= from.right() {
            let half = (to.x - from.right()) / 2;
            let (x, right) = (from.right(), to.x);
            let path = format!("M{x} {start}C{} {start} {} {end} {right} {end}", x + half, right - half);
            (path, (x + half, i32::midpoint(start, end) - 6))
        } else if from.x < to.right() {
            let x = (from.right() - PASSING / 2).clamp(to.x + 12, to.right() - 12);
            let (start, end) = if to.y >= from.bottom() { (from.bottom(), to.y) } else { (from.y, to.bottom()) };
            (format!("M{x} {start}V{end}"), (x, start + 16 * (end - start).signum() + 4))
        } else if beside {
            (format!("M{} {start}H{}", from.x, to.right()), (i32::midpoint(from.x, to.right()), start - 6))
        } else {
            // First horizontally, then vertically.
            let x = to.right() - 24;
            let end = if to.y >= start { to.y } else { to.bottom() };
            (format!("M{} {start}H{x}V{end}", from.x), (i32::midpoint(from.x, x), start - 6))
        };
        Self { line, path, label }
    }
}
