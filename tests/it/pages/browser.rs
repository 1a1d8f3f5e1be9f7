//! A browser without a window, driven through Chromium's DevTools protocol over a pair of pipes: file descriptors 3 and 4, each
//! message in JSON with a zero byte behind it.
//!
//! No crate: those that speak this protocol bring a generated type for each of its thousand messages, and WebDriver takes a driver
//! of exactly the browser's version. A dozen messages are needed here. Waits end when the browser reports what is waited for; only a
//! browser that hangs reaches the deadline.

use crate::support::say_skipped;
use base64::Engine as _;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Mutex, MutexGuard};

/// The names under which Chromium is installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Reached only if the browser hangs: on a machine under load it takes many seconds to start.
const DEADLINE: Duration = Duration::from_secs(240);
/// One browser at a time: each has several processes.
static ONE: Mutex<()> = Mutex::const_new(());

/// What the browser does when a password is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// Cancels.
    None,
    /// Gives this one.
    Is(&'static str),
}

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: UnboundedReceiver<Value>,
    session: Option<String>,
    calls: u64,
    /// Loads that were reported and not yet waited for.
    loaded: usize,
    password: Password,
    errors: Vec<String>,
    _profile: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Browser {
    /// A browser with an empty page; `None` where none is installed.
    pub async fn start() -> Option<Self> {
        let Some(program) = program() else {
            say_skipped("there is no Chromium here");
            return None;
        };
        let one = ONE.lock().await;
        let profile = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sh");
        // The shell puts the pipes where Chromium expects them.
        command.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"#]).arg(program);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(["--remote-debugging-pipe", "about:blank"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (sender, receiver) = unbounded_channel();
        std::thread::spawn(move || {
            for message in BufReader::new(from).split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).expect("JSON")).is_err() {
                    return; // the test has ended
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from: receiver,
            session: None,
            calls: 0,
            loaded: 0,
            password: Password::None,
            errors: Vec::new(),
            _profile: profile,
            _one: one,
        };
        browser.attach().await;
        Some(browser)
    }

    async fn attach(&mut self) {
        let targets = self.call("Target.getTargets", json!({})).await;
        let targets = targets["targetInfos"].as_array().expect("targets");
        let page = targets.iter().find(|target| target["type"] == "page").expect("a page")["targetId"].clone();
        let attached = self.call("Target.attachToTarget", json!({"targetId": page, "flatten": true})).await;
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({})).await;
        }
        self.call("Fetch.enable", json!({"handleAuthRequests": true})).await;
    }

    /// What the browser does from now on when a password is asked for.
    pub fn set_password(&mut self, password: Password) {
        self.password = password;
    }

    /// Makes the page so wide, and light or dark.
    pub async fn look(&mut self, width: u32, scheme: &str) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// Opens a page, and waits until it is loaded.
    pub async fn open(&mut self, url: &str) {
        self.loaded = 0;
        self.call("Page.navigate", json!({"url": url})).await;
        self.loaded().await;
    }

    /// Waits until the page that was led to is loaded.
    pub async fn loaded(&mut self) {
        while self.loaded == 0 {
            let message = self.next().await;
            self.handle(&message);
        }
        self.loaded = 0;
    }

    /// The value of an expression in the page.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let call = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut evaluated = self.call("Runtime.evaluate", call).await;
        assert!(evaluated.get("exceptionDetails").is_none(), "{evaluated:#}");
        evaluated["result"]["value"].take()
    }

    /// The text that a reader sees.
    pub async fn text(&mut self) -> String {
        self.eval("document.body.innerText").await.as_str().expect("text").to_owned()
    }

    /// Clicks with the mouse on the first element that fits.
    pub async fn click(&mut self, selector: &str) {
        let place = format!(
            "(() => {{ const found = document.querySelector({selector:?}); found.scrollIntoView({{block: 'center'}});
              const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2] }})()"
        );
        let place = self.eval(&place).await;
        self.loaded = 0;
        for (kind, buttons) in [("mousePressed", 1), ("mouseReleased", 0)] {
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "buttons": buttons, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Presses a key: `Tab`, `Enter` or ` `.
    pub async fn press(&mut self, key: &str) {
        let (code, number, text) = match key {
            "Tab" => ("Tab", 9, ""),
            "Enter" => ("Enter", 13, "\r"),
            " " => ("Space", 32, " "),
            other => panic!("{other} is not on this keyboard"),
        };
        self.loaded = 0;
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Types into the field with the focus.
    pub async fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// The errors in the console since this was last asked.
    pub fn errors(&mut self) -> Vec<String> {
        std::mem::take(&mut self.errors)
    }

    /// Writes a picture of the whole page to a file.
    pub async fn picture(&mut self, file: &std::path::Path) {
        let size = self.call("Page.getLayoutMetrics", json!({})).await["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let call = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.call("Page.captureScreenshot", call).await;
        let bytes = base64::prelude::BASE64_STANDARD.decode(picture["data"].as_str().expect("data")).expect("base64");
        std::fs::write(file, bytes).expect("written");
    }

    /// Calls a method of the protocol; its result.
    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        let call = self.send(method, parameters);
        loop {
            let mut message = self.next().await;
            if message["id"] != call {
                self.handle(&message);
                continue;
            }
            assert!(message.get("error").is_none(), "{method}: {message:#}");
            return message["result"].take();
        }
    }

    /// Calls a method without waiting for its result; the number of the call.
    fn send(&mut self, method: &str, parameters: Value) -> u64 {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser runs");
        self.calls
    }

    async fn next(&mut self) -> Value {
        let message = tokio::time::timeout(DEADLINE, self.from.recv()).await.expect("the browser answers");
        message.expect("the browser runs")
    }

    /// What the browser reports by itself.
    fn handle(&mut self, message: &Value) {
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Page.loadEventFired") => self.loaded += 1,
            Some("Fetch.requestPaused") => {
                self.send("Fetch.continueRequest", json!({"requestId": parameters["requestId"]}));
            }
            Some("Fetch.authRequired") => {
                let answer = match self.password {
                    Password::None => json!({"response": "CancelAuth"}),
                    Password::Is(password) => {
                        json!({"response": "ProvideCredentials", "username": "operator", "password": password})
                    }
                };
                let call = json!({"requestId": parameters["requestId"], "authChallengeResponse": answer});
                self.send("Fetch.continueWithAuth", call);
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                self.errors.push(parameters["entry"].to_string());
            }
            Some("Runtime.exceptionThrown") => self.errors.push(parameters.to_string()),
            Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => {
                self.errors.push(parameters.to_string());
            }
            _ => {}
        }
    }
}

/// No browser outlives its test.
impl Drop for Browser {
    fn drop(&mut self) {
        // Err: it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES.iter().flat_map(|name| places.iter().map(move |place| place.join(name))).find(|program| program.is_file())
}
