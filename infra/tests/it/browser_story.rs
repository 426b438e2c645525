//! The dashboard and the report of a real stack on the local cloud: a real cutover, seen in a real browser.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::browser::Browser;
use crate::support::{Client, Cloud, User, get};

/// `bluegreen dashboard`, stopped when dropped.
struct Dashboard {
    process: Child,
    url: String,
}

impl Dashboard {
    fn start(cloud: &Cloud) -> Self {
        let mut process = cloud.command(&["dashboard"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        Self { process, url: url.trim().to_owned() }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Six minutes of users, and of requests to the next version: for the screenshots.
fn some_minutes_of_users(cloud: &Cloud) {
    let (mut prod, mut dev) = (Client::new(cloud.address(0)), Client::new(cloud.address(1)));
    let began = Instant::now();
    for number in 0_u64.. {
        let minute = began.elapsed().as_secs() / 60;
        if minute == 6 {
            return;
        }
        prod.get("/").unwrap();
        if number % 40 == 0 && minute > 2 {
            dev.get("/").unwrap();
        }
        // The interval between requests.
        std::thread::sleep(Duration::from_millis(30 + 25 * ((minute * 7) % 4)));
    }
}

#[test]
fn a_cutover_is_followed_live_and_a_rollback_clicked_through() {
    let cloud = Cloud::start([80, 81]);
    cloud.run(&["deploy"]).expect(0);
    cloud.run(&["deploy", "--version", "2"]).expect(0);
    if std::env::var_os("BLUEGREEN_SCREENSHOTS").is_some() {
        some_minutes_of_users(&cloud);
    }
    let dashboard = Dashboard::start(&cloud);
    let browser = Browser::start();
    browser.size(1280, 1130);
    browser.open(&dashboard.url);
    browser.wait_for("article.green", "PROD");
    browser.wait_for("article.blue", "version 2");
    browser.wait_for("article.blue", "in 15 minutes");

    // Started outside the page: the page shows the run without a reload.
    let user = User::of(cloud.address(0), "/");
    std::thread::scope(|scope| {
        let cutover = scope.spawn(|| cloud.run(&["cutover"]));
        browser.wait_for("#run .stages .current", "verify");
        browser.wait("[...document.querySelectorAll('#run .numbers dd')].some(it => Number(it.innerText) > 60)");
        let chart = "#run .chart.wide";
        browser.wait(&format!("document.querySelectorAll('{chart} .write').length === 2"));
        browser.screenshot("dashboard-cutover");
        browser.dark(true);
        browser.screenshot("dashboard-cutover-dark");
        browser.dark(false);
        cutover.join().unwrap().expect(0);
    });
    browser.wait_for("article.blue", "PROD");
    browser.wait_for("#run h2", "Prod moved from green (version 1) to blue (version 2)");
    browser.wait_for("#history", "done");

    browser.wait_for("#actions", "Roll back to green");
    browser.click("#actions button[data-key=rollback]");
    assert!(browser.text("#confirm-text").contains("served by green (version 1) instead of blue (version 2)"));
    browser.screenshot("dashboard-confirm");
    browser.click("#confirm-yes");
    browser.wait_for("article.green", "PROD");
    browser.wait_for("#run h2", "Prod moved from blue (version 2) to green (version 1)");
    let seen = user.leave();
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert_eq!(seen.versions, ["1", "2", "1"]);
    assert_eq!(get(&cloud.address(0), "/").version.as_deref(), Some("1"));
    // Both environments have answered users or probes since the page was opened.
    for environment in ["article.blue", "article.green"] {
        browser.wait_for(environment, "no 5xx responses");
        browser.wait(&format!("document.querySelector('{environment} svg.requests') !== null"));
    }
    browser.size(390, 844);
    browser.dark(true);
    browser.screenshot("dashboard-phone-dark");
    browser.dark(false);
    browser.size(1280, 1130);

    // The report of the same run, from the page and from the command.
    let report = browser.eval("return document.querySelector('#run a').href");
    browser.open(report.as_str().unwrap());
    browser.wait_for("h1", "Prod moved from blue (version 2) to green (version 1)");
    let file = cloud.run(&["report"]).expect(0).out;
    assert!(file.contains("Prod moved from blue (version 2) to green (version 1)"), "{file}");
    browser.screenshot("report");
    let markdown = cloud.run(&["report", "--format", "md"]).expect(0).out;
    assert!(markdown.starts_with("### ✅ Prod moved from blue (version 2) to green"), "{markdown}");
}
