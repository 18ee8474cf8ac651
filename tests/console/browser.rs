//! A real browser, by WebDriver (<https://www.w3.org/TR/webdriver2/>): Chromium without a window.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

use crate::node::{free_port, wait_for};
use crate::tool;

/// What keeps it from asking for anything but what a page asks for.
const FLAGS: &[&str] = &[
    "--headless=new",
    // It is root where tests are, and in no sandbox of its own then.
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

/// How an element is named in answers (WebDriver §12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) struct Browser {
    driver: Child,
    agent: Agent,
    base: String,
    _profile: TempDir,
}

impl Browser {
    /// `None` where there is no browser: the test is skipped.
    pub(crate) fn start() -> Option<Self> {
        let (driver, chromium) = (tool::find("chromedriver")?, tool::find("chromium")?);
        let port = free_port();
        let mut command = Command::new(driver);
        let driver = command.arg(format!("--port={port}"));
        let driver = driver.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let config = Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent = config.timeout_global(Some(Duration::from_secs(60))).build().new_agent();
        let profile = tempfile::tempdir().unwrap();
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Self { driver, agent, base, _profile: profile };
        wait_for("the driver answers", || {
            browser.agent.get(format!("{}/status", browser.base)).call().ok()
        });
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let flags: Vec<&str> = FLAGS.iter().copied().chain([folder.as_str()]).collect();
        let options = json!({ "args": flags, "binary": chromium });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = browser.post("/session", &wanted);
        let id = session["sessionId"].as_str().unwrap();
        browser.base = format!("{}/session/{id}", browser.base);
        Some(browser)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.agent.post(format!("{}{path}", self.base)).send_json(body).unwrap();
        Self::value(path, answer)
    }

    fn get(&self, path: &str) -> Value {
        Self::value(path, self.agent.get(format!("{}{path}", self.base)).call().unwrap())
    }

    fn value(path: &str, mut answer: ureq::http::Response<ureq::Body>) -> Value {
        let status = answer.status();
        let mut body: Value = answer.body_mut().with_config().limit(64 << 20).read_json().unwrap();
        assert!(status.is_success(), "{path}: {body}");
        body["value"].take()
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// What a script returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// All text that a person sees.
    pub(crate) fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap().to_owned()
    }

    pub(crate) fn wait_for_text(&self, words: &str) {
        let seen = || Some(()).filter(|()| self.text().contains(words));
        wait_for(&format!("the page says {words:?}"), seen);
    }

    fn element(&self, selector: &str) -> String {
        let asked = json!({ "using": "css selector", "value": selector });
        let found = self.post("/element", &asked);
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// As a person does: it must be there, in sight, and not covered.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Into whatever has the focus.
    pub(crate) fn press(&self, key: &str) {
        let actions: Vec<Value> =
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })).into();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", &json!({ "actions": [keyboard] }));
    }

    /// The window's inside.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.post("/goog/cdp/execute", &command);
    }

    /// What scripts and the browser complained of, all but the answers that a page expects.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let lines = self.post("/se/log", &json!({ "type": "browser" }));
        let lines = lines.as_array().unwrap().iter();
        let words = lines.map(|line| line["message"].as_str().unwrap().to_owned());
        words.filter(|line| !line.contains("the server responded with a status of")).collect()
    }

    /// A picture of what is in the window, for people: `CONSOLE_PICTURES` names the folder.
    pub(crate) fn picture(&self, name: &str) {
        use base64::Engine as _;
        let Some(folder) = std::env::var_os("CONSOLE_PICTURES") else { return };
        let picture = self.get("/screenshot");
        let picture = base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap());
        let path = Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(path, picture.unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its browser ends with its session.
        drop(self.agent.delete(&self.base).call());
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
