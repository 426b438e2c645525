//! A stack in memory with faults on demand: load balancer, services, ledger, and responses to probes. It also checks
//! the invariants at every write of the engine.

use aws::clock::Clock;
use cutover::balancer::{Balancer, BalancerError, Health, LANDING, Service};
use cutover::idle::Idle;
use cutover::notifier::{Notification, Notifier};
use cutover::probe::{Client, Clients, Reply, Site};
use cutover::run::Stack;
use ledger::{Holder, Keys, Ledger, Listed, MemoryStore, ObjectStore, Read, StoreError, When};
use model::keys;
use model::listener::{ListenerState, Listeners};
use model::record::{Connection, Failure, Outcome, Samples};
use model::request::StatusSet;
use model::route::{Listener, Route};
use model::{Answer, Color, Record};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Operations that have no record, and so no id.
const READING: [&str; 5] = ["status", "sleep", "abort", "pause", "promote"];

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error; the call has no effect.
    Lost,
    /// An error, but the write takes effect.
    Unanswered,
    /// An error; the write takes effect after this number of milliseconds, within the landing time.
    Lands(u64),
    /// An error after which the write certainly has no effect.
    Rejected,
    /// It takes this number of milliseconds.
    Slow(u64),
}

/// Both environments, the listeners and the ledger.
pub struct World {
    pub store: Arc<MemoryStore>,
    pub clock: Clock,
    state: Mutex<State>,
}

pub struct State {
    pub prod: Route,
    pub dev: Color,
    /// Listeners without a rule.
    pub absent: Vec<Listener>,
    pub healthy: BTreeMap<Color, u32>,
    pub versions: BTreeMap<Color, &'static str>,
    pub statuses: BTreeMap<Color, u16>,
    pub services: BTreeMap<Color, Service>,
    pub sticky: bool,
    /// How the idle environment sleeps, if it may.
    pub idle: Option<Idle>,
    /// Time from a scaling until tasks are healthy.
    pub start_time: Duration,
    /// Scalings that were issued.
    pub scaled: Vec<(Color, u32)>,
    /// The addresses of the load balancer's name.
    pub addresses: Arc<[SocketAddr]>,
    /// Time from a write until the load balancer routes by it.
    pub propagation: Duration,
    /// The same for single addresses, if it differs.
    pub lags: BTreeMap<SocketAddr, Duration>,
    /// Time that an environment takes to answer.
    pub latency: BTreeMap<Color, Duration>,
    routed: Vec<Routed>,
    requests: u32,
    /// Faults of writes, reads and ledger calls, by the number of the call.
    pub write_faults: BTreeMap<usize, Fault>,
    pub read_faults: BTreeMap<usize, Fault>,
    pub store_faults: BTreeMap<usize, Fault>,
    calls: [usize; 3],
    /// Whether writes of the probes fail.
    pub samples_fail: bool,
    /// Writes that were issued.
    pub writes: Vec<(Listener, Route)>,
    /// Notifications of runs, each as often as it was sent.
    pub reported: Vec<(String, Outcome)>,
    /// Violations of the invariants by the engine.
    pub violations: Vec<String>,
    /// By invocation, the environments that it saw healthy in consecutive calls since its last other call.
    fresh_health: BTreeMap<String, Vec<Color>>,
}

/// A write of prod, and when each address follows it.
struct Routed {
    route: Route,
    from: Instant,
    late: BTreeMap<SocketAddr, Instant>,
}

impl Routed {
    fn reaches(&self, address: SocketAddr, now: Instant) -> bool {
        *self.late.get(&address).unwrap_or(&self.from) <= now
    }
}

/// The view of one invocation.
#[derive(Clone)]
pub struct View {
    world: Arc<World>,
    id: String,
    /// When the ledger fails for this invocation.
    outage: Option<Range<Instant>>,
}

/// Receives the notifications of runs that have ended.
#[derive(Debug)]
struct Heard(Arc<World>);

impl Notifier for Heard {
    fn notify<'a>(&'a self, record: &'a Record) -> Notification<'a> {
        Box::pin(async move {
            // It may take time, in which the process can die.
            sleep(Duration::from_millis(50)).await;
            self.0.state().reported.push((record.id.clone(), record.outcome.unwrap()));
        })
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    /// Green is prod with version 1, blue is dev with version 2; both are healthy.
    pub fn new() -> Arc<Self> {
        // An hour before the clock begins.
        let began: jiff::Timestamp = "2026-01-31T11:00:00Z".parse().unwrap();
        let service = Service {
            deployed: true,
            desired: 2,
            running: 2,
            not_stable: None,
            since: Some(began),
            release: Some(1),
            tasks: Some(2),
        };
        let both = |value: u32| BTreeMap::from([(Color::Blue, value), (Color::Green, value)]);
        Arc::new(Self {
            store: Arc::default(),
            clock: Clock::starting_at("2026-01-31T12:00:00Z".parse().unwrap()),
            state: Mutex::new(State {
                prod: Route::All(Color::Green),
                dev: Color::Blue,
                absent: Vec::new(),
                healthy: both(2),
                versions: BTreeMap::from([(Color::Blue, "2"), (Color::Green, "1")]),
                statuses: BTreeMap::from([(Color::Blue, 200), (Color::Green, 200)]),
                services: BTreeMap::from([(Color::Blue, service.clone()), (Color::Green, service)]),
                sticky: false,
                idle: None,
                start_time: Duration::from_secs(40),
                scaled: Vec::new(),
                addresses: addresses(&["192.0.2.1:80", "192.0.2.2:80"]),
                propagation: Duration::from_millis(200),
                lags: BTreeMap::new(),
                latency: BTreeMap::new(),
                routed: vec![Routed { route: Route::All(Color::Green), from: Instant::now(), late: BTreeMap::new() }],
                requests: 0,
                write_faults: BTreeMap::new(),
                read_faults: BTreeMap::new(),
                store_faults: BTreeMap::new(),
                calls: [0; 3],
                samples_fail: false,
                writes: Vec::new(),
                reported: Vec::new(),
                violations: Vec::new(),
                fresh_health: BTreeMap::new(),
            }),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The environments that prod and dev point at, if prod is not split.
    pub fn listeners(&self) -> (Color, Color) {
        let state = self.state();
        let Some(prod) = state.prod.whole() else { panic!("prod is left split: {}", state.prod) };
        (prod, state.dev)
    }

    /// Invokes the function with an event and 300 s left.
    pub async fn invoke(self: &Arc<Self>, event: Value) -> Record {
        self.invoke_in(event, None).await
    }

    /// The same, with a ledger that fails temporarily only for this invocation.
    pub async fn invoke_in(self: &Arc<Self>, event: Value, outage: Option<Range<Instant>>) -> Record {
        match self.answer_in(event, Duration::from_mins(5), outage).await {
            Answer::Run(record) => *record,
            other => panic!("not a record: {other:?}"),
        }
    }

    pub async fn answer(self: &Arc<Self>, event: Value, left: Duration) -> Answer {
        self.answer_in(event, left, None).await
    }

    async fn answer_in(self: &Arc<Self>, mut event: Value, left: Duration, outage: Option<Range<Instant>>) -> Answer {
        let given = event.get("id").and_then(Value::as_str).map(str::to_owned);
        let id = given.unwrap_or_else(model::request::new_id);
        if let Some(event) = event
            .as_object_mut()
            .filter(|event| !READING.contains(&event.get("op").and_then(Value::as_str).unwrap_or_default()))
        {
            event.insert("id".to_owned(), id.clone().into());
            // Most scenarios are about a cutover.
            if !event.contains_key("hookDetails") {
                event.entry("op").or_insert_with(|| "cutover".into());
            }
        }
        let view = View { world: Arc::clone(self), id, outage };
        let stack = Arc::new(Stack {
            balancer: view.clone(),
            ledger: Ledger::new(Arc::new(view.clone()), self.clock),
            clients: view,
            clock: self.clock,
            version_header: Some("x-app-version".to_owned()),
            probe_path: "/".to_owned(),
            success_codes: StatusSet::default(),
            idle: self.state().idle,
            notifier: Some(Arc::new(Heard(Arc::clone(self)))),
        });
        Box::pin(stack.handle(&event, Instant::now() + left)).await
    }

    /// Removes all faults.
    pub fn heal(&self) {
        let mut state = self.state();
        state.write_faults.clear();
        state.read_faults.clear();
        state.store_faults.clear();
        for color in Color::ALL {
            state.healthy.insert(color, 2);
            state.statuses.insert(color, 200);
        }
    }

    /// All records in the ledger.
    pub async fn records(&self) -> Vec<Record> {
        let ledger = Ledger::new(Arc::clone(&self.store), self.clock);
        ledger.list(usize::MAX).await.unwrap()
    }

    /// Who holds the lease.
    pub async fn holder(&self) -> Option<Holder> {
        Ledger::new(Arc::clone(&self.store), self.clock).holder().await.unwrap()
    }

    /// The probes of a run.
    pub async fn samples(&self, id: &str) -> Option<Samples> {
        Ledger::new(Arc::clone(&self.store), self.clock).samples(id).await.unwrap()
    }

    fn apply(&self, listener: Listener, route: Route) {
        let mut state = self.state();
        state.absent.retain(|absent| *absent != listener);
        match (listener, route) {
            (Listener::Prod, route) => {
                state.prod = route;
                let now = Instant::now();
                let late = state.lags.iter().map(|(address, lag)| (*address, now + *lag)).collect();
                let from = now + state.propagation;
                state.routed.push(Routed { route, from, late });
            }
            (Listener::Dev, Route::All(color)) => state.dev = color,
            (Listener::Dev, split) => state.violations.push(format!("dev was split: {split}")),
        }
    }

    fn read_fault(&self) -> Option<Fault> {
        let mut state = self.state();
        let call = state.calls[1];
        state.calls[1] += 1;
        state.read_faults.get(&call).copied()
    }

    fn store_fault(&self) -> Option<Fault> {
        let mut state = self.state();
        let call = state.calls[2];
        state.calls[2] += 1;
        state.store_faults.get(&call).copied()
    }

    async fn read<T>(&self, doing: &str, value: impl FnOnce(&mut State) -> T) -> Result<T, BalancerError> {
        match self.read_fault() {
            None => sleep(Duration::from_millis(20)).await,
            Some(Fault::Slow(ms)) => sleep(Duration::from_millis(ms)).await,
            Some(_) => return Err(error(doing, false)),
        }
        Ok(value(&mut self.state()))
    }
}

pub fn addresses(texts: &[&str]) -> Arc<[SocketAddr]> {
    texts.iter().map(|text| text.parse::<SocketAddr>().unwrap()).collect()
}

fn error(doing: &str, rejected: bool) -> BalancerError {
    BalancerError { doing: doing.to_owned(), cause: "fault".to_owned(), rejected }
}

impl View {
    fn store_fault(&self) -> Option<Fault> {
        if self.outage.as_ref().is_some_and(|outage| outage.contains(&Instant::now())) {
            return Some(Fault::Lost);
        }
        self.world.store_fault()
    }

    /// The invariants of a write, at the moment when it is issued.
    async fn check_write(&self, listener: Listener, route: Route) {
        let lease = self.world.holder().await;
        let mut state = self.world.state();
        if lease.as_ref().is_none_or(|lease| lease.info.holder != self.id) {
            let text = format!("{} wrote {listener:?} without the lease: {lease:?}", self.id);
            state.violations.push(text);
        }
        let fresh = state.fresh_health.remove(&self.id).unwrap_or_default();
        let unseen = |color: &Color| route.reaches(*color) && !fresh.contains(color);
        if listener == Listener::Prod && Color::ALL.iter().any(unseen) {
            let text = format!("prod was pointed at {route} without a fresh look at the health of all that it reaches");
            state.violations.push(text);
        }
        state.writes.push((listener, route));
    }
}

impl Balancer for View {
    async fn listeners(&self) -> Result<Listeners, BalancerError> {
        self.world
            .read("read the listeners", |state| {
                state.fresh_health.remove(&self.id);
                let listener_state = |listener, route| {
                    if state.absent.contains(&listener) { ListenerState::Absent } else { ListenerState::At(route) }
                };
                let prod = listener_state(Listener::Prod, state.prod);
                Listeners { prod, dev: listener_state(Listener::Dev, Route::All(state.dev)) }
            })
            .await
    }

    async fn write(&self, listener: Listener, route: Route) -> Result<(), BalancerError> {
        self.check_write(listener, route).await;
        let fault = {
            let mut state = self.world.state();
            let call = state.calls[0];
            state.calls[0] += 1;
            state.write_faults.get(&call).copied()
        };
        let failed = Err(error("write", fault == Some(Fault::Rejected)));
        match fault {
            None => sleep(Duration::from_millis(50)).await,
            Some(Fault::Slow(ms)) => sleep(Duration::from_millis(ms)).await,
            Some(Fault::Lost | Fault::Rejected) => return failed,
            Some(Fault::Unanswered) => {
                self.world.apply(listener, route);
                return failed;
            }
            Some(Fault::Lands(ms)) => {
                assert!(Duration::from_millis(ms) < LANDING);
                let world = Arc::clone(&self.world);
                tokio::spawn(async move {
                    sleep(Duration::from_millis(ms)).await;
                    world.apply(listener, route);
                });
                return failed;
            }
        }
        self.world.apply(listener, route);
        Ok(())
    }

    async fn health(&self, color: Color) -> Result<Health, BalancerError> {
        self.world
            .read("read the health", |state| {
                let healthy = state.healthy[&color];
                let fresh = state.fresh_health.entry(self.id.clone()).or_default();
                fresh.retain(|seen| *seen != color);
                fresh.extend((healthy > 0).then_some(color));
                let states = [("healthy", healthy), ("unhealthy", 2_u32.saturating_sub(healthy))];
                let some = states.into_iter().filter(|(_, count)| *count > 0);
                Health { states: some.map(|(state, count)| (state.to_owned(), count)).collect() }
            })
            .await
    }

    async fn service(&self, color: Color) -> Result<Service, BalancerError> {
        self.world.read("read the service", |state| state.services[&color].clone()).await
    }

    async fn scale(&self, color: Color, tasks: u32) -> Result<(), BalancerError> {
        let lease = self.world.holder().await;
        let world = Arc::clone(&self.world);
        let mut state = world.state();
        if lease.is_none() {
            state.violations.push(format!("{color} was scaled to {tasks} without a lease"));
        }
        if tasks == 0 && state.prod.reaches(color) {
            state.violations.push(format!("{color} was put to sleep while it was prod"));
        }
        state.scaled.push((color, tasks));
        let service = state.services.get_mut(&color).unwrap();
        service.desired = tasks;
        service.not_stable = (tasks > 0).then(|| "its tasks start".to_owned());
        service.running = 0;
        state.healthy.insert(color, 0);
        drop(state);
        if tasks > 0 {
            tokio::spawn(async move {
                let pause = world.state().start_time;
                sleep(pause).await;
                let mut state = world.state();
                let service = state.services.get_mut(&color).unwrap();
                (service.running, service.not_stable) = (tasks, None);
                state.healthy.insert(color, tasks);
            });
        }
        Ok(())
    }

    async fn is_sticky(&self, _: Color) -> Result<bool, BalancerError> {
        self.world.read("read the attributes", |state| state.sticky).await
    }
}

impl ObjectStore for View {
    async fn get(&self, key: &str) -> Result<Read, StoreError> {
        let fault = self.store_fault();
        sleep(Duration::from_millis(5)).await;
        match fault {
            None => self.world.store.get(key).await,
            Some(Fault::Slow(ms)) => {
                sleep(Duration::from_millis(ms)).await;
                self.world.store.get(key).await
            }
            Some(_) => Err(unavailable("read", key)),
        }
    }

    async fn put(&self, key: &str, body: Vec<u8>, when: When<'_>) -> Result<String, StoreError> {
        if key.starts_with(keys::SAMPLES) && self.world.state().samples_fail {
            return Err(unavailable("write", key));
        }
        let fault = self.store_fault();
        sleep(Duration::from_millis(5)).await;
        match fault {
            None => self.world.store.put(key, body, when).await,
            Some(Fault::Slow(ms)) => {
                sleep(Duration::from_millis(ms)).await;
                self.world.store.put(key, body, when).await
            }
            Some(Fault::Unanswered) => {
                let _ = self.world.store.put(key, body, when).await;
                Err(unavailable("write", key))
            }
            Some(_) => Err(unavailable("write", key)),
        }
    }

    async fn list(&self, keys: Keys<'_>) -> Result<Vec<Listed>, StoreError> {
        match self.store_fault() {
            None | Some(Fault::Slow(_)) => self.world.store.list(keys).await,
            Some(_) => Err(unavailable("list", keys.prefix)),
        }
    }
}

fn unavailable(doing: &'static str, key: &str) -> StoreError {
    StoreError::Unavailable { doing, key: key.to_owned(), cause: "fault".to_owned() }
}

/// Answers probes of one site.
pub struct Answering {
    world: Arc<World>,
    site: Site,
    addresses: Mutex<Arc<[SocketAddr]>>,
}

impl Clients for View {
    type Client = Answering;

    async fn open(&self, site: Site, _: &str, _: Option<&str>) -> Result<Answering, String> {
        let addresses = Mutex::new(self.world.state().addresses.clone());
        Ok(Answering { world: Arc::clone(&self.world), site, addresses })
    }
}

impl Answering {
    /// The environment that answers a request to this address, and its response time.
    fn route(&self, address: SocketAddr) -> (Color, Duration) {
        let mut state = self.world.state();
        let color = match self.site {
            Site::Environment(color) => color,
            Site::Dev => state.dev,
            Site::Prod => {
                let now = Instant::now();
                let routed = state.routed.iter().rev().find(|routed| routed.reaches(address, now));
                let route = routed.map_or(state.prod, |routed| routed.route);
                // Evenly distributed and deterministic: 37 and 100 have no common divisor.
                state.requests += 1;
                let blue = state.requests * 37 % 100 < u32::from(route.percent(Color::Blue));
                if blue { Color::Blue } else { Color::Green }
            }
        };
        (color, state.latency.get(&color).copied().unwrap_or_default())
    }
}

impl Client for Answering {
    fn addresses(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.addresses.lock().unwrap())
    }

    async fn refresh(&self) -> Result<(), String> {
        let addresses = self.world.state().addresses.clone();
        if addresses.is_empty() {
            return Err("the name does not resolve".to_owned());
        }
        *self.addresses.lock().unwrap() = addresses;
        Ok(())
    }

    async fn send(&self, address: SocketAddr, _: Connection) -> Reply {
        sleep(Duration::from_millis(5)).await;
        let (color, latency) = self.route(address);
        sleep(latency).await;
        let state = self.world.state();
        let status = state.statuses[&color];
        let failure = (status == 0).then(|| (Failure::Broken, "reset".to_owned()));
        Reply {
            first_byte: Some(Instant::now()),
            status: Some(status).filter(|status| *status > 0),
            version: state.versions.get(&color).filter(|_| status == 200).map(ToString::to_string),
            bytes: 10,
            failure,
        }
    }
}
