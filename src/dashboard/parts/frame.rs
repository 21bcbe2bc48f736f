//! The frame of every page: head, navigation, foot.

use axum::http::HeaderMap;
use axum::http::header::{HeaderValue, SET_COOKIE};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use serde_json::json;

use super::figures::firing_text;
use super::language::{COOKIE_NAME, Language};
use super::words::Words;
use crate::config::{self, Http};
use crate::dashboard::fixed_files;

/// The icon of the pages: bars in a square, with a red dot while an alert fires.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%230a56b4'/%3E%3Cpath d='M3 4h10v2H3zm0 3.5h7v2H3zM3 11h4v2H3z' fill='%23fff'/%3E%3C/svg%3E";
const ALERT_ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%230a56b4'/%3E%3Cpath d='M3 4h10v2H3zm0 3.5h7v2H3zM3 11h4v2H3z' fill='%23fff'/%3E%3Ccircle cx='11.5' cy='11.5' r='4.5' fill='%23e01b24'/%3E%3C/svg%3E";

/// The name of the cookie with the result of an action.
pub(in crate::engine::dashboard) const NOTICE_COOKIE: &str = "aqn";
/// The path of the page of alerts.
const ALERTS: &str = "/alerts";

/// Seconds between two updates that a visitor can choose.
const RATES: [u32; 3] = [1, 5, 30];

/// The settings that all pages share.
pub(in crate::engine::dashboard) struct Frame {
    title: String,
    base_path: String,
    has_tokens: bool,
    /// Whether the pages have no form that is posted.
    is_private: bool,
}

/// A page.
pub(in crate::engine::dashboard) struct Page {
    pub(in crate::engine::dashboard) title: String,
    pub(in crate::engine::dashboard) language: Language,
    /// The language that the request chose, which a cookie keeps.
    pub(in crate::engine::dashboard) chosen: Option<Language>,
    /// The path and query of the page below the base, for links to itself in another language.
    pub(in crate::engine::dashboard) path: String,
    /// The channel of the live updates, `*` for all; `None` for a page without live updates.
    pub(in crate::engine::dashboard) live: Option<String>,
    /// Whether the page shows the result of an action, which the next page does not.
    pub(in crate::engine::dashboard) shows_notice: bool,
    /// Whether the page is replaced at once by itself, as if the visitor had opened it from a page of the dashboard.
    pub(in crate::engine::dashboard) reopens: bool,
    pub(in crate::engine::dashboard) content: Markup,
}

impl Page {
    /// The mark of the link to a path in the navigation, if it leads to this page.
    fn current(&self, path: &str) -> Option<&'static str> {
        (self.path.split('?').next() == Some(path)).then_some("page")
    }

    /// The path of the page in another language.
    fn in_language(&self, tag: &str) -> String {
        let joint = if self.path.contains('?') { '&' } else { '?' };
        format!("{}{joint}lang={tag}", self.path)
    }
}

/// The path in the base of links, without a slash at its end; empty for none.
pub(in crate::engine::dashboard) fn base_path(public_url: &str) -> &str {
    let behind_scheme = public_url.split_once("://").map_or("", |(_, rest)| rest);
    behind_scheme.find('/').map_or("", |slash| behind_scheme[slash..].trim_end_matches('/'))
}

impl Frame {
    pub(in crate::engine::dashboard) fn new(settings: &Http, own: &config::Dashboard, host: &str) -> Self {
        Self {
            title: own.title.clone().unwrap_or_else(|| host.to_owned()),
            base_path: base_path(settings.public_url.as_deref().unwrap_or_default()).to_owned(),
            has_tokens: !own.viewers.is_empty() || !own.operators.is_empty(),
            is_private: false,
        }
    }

    /// The same frame for pages of one visitor, who neither signs in nor out.
    pub(in crate::engine::dashboard) fn for_one_visitor(self) -> Self {
        Self { has_tokens: false, is_private: true, ..self }
    }

    /// The path before all paths of the dashboard; empty for none.
    pub(in crate::engine::dashboard) fn base_path(&self) -> &str {
        &self.base_path
    }

    /// The address of a path of the dashboard.
    pub(in crate::engine::dashboard) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.base_path)
    }

    /// The whole page; `visitor` is the name of a visitor who has signed in, `firing` the number of alerts for one who may see it.
    pub(in crate::engine::dashboard) fn render(
        &self,
        page: &Page,
        visitor: Option<&str>,
        firing: Option<usize>,
    ) -> Response {
        let words = page.language.words();
        let (other_name, other_tag) = page.language.other();
        let markup = html! {
            (DOCTYPE)
            html lang=(page.language.tag()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if page.reopens {
                        meta http-equiv="refresh" content="0";
                    }
                    title { (page.title) " · " (self.title) " · aint-queue" }
                    link rel="icon" href=(ICON) data-calm=(ICON) data-alert=(ALERT_ICON);
                    link rel="stylesheet" href=(self.link(&fixed_files::address("app.css")));
                    // Without `defer`: the script sets the theme before the page is drawn.
                    script src=(self.link(&fixed_files::address("app.js"))) {}
                }
                body data-base=(self.base_path) data-live=[page.live.as_deref()] data-offline=(words.offline)
                    data-back=(words.back_online) data-local=(words.local_time) {
                    a class="skip" href="#main" { (words.skip) }
                    header class="top" {
                        a class="brand" href=(self.link("/")) {
                            svg viewBox="0 0 16 16" aria-hidden="true" { path d="M0 4a4 4 0 0 1 4-4h8a4 4 0 0 1 4 4v8a4 4 0 0 1-4 4H4a4 4 0 0 1-4-4zm3 0v2h10V4zm0 3.5v2h7v-2zM3 11v2h4v-2z" {} }
                            "aint-queue"
                        }
                        span class="instance" { (self.title) }
                        nav aria-label="aint-queue" {
                            @for (path, key, name) in destinations(words) {
                                a href=(self.link(path)) data-go=(key) aria-current=[page.current(path)] {
                                    (name)
                                    @if path == ALERTS { " " b data-k="*.firing" { (firing.map(firing_text).unwrap_or_default()) } }
                                }
                            }
                        }
                        div class="tools" {
                            @if page.live.is_some() { (live_switch(words)) }
                            (theme_switch(words))
                            button type="button" class="quiet" data-help aria-label=(words.keys) title=(words.keys) hidden { "?" }
                            a class="quiet" lang=(other_tag) hreflang=(other_tag) href=(self.link(&page.in_language(other_tag))) { (other_name) }
                            (self.session(visitor, words))
                        }
                    }
                    p class="banner" data-banner role="status" hidden {}
                    p class="hidden" data-news role="status" {}
                    main id="main" { (page.content) }
                    (keys(words))
                }
            }
        };
        let mut response = Html(markup.into_string()).into_response();
        if let Some(language) = page.chosen {
            let path = &self.base_path;
            let cookie =
                format!("{COOKIE_NAME}={}; SameSite=Lax; Path={path}/; Max-Age=31536000", language.tag());
            let cookie = HeaderValue::from_str(&cookie).expect("a cookie has visible characters only");
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        if page.shows_notice {
            response.headers_mut().append(SET_COOKIE, self.notice_cookie("", 0));
        }
        response
    }

    /// The cookie that carries the result of an action to the page behind it. A link of another site brings none.
    pub(in crate::engine::dashboard) fn notice_cookie(&self, notice: &str, seconds: u64) -> HeaderValue {
        let path = &self.base_path;
        let cookie =
            format!("{NOTICE_COOKIE}={notice}; HttpOnly; SameSite=Strict; Path={path}/; Max-Age={seconds}");
        HeaderValue::from_str(&cookie).expect("a notice has visible characters only")
    }

    /// The name of the visitor and the way out, or the way in.
    fn session(&self, visitor: Option<&str>, words: &Words) -> Markup {
        html! {
            @match visitor {
                Some(_) if self.is_private => {}
                Some(name) => {
                    form method="post" action=(self.link("/logout")) class="session" {
                        span class="who" { (name) }
                        button type="submit" class="quiet" { (words.sign_out) }
                    }
                }
                None if self.has_tokens => {
                    a class="quiet" href=(self.link("/login")) { (words.sign_in) }
                }
                None => {}
            }
        }
    }
}

/// The switch of live updates and the time between two. The script shows these.
fn live_switch(words: &Words) -> Markup {
    html! {
        button type="button" class="live" data-live-switch data-on=(words.live) data-off=(words.live_off)
            aria-label=(words.key_live) title=(words.key_live) hidden { span { (words.live) } }
        select data-rate aria-label=(words.rate) title=(words.rate) hidden {
            @for seconds in RATES { option value=(seconds) { (seconds) " s" } }
        }
    }
}

fn theme_switch(words: &Words) -> Markup {
    let names = json!({ "system": words.theme_system, "light": words.theme_light, "dark": words.theme_dark });
    html! {
        button type="button" class="quiet" data-theme-switch=(names) data-label=(words.theme) aria-label=(words.theme) hidden {
            svg viewBox="0 0 16 16" aria-hidden="true" { path d="M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0zm0 2v12A6 6 0 0 1 8 2z" {} }
        }
    }
}

/// The pages of the navigation: path, key and name.
fn destinations(words: &Words) -> [(&'static str, &'static str, &'static str); 5] {
    [
        ("/", "o", words.overview),
        (ALERTS, "a", words.alerts),
        ("/activity", "y", words.activity.title),
        ("/system", "s", words.system.title),
        ("/report", "r", words.report.title),
    ]
}

/// The keys of all pages.
fn keys(words: &Words) -> Markup {
    let keys: [(&[&str], &str); 12] = [
        (&["g", "o"], words.key_overview),
        (&["g", "a"], words.alerts),
        (&["g", "y"], words.activity.title),
        (&["g", "s"], words.system.title),
        (&["g", "r"], words.report.title),
        (&["j", "k"], words.key_rows),
        (&["Enter"], words.key_open),
        (&["Space"], words.key_live),
        (&["[", "]"], words.key_range),
        (&["t"], words.key_theme),
        (&["Esc"], words.key_close),
        (&["?"], words.key_help),
    ];
    html! {
        dialog data-keys aria-labelledby="keys-title" {
            h2 id="keys-title" { (words.keys) }
            dl class="keys" {
                @for (names, meaning) in keys {
                    dt { @for name in names { kbd { (name) } " " } }
                    dd { (meaning) }
                }
            }
            label class="choice" { input type="checkbox" data-keys-choice checked; (words.keys_choice) }
            form method="dialog" { button { (words.close) } }
        }
    }
}

/// The path and query of a request below the base, if it leads into the dashboard: where a visitor goes after signing in.
pub(in crate::engine::dashboard) fn is_own_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    path.starts_with('/') && !path.starts_with("//") && path.bytes().all(is_plain)
}

/// Whether the script of a page asks for one part of it.
pub(in crate::engine::dashboard) fn wanted_part(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-part").and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_path_is_that_of_the_public_url() {
        for (url, path) in [
            ("", ""),
            ("https://queue.example.com", ""),
            ("https://queue.example.com/", ""),
            ("https://example.com/queue", "/queue"),
            ("http://example.com:8080/a/b/", "/a/b"),
        ] {
            assert_eq!(base_path(url), path, "{url}");
        }
    }
}
