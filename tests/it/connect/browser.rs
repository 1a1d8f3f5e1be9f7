//! A browser: it keeps the service's cookie, follows redirects one by one, and remembers every URL that it was at.

use super::BEHIND;
use crate::support::{http, leaks, within};
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use url::form_urlencoded;

pub struct Browser {
    http: reqwest::Client,
    service: String,
    /// `name=value`.
    pub cookie: Option<String>,
    /// Every URL that it asked for or was sent to.
    pub urls: Vec<String>,
}

/// What the browser was answered.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    /// The heading.
    pub fn heading(&self) -> &str {
        let (_, rest) = self.text.split_once("<h1").unwrap_or_else(|| panic!("no heading: {self:?}"));
        rest.split_once('>').and_then(|(_, rest)| rest.split_once('<')).expect("a heading").0
    }

    /// The status and the heading.
    pub fn brief(&self) -> String {
        format!("{} {}", self.status, self.heading())
    }

    /// The hidden field of the form.
    pub fn state(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"state\" value=\"").unwrap_or_else(|| panic!("no form: {self:?}"));
        rest.split_once('"').expect("a value").0.to_owned()
    }

    pub fn location(&self) -> String {
        let location = self.headers.get(LOCATION).unwrap_or_else(|| panic!("no redirect: {self:?}"));
        location.to_str().expect("text").to_owned()
    }
}

impl Browser {
    pub fn new(service: &str) -> Self {
        Self { http: http(), service: service.to_owned(), cookie: None, urls: Vec::new() }
    }

    /// The same browser, sent to another replica.
    pub fn go_to(&mut self, service: &str) {
        service.clone_into(&mut self.service);
    }

    /// A page of the service.
    pub async fn get(&mut self, path: &str) -> Page {
        let request = self.http.get(format!("{}{}", self.service, path.trim_start_matches(BEHIND)));
        self.send(path, request).await
    }

    /// Sends a form to the service.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(format!("{}{path}", self.service));
        self.send(path, request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)).await
    }

    async fn send(&mut self, path: &str, request: reqwest::RequestBuilder) -> Page {
        self.urls.push(path.to_owned());
        let request = self.cookie.iter().fold(request, |request, cookie| request.header(COOKIE, cookie));
        let response = within(request.send()).await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = within(response.text()).await.expect("a body");
        leaks::check(&text);
        if let Some(set) = headers.get(SET_COOKIE) {
            let set = set.to_str().expect("text");
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        self.urls.extend(headers.get(LOCATION).map(|url| url.to_str().expect("text").to_owned()));
        Page { status, headers, text }
    }

    /// Enters `key` at the service's first page; what is answered.
    pub async fn submit(&mut self, key: &str) -> Page {
        let page = self.get("/connect").await;
        assert_eq!(page.status, 200, "{page:?}");
        self.post("/connect", &[("state", &page.state()), ("api_key", key)]).await
    }

    /// Enters `key`, and follows the redirect; the URL of the request for access.
    pub async fn enter(&mut self, key: &str) -> String {
        let page = self.submit(key).await;
        assert_eq!(page.status, 303, "{page:?}");
        page.location()
    }

    /// Decides at Segment, whose request for access is at `url`; the callback that Segment sends the browser to.
    pub async fn decide(&mut self, url: &str, source: &str, decision: &str) -> String {
        let (segment, _) = url.split_once("/oauth2/").expect("Segment");
        let asked = within(self.http.get(url).send()).await.expect("an answer");
        let consent = asked.headers()[LOCATION].to_str().expect("text").to_owned();
        let page = within(self.http.get(format!("{segment}{consent}")).send()).await.expect("an answer");
        assert_eq!(page.status().as_u16(), 200);
        let query = consent.split_once('?').expect("a query").1;
        let mut form = form_urlencoded::Serializer::new(query.to_owned());
        let form = form.append_pair("source", source).append_pair("decision", decision).finish();
        let decided =
            within(self.http.post(format!("{segment}/authorize")).body(form).send()).await.expect("an answer");
        let callback = decided.headers()[LOCATION].to_str().expect("text").to_owned();
        self.urls.push(callback.clone());
        callback
    }
}
