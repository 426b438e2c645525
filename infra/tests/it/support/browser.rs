//! A headless Chromium, controlled by the part of the `WebDriver` protocol that the tests need.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// Time limit for a change on a page.
const PATIENCE: Duration = Duration::from_mins(1);

/// The key of element ids in `WebDriver`.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

const MISSING: &str = "these tests need a browser: apt-get install chromium chromium-driver (Debian), or put chromedriver \
                       and chromium in the PATH";

/// The number of attempts to start a driver.
const TRIES: u32 = 5;

/// A driver with its port; none if it ended without a port.
fn driver() -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("chromedriver does not start ({error}): {MISSING}"));
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok());
    if port.is_none() {
        // The driver has closed its output, so it ends.
        driver.wait().unwrap();
    }
    Some((driver, port?))
}

/// A browser with one window, closed when dropped.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    pub fn start() -> Self {
        // The driver selects a free port and binds it later: if another process was faster, it ends.
        let driver = (0..TRIES).find_map(|_| driver());
        let (driver, port) = driver.expect("chromedriver tells its port");
        let mut browser = Self { driver, port, session: String::new() };
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": arguments } } } });
        let session = browser.ask("POST", "/session", &wanted);
        session["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no session: {session}: {MISSING}"))
            .clone_into(&mut browser.session);
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap();
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        answer["value"].take()
    }

    #[track_caller]
    fn in_session(&self, path: &str, body: &Value) -> Value {
        let value = self.ask("POST", &format!("/session/{}{path}", self.session), body);
        assert!(value["error"].is_null(), "{path}: {value}");
        value
    }

    fn cdp(&self, command: &str, parameters: &Value) {
        self.in_session("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    #[track_caller]
    pub fn open(&self, url: &str) {
        self.in_session("/url", &json!({ "url": url }));
    }

    /// The value that a script returns.
    #[track_caller]
    pub fn eval(&self, script: &str) -> Value {
        self.in_session("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The visible text of the first element that matches.
    #[track_caller]
    pub fn text(&self, css: &str) -> String {
        let css = Value::from(css);
        let text = self.eval(&format!("return document.querySelector({css})?.innerText ?? ''"));
        text.as_str().unwrap().to_owned()
    }

    /// Waits until a script returns true.
    #[track_caller]
    pub fn wait(&self, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.eval(&format!("return Boolean({script})")) != Value::Bool(true) {
            let page = self.eval("return document.body.innerText");
            assert!(Instant::now() < deadline, "never: {script}\non the page:\n{}", page.as_str().unwrap_or_default());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the text of an element contains this.
    #[track_caller]
    pub fn wait_for(&self, css: &str, text: &str) {
        let (css, text) = (Value::from(css), Value::from(text));
        self.wait(&format!("document.querySelector({css})?.innerText.toLowerCase().includes({text}.toLowerCase())"));
    }

    #[track_caller]
    fn element(&self, css: &str) -> String {
        let found = self.in_session("/element", &json!({ "using": "css selector", "value": css }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks as a user would: the element must be visible and not covered.
    #[track_caller]
    pub fn click(&self, css: &str) {
        let element = self.element(css);
        self.in_session(&format!("/element/{element}/click"), &json!({}));
    }

    /// Presses one key on the focused element.
    #[track_caller]
    pub fn press(&self, key: &str) {
        let actions = [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        self.in_session("/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }));
    }

    /// Sets the size of the window in pixels.
    pub fn size(&self, width: u32, height: u32) {
        let mobile = width < 600;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": mobile });
        self.cdp("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub fn dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.cdp("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Writes a screenshot to the folder `BLUEGREEN_SCREENSHOTS`, if the variable is set.
    pub fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("BLUEGREEN_SCREENSHOTS") else { return };
        let picture = self.ask("GET", &format!("/session/{}/screenshot", self.session), &Value::Null);
        let picture = base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(Path::new(&folder).join(name).with_extension("png"), picture).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        // The browser ends with its driver; a failure means that the driver has ended.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
