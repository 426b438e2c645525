//! The dashboard in a real browser, over a data source that the test controls, without a cloud.

use std::future::{Future, ready};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::browser::Browser;
use cutover::probe::Tally;
use deploy::Role;
use infra::dashboard::{Dashboard, NewRun, Source, Steer};
use infra::error::{Error, Result};
use infra::report::{Place, Run};
use infra::requests::{Minute, Requests};
use infra::status::{Environment, Status, Unresolved};
use jiff::Timestamp;
use model::record::{Connection, Failure, ListenerWrite, Sample, Samples, Step, WriteResult};
use model::request::{Op, Request, ShiftStep};
use model::stack_state::StackState;
use model::steering::SteeringAnswer;
use model::{Color, Listener, Outcome, Phase, Record};

/// A stack that the test controls.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    status: Option<Status>,
    run: Option<Run>,
    new_runs: Vec<NewRun>,
    reported: Vec<Steer>,
    looks: usize,
}

impl Source for Held {
    fn status(&self) -> impl Future<Output = Result<Status>> {
        let mut state = self.0.lock().unwrap();
        state.looks += 1;
        let status = state.status.clone();
        ready(status.ok_or_else(|| Error::failed("cannot read the stack").because("connection refused")))
    }

    fn run(&self, _: &str) -> impl Future<Output = Result<Option<Run>>> {
        ready(Ok(self.0.lock().unwrap().run.clone()))
    }

    fn begin(&self, new_run: NewRun) -> impl Future<Output = Result<String>> {
        let mut state = self.0.lock().unwrap();
        state.new_runs.push(new_run);
        ready(Ok("run-1".to_owned()))
    }

    fn tell(&self, reported: Steer) -> impl Future<Output = Result<SteeringAnswer>> {
        let (accepted, run) = (reported.op != Op::Promote, reported.run.clone());
        let message =
            if accepted { format!("Run {run}: {} requested.", reported.op) } else { "Refused: no.".to_owned() };
        self.0.lock().unwrap().reported.push(reported);
        ready(Ok(SteeringAnswer { run: Some(run), accepted, message, hint: None }))
    }
}

/// A dashboard over a stack that the test controls, served until dropped.
struct Served {
    held: Held,
    url: String,
    _runtime: tokio::runtime::Runtime,
}

fn serve(status: Option<Status>) -> Served {
    let held = Held::default();
    held.0.lock().unwrap().status = status;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let source = held.clone();
    let (tell, reported) = std::sync::mpsc::channel();
    // The future of the poller stays on its thread, as in the command.
    let handle = runtime.handle().clone();
    std::thread::spawn(move || {
        handle.block_on(async {
            let place = Place { stack: "bluegreen".to_owned(), ..Place::default() };
            let dashboard = Dashboard::bind(source, place, 0).unwrap();
            tell.send(dashboard.url().to_owned()).unwrap();
            dashboard.run().await.unwrap();
        });
    });
    Served { held, url: reported.recv().unwrap(), _runtime: runtime }
}

fn environment(color: Color, role: Role, version: &str) -> Environment {
    Environment {
        color,
        role,
        version: version.to_owned(),
        image: format!("registry/app@sha256:{version}23456789abcdef0"),
        running: 2,
        desired: 2,
        healthy: 2,
        release: Some(7),
        changed: Some(Vec::new()),
        asleep: false,
        fault: None,
        requests: None,
    }
}

/// Green is prod with version 1, blue is dev with version 2.
fn status() -> Status {
    Status {
        schema: infra::status::SCHEMA,
        stack: "bluegreen".to_owned(),
        region: "eu-central-1".to_owned(),
        state: StackState::UpdateComplete,
        prod_url: "http://prod.example".to_owned(),
        dev_url: "http://dev.example:81".to_owned(),
        environments: vec![environment(Color::Blue, Role::DEV, "2"), environment(Color::Green, Role::PROD, "1")],
        drift: Vec::new(),
        requests_unknown: None,
        warnings: Vec::new(),
        unresolved: None,
        lease: None,
        runs: Vec::new(),
    }
}

fn run(phase: Phase, outcome: Option<Outcome>) -> Record {
    let mut record = Record::begin("run-1".to_owned(), Request::default(), Timestamp::now(), String::new());
    record.phase = phase;
    record.outcome = outcome;
    (record.from, record.to) = (Some(Color::Green), Some(Color::Blue));
    record.versions.old = Some("1".to_owned());
    record.versions.new = Some("2".to_owned());
    record
}

/// A run that swapped at 1.2 s, with this many probes so far; every 16th is slow, and `failed` of them fail.
fn probed(phase: Phase, outcome: Option<Outcome>, probes: u32, failed: &[u32]) -> Run {
    let samples: Vec<Sample> = (0..probes)
        .map(|sequence| {
            let scheduled_us = 180_000 + u64::from(sequence) * 100_000;
            let failure = failed.contains(&sequence).then_some(Failure::Status);
            let spread = u64::from(sequence * 7919 % 23) * 110;
            let slow = if sequence % 16 == 7 { 6400 } else { 0 };
            Sample {
                sequence,
                phase: if sequence < 10 { Phase::Baseline } else { Phase::Verify },
                scheduled_us,
                sent_us: Some(scheduled_us),
                first_byte_us: Some(scheduled_us + 2000),
                done_us: scheduled_us + 2900 + spread + slow,
                address: "192.0.2.1:80".to_owned(),
                connection: if sequence.is_multiple_of(2) { Connection::KeptAlive } else { Connection::Fresh },
                status: Some(if failure.is_some() { 503 } else { 200 }),
                version: Some(if sequence < 11 { "1" } else { "2" }.to_owned()),
                bytes: 512,
                failure,
                detail: None,
            }
        })
        .collect();
    let mut tally = Tally::default();
    for sample in &samples {
        tally.add(sample.clone(), false);
    }
    let mut record = run(phase, outcome);
    record.duration_ms = 200 + u64::from(probes) * 100;
    record.wrote = true;
    record.versions.seen = tally.seen().map(str::to_owned);
    record.probes = Some(tally.report(Some("2")));
    let write = |listener, to, phase, start_us| ListenerWrite {
        listener,
        to,
        weight: 100,
        phase,
        start_us,
        end_us: Some(start_us + 9000),
        result: WriteResult::Done,
    };
    record.writes = vec![
        write(Listener::Dev, Color::Green, Phase::SwapDev, 1_190_000),
        write(Listener::Prod, Color::Blue, Phase::SwapProd, 1_200_000),
    ];
    let step = |name: &str, start_ms, end_ms| Step {
        kind: None,
        name: name.to_owned(),
        start_ms,
        end_ms: Some(end_ms),
        note: None,
    };
    record.steps = vec![
        step("take the lease", 2, 12),
        step("probe blue through dev", 60, 170),
        step("probe prod before", 175, 1188),
        step("write dev green", 1190, 1199),
        step("write prod blue", 1200, 1209),
        step("settle", 1210, 2210),
        step("verify", 2210, record.duration_ms),
    ];
    let samples = Samples::encode(&record.id, &samples, outcome.is_some());
    Run { record, samples: Some(samples), changed: None }
}

#[test]
fn every_probe_of_a_run_is_in_the_chart_and_a_failed_one_stands_out() {
    let served = serve(Some(status()));
    served.held.0.lock().unwrap().run = Some(probed(Phase::Verify, None, 90, &[40]));
    let mut status = status();
    let done = probed(Phase::Done, Some(Outcome::Done), 150, &[]);
    status.runs = vec![Record { phase: Phase::Verify, ..run(Phase::Verify, None) }, done.record.clone()];
    served.held.0.lock().unwrap().status = Some(status.clone());
    let browser = Browser::start();
    browser.size(1280, 1100);
    browser.open(&served.url);
    browser.wait_for("#run .stages .current", "verify");
    let points = |series: &str| {
        let path =
            browser.eval(&format!("return document.querySelector('#run .wide .points .{series}').getAttribute('d')"));
        path.as_str().unwrap().matches('M').count()
    };
    // One subpath per probe.
    assert_eq!((points("green"), points("blue"), points("failed")), (11, 78, 1));
    browser.wait("document.querySelectorAll('#run .wide .write').length === 2");
    let why = browser.eval("return document.querySelector('#run .wide .failures title').textContent");
    assert!(why.as_str().unwrap().contains("bad status"), "{why}");
    browser.screenshot("held-running");
    browser.dark(true);
    browser.screenshot("held-running-dark");
    browser.size(390, 844);
    browser.screenshot("held-phone-dark");
    browser.eval("document.getElementById('run').scrollIntoView()");
    browser.screenshot("held-phone-chart");
    browser.dark(false);
    browser.size(1280, 1100);
    served.held.0.lock().unwrap().run = Some(done.clone());
    status.runs.remove(0);
    served.held.0.lock().unwrap().status = Some(status);
    browser.wait_for("#run h2", "Prod moved from green (version 1) to blue (version 2)");
    browser.screenshot("held-done");
    browser.click("#actions button");
    browser.screenshot("held-confirm");
}

#[test]
fn both_environments_are_shown_with_role_and_version() {
    let served = serve(Some(status()));
    let browser = Browser::start();
    browser.open(&served.url);
    browser.wait_for("#connection", "live");
    let (blue, green) = (browser.text("article.blue"), browser.text("article.green"));
    assert!(blue.contains("DEV") && blue.contains("version 2") && blue.contains("2 healthy"), "{blue}");
    assert!(green.contains("PROD") && green.contains("version 1"), "{green}");
    let address = browser.eval("return location.href");
    assert!(!address.as_str().unwrap().contains("token"), "the secret stays out of the history: {address}");
    let errors = browser.eval("return performance.getEntriesByType('resource').map(it => it.name)");
    for resource in errors.as_array().unwrap() {
        assert!(resource.as_str().unwrap().starts_with("http://127.0.0.1:"), "{resource} is loaded from elsewhere");
    }
}

/// Requests of the last 15 minutes and the current minute, from one number per minute.
fn requests(counts: [u64; 16], errors: u64) -> Requests {
    let begins = |minute: i64| Timestamp::from_second(1_763_892_000 + minute * 60).unwrap();
    let minute = |(number, count): (usize, &u64)| Minute {
        begins: begins(i64::try_from(number).unwrap()),
        requests: Some(*count),
        errors: if number == 9 { errors } else { 0 },
        p99_ms: Some(34.0),
    };
    let minutes: Vec<Minute> = counts.iter().enumerate().map(minute).collect();
    Requests { last: minutes[14].clone(), minutes }
}

#[test]
fn requests_are_shown_and_where_they_are_not_known_everything_else_is() {
    let mut status = status();
    status.environments[0].requests = Some(requests([0; 16], 0));
    let counts = [90, 102, 95, 110, 121, 108, 130, 142, 139, 155, 150, 161, 148, 170, 166, 40];
    status.environments[1].requests = Some(requests(counts, 12));
    let served = serve(Some(status.clone()));
    let browser = Browser::start();
    browser.size(1280, 900);
    browser.open(&served.url);
    browser.wait_for("article.blue", "none in 15 minutes");
    let green = browser.text("article.green");
    for words in ["166 in the minute of 10:14 UTC, 99 % within 34 ms", "2027 in 15 minutes, ✕ 12 5xx responses"] {
        assert!(green.contains(words), "{green}");
    }
    let heights = browser.eval(
        "return [...document.querySelectorAll('svg.requests rect.green')].map(it => it.getBoundingClientRect().height)",
    );
    let heights: Vec<f64> = heights.as_array().unwrap().iter().map(|height| height.as_f64().unwrap()).collect();
    assert_eq!(heights.len(), 16);
    assert!(heights[13] > 40.0 && (heights[0] / heights[13] - 90.0 / 170.0).abs() < 0.02, "{heights:?}");
    browser.screenshot("held-requests");
    browser.dark(true);
    browser.screenshot("held-requests-dark");
    browser.size(390, 1200);
    browser.screenshot("held-requests-phone-dark");

    for environment in &mut status.environments {
        environment.requests = None;
    }
    status.requests_unknown = Some("AccessDenied: not allowed: cloudwatch:GetMetricData".to_owned());
    served.held.0.lock().unwrap().status = Some(status);
    browser.wait_for("article.green", "unknown: AccessDenied: not allowed: cloudwatch:GetMetricData");
    assert!(browser.text("article.green").contains("PROD") && browser.text("#notices").is_empty());
    browser.screenshot("held-requests-unknown");
}

#[test]
fn a_cutover_is_asked_for_only_after_its_consequence_was_agreed_to() {
    let served = serve(Some(status()));
    let browser = Browser::start();
    browser.open(&served.url);
    browser.wait_for("#actions", "Cut over to blue");
    browser.click("#actions button");
    let consequence = browser.text("#confirm-text");
    assert!(consequence.contains("http://prod.example will be served by blue (version 2)"), "{consequence}");
    assert!(consequence.contains("instead of green (version 1)"), "{consequence}");
    browser.press("\u{e00c}"); // Escape
    browser.wait("!document.getElementById('confirm').open");
    assert!(served.held.0.lock().unwrap().new_runs.is_empty());

    // With the keyboard only: the focus is on the harmless answer, and after one Tab on the other.
    browser.eval("document.querySelector('#actions button').focus()");
    browser.press("\u{e007}"); // Enter
    browser.wait("document.activeElement.id === 'confirm-no'");
    browser.press("\u{e004}"); // Tab
    browser.press("\u{e007}");
    browser.wait_for("#run", "was requested");
    let new_run = NewRun { op: Op::Cutover, to: Color::Blue, expect: Color::Green };
    assert_eq!(served.held.0.lock().unwrap().new_runs, [new_run]);

    served.held.0.lock().unwrap().run = Some(run(Phase::Gate, None).into());
    browser.wait_for("#run .stages .current", "gate");
    browser.wait_for("#actions-blocked", "a run is in progress");
    served.held.0.lock().unwrap().run = Some(run(Phase::RollBack, None).into());
    browser.wait_for("#run .stages .current", "rollback");
    served.held.0.lock().unwrap().run = Some(run(Phase::RolledBack, Some(Outcome::RolledBack)).into());
    browser.wait_for("#run h2", "Rolled back: prod is green (version 1) again");
    browser.wait_for("#announcement", "Rolled back");
}

#[test]
fn a_run_that_is_under_way_is_aborted_after_a_confirmation() {
    let mut shift = probed(Phase::Shift, None, 40, &[]);
    shift.record.request.shift = vec![ShiftStep { weight: 10, hold: ShiftStep::HOLD }];
    let mut status = status();
    status.environments[0] = environment(Color::Blue, Role { share: 10, dev: false }, "2");
    status.environments[1] = environment(Color::Green, Role { share: 90, dev: true }, "1");
    status.runs = vec![shift.record.clone()];
    let served = serve(Some(status));
    served.held.0.lock().unwrap().run = Some(shift);
    let browser = Browser::start();
    browser.size(1280, 1100);
    browser.open(&served.url);
    browser.wait_for("#steering", "Abort");
    assert!(browser.text("article.green").contains("PROD 90 % + DEV") && browser.text("#notices").is_empty());
    assert!(browser.text("article.blue").contains("PROD 10 %"));
    browser.screenshot("held-shift");
    browser.click("#steering button[data-key=abort]");
    let consequence = browser.text("#confirm-text");
    assert!(consequence.contains("green (version 1) serves all users of http://prod.example again"), "{consequence}");
    assert_eq!(browser.text("#confirm-no"), "Let the run continue");
    browser.press("\u{e00c}"); // Escape
    browser.wait("!document.getElementById('confirm').open");
    assert!(served.held.0.lock().unwrap().reported.is_empty());
    browser.click("#steering button[data-key=abort]");
    browser.click("#confirm-yes");
    browser.wait_for("#run", "Run run-1: abort requested.");
    let reported = |op| Steer { op, run: "run-1".to_owned() };
    assert_eq!(served.held.0.lock().unwrap().reported, [reported(Op::Abort)]);

    // The dialog shows a rejection of the function.
    browser.click("#steering button[data-key=promote]");
    browser.click("#confirm-yes");
    browser.wait_for("#confirm-problem", "Refused: no.");
    browser.click("#confirm-no");
    assert_eq!(served.held.0.lock().unwrap().reported, [reported(Op::Abort), reported(Op::Promote)]);
    // If the focused button disappears, the verdict gets the focus.
    browser.eval("document.querySelector('#steering button[data-key=abort]').focus()");

    let mut back = probed(Phase::RolledBack, Some(Outcome::RolledBack), 40, &[30, 31]);
    back.record.message = "Rolled back: green is prod again.".to_owned();
    let mut status = served.held.0.lock().unwrap().status.clone().unwrap();
    status.environments = vec![environment(Color::Blue, Role::DEV, "2"), environment(Color::Green, Role::PROD, "1")];
    status.runs = vec![back.record.clone()];
    served.held.0.lock().unwrap().status = Some(status);
    served.held.0.lock().unwrap().run = Some(back);
    browser.wait_for("#run", "Rolled back: green is prod again.");
    browser.wait("document.getElementById('steering').innerText === ''");
    browser.wait("document.activeElement.dataset.key === 'verdict'");
    // The reason, and no rate: the run did not send all planned probes.
    let panel = browser.text("#run");
    for words in ["2 failed probes", "192.0.2.1:80", "bad status", "The first failure came"] {
        assert!(panel.contains(words), "{words}: {panel}");
    }
    assert!(!panel.contains("95 %"), "{panel}");
    browser.wait_for("#actions", "Retry the cutover to blue");
    assert!(browser.text("#actions-note").contains("Deploy a fix first: blue (version 2) failed"));
    browser.screenshot("held-rolled-back");
}

#[test]
fn a_run_that_was_held_keeps_a_banner_that_says_what_users_get_now() {
    let mut status = status();
    status.unresolved = Some(Unresolved {
        run: "run-1".to_owned(),
        outcome: Outcome::Held,
        message: "Held: prod is on blue v2 and answers HTTP 500.".to_owned(),
        now: "Prod is on blue now: version 2, 2 of 2 tasks healthy.".to_owned(),
        todo: "Deploy a fix.".to_owned(),
    });
    let served = serve(Some(status.clone()));
    let browser = Browser::start();
    browser.open(&served.url);
    browser.wait_for("#unresolved", "Held: prod is on blue v2 and answers HTTP 500.");
    let banner = browser.text("#unresolved");
    assert!(banner.contains("Prod is on blue now") && banner.contains("→ Deploy a fix."), "{banner}");
    browser.wait("document.title.startsWith('✕ held, prod is green')");
    browser.screenshot("held-banner");
    status.unresolved = None;
    served.held.0.lock().unwrap().status = Some(status);
    browser.wait("document.getElementById('unresolved') === null");
}

#[test]
fn the_cloud_is_asked_only_while_somebody_looks() {
    let served = serve(Some(status()));
    let looks = || served.held.0.lock().unwrap().looks;
    let browser = Browser::start();
    browser.open(&served.url);
    browser.wait_for("#connection", "live");
    let before = looks();
    let deadline = Instant::now() + Duration::from_secs(20);
    while looks() < before + 2 {
        assert!(Instant::now() < deadline, "a page that is open is not fed");
        std::thread::sleep(Duration::from_millis(50));
    }
    browser.open("about:blank");
    // The server notices at its next write; then there are no more polls within twice their interval.
    let (mut last, mut since) = (looks(), Instant::now());
    while since.elapsed() < Duration::from_secs(4) {
        assert!(Instant::now() < deadline, "the page is closed, but the cloud is still polled");
        if looks() != last {
            (last, since) = (looks(), Instant::now());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_cloud_that_cannot_be_reached_is_said_and_comes_back_by_itself() {
    let served = serve(None);
    let browser = Browser::start();
    browser.open(&served.url);
    browser.wait_for("#notices", "cannot read the stack");
    browser.wait_for("#notices", "connection refused");
    served.held.0.lock().unwrap().status = Some(status());
    browser.wait_for("#environments", "version 2");
    browser.wait("document.getElementById('notices').innerText === ''");
    served.held.0.lock().unwrap().status = None;
    browser.wait_for("#notices", "may be outdated");
    browser.wait_for("#actions-blocked", "the stack cannot be read");
    assert!(browser.text("#environments").contains("version 2"), "what was known stays on the page");
}

#[test]
fn what_a_stack_says_of_itself_is_text() {
    let hostile = "<img src=x onerror='document.title=\"owned\"'><b>";
    let mut status = status();
    status.environments[0].version = hostile.to_owned();
    status.environments[0].fault = Some(hostile.to_owned());
    status.warnings = vec![hostile.to_owned()];
    status.dev_url = "javascript:document.title='owned'".to_owned();
    let mut record = run(Phase::Done, Some(Outcome::Done));
    record.versions.new = Some(hostile.to_owned());
    record.message = hostile.to_owned();
    record.id = "../'\"><b>".to_owned();
    status.runs = vec![record];
    let served = serve(Some(status));
    let browser = Browser::start();
    browser.open(&served.url);
    browser.wait_for("article.blue", "onerror");
    assert_eq!(browser.eval("return document.querySelectorAll('main img, main b').length"), 0);
    assert_eq!(browser.eval("return document.querySelectorAll('main a[href^=javascript]').length"), 0);
    assert_eq!(browser.eval("return [...document.querySelectorAll('#history a')].length"), 0);
    assert_ne!(browser.eval("return document.title"), "owned");
}

#[test]
fn every_width_holds_the_page_and_every_control_is_large_enough_for_a_thumb() {
    let served = serve(Some(status()));
    let browser = Browser::start();
    for (width, height) in [(360, 740), (768, 1024), (1280, 900)] {
        browser.size(width, height);
        browser.open(&served.url);
        browser.wait_for("#actions", "Cut over");
        let overflow =
            browser.eval("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(overflow, 0, "the page is wider than {width}");
        let height = browser.eval("return document.querySelector('#actions button').getBoundingClientRect().height");
        assert!(height.as_f64().unwrap() >= 44.0, "{height}");
    }
}

#[test]
fn another_site_can_neither_read_nor_change_anything() {
    let served = serve(Some(status()));
    let address = served.url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let ask = |method: &str, path: &str, host: &str, extra: &str| {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{extra}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let secret = served.url.split_once("/?").unwrap().1;
    for (path, host) in [
        ("/", "evil.example"),
        (&*format!("/?{secret}"), "evil.example"),
        ("/?token=x", &*address),
        ("/events", &*address),
    ] {
        let answer = ask("GET", path, host, "");
        assert!(answer.starts_with("HTTP/1.1 403"), "{path} of {host}: {answer}");
    }
    let body = r#"{"op":"cutover","to":"blue","expect":"green"}"#;
    let post =
        format!("origin: http://evil.example\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let answer = ask("POST", "/runs", &address, &format!("{post}\r\n{body}"));
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let broken = ask("POST", "/runs", &address, "content-type: application/json\r\ncontent-length: 1\r\n\r\n{");
    assert!(broken.starts_with("HTTP/1.1 403"), "refused before it is parsed: {broken}");
    let page = ask("GET", "/", &address, "");
    assert!(page.starts_with("HTTP/1.1 200") && !page.contains("version"), "a page without content: {page}");
    assert!(!page.to_ascii_lowercase().contains("set-cookie"), "{page}");
    assert!(served.held.0.lock().unwrap().new_runs.is_empty());
}

#[test]
fn a_server_on_another_port_of_this_machine_never_sees_the_secret() {
    use std::io::{Read as _, Write as _};
    let served = serve(Some(status()));
    let secret = served.url.split_once("token=").unwrap().1.to_owned();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 8192];
            let length = stream.read(&mut request).unwrap_or(0);
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&request[..length]));
            let body = "<body>another service</body>";
            let begin = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length:";
            let _ = write!(stream, "{begin} {}\r\n\r\n{body}", body.len());
        }
    });
    let browser = Browser::start();
    browser.open(&served.url);
    browser.wait_for("#connection", "live");
    browser.open(&format!("http://{other}/"));
    browser.wait_for("body", "another service");
    let kept = browser.eval("return JSON.stringify([document.cookie, sessionStorage, localStorage])");
    assert!(!kept.as_str().unwrap().contains(&secret), "{kept}");
    let heard = requests.lock().unwrap().clone();
    assert!(heard.contains("GET / ") && !heard.contains(&secret), "{heard}");
    assert!(!heard.to_ascii_lowercase().contains("cookie"), "{heard}");

    // The tab of the dashboard has kept it.
    let own = served.url.split_once('?').unwrap().0;
    browser.open(own);
    browser.wait_for("#connection", "live");
    browser.wait_for("article.green", "version 1");
}
