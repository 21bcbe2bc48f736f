//! The language of a page: that of `?lang`, of the cookie that this sets, or of the browser.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE};

use super::words::{ENGLISH, SIMPLIFIED_CHINESE, Words};

/// A language of the dashboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine::dashboard) enum Language {
    #[default]
    English,
    SimplifiedChinese,
}

/// The name of the cookie that keeps a choice.
pub(super) const COOKIE_NAME: &str = "aql";

impl Language {
    /// The language of a request.
    pub(in crate::engine::dashboard) fn of(query: Option<&str>, headers: &HeaderMap) -> Self {
        Self::asked(query).or_else(|| Self::kept(headers)).unwrap_or_else(|| Self::preferred(headers))
    }

    /// The language that the query asks for.
    pub(in crate::engine::dashboard) fn asked(query: Option<&str>) -> Option<Self> {
        let pairs = query?.split('&').filter_map(|pair| pair.strip_prefix("lang="));
        pairs.filter_map(Self::by_tag).next()
    }

    fn kept(headers: &HeaderMap) -> Option<Self> {
        let sent = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            sent.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find_map(|(name, value)| (name == COOKIE_NAME).then(|| Self::by_tag(value)).flatten())
    }

    /// The first language of the browser that the dashboard has. Browsers send theirs in order.
    fn preferred(headers: &HeaderMap) -> Self {
        let sent = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        sent.split(',')
            .filter_map(|tag| Self::by_tag(tag.split(';').next()?.trim()))
            .next()
            .unwrap_or_default()
    }

    fn by_tag(tag: &str) -> Option<Self> {
        match tag.get(..2)?.to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "zh" => Some(Self::SimplifiedChinese),
            _ => None,
        }
    }

    /// The tag of the language.
    pub(in crate::engine::dashboard) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::SimplifiedChinese => "zh-CN",
        }
    }

    /// The name of the other language, in that language, and its tag.
    pub(super) fn other(self) -> (&'static str, &'static str) {
        match self {
            Self::English => ("中文", "zh-CN"),
            Self::SimplifiedChinese => ("English", "en"),
        }
    }

    pub(in crate::engine::dashboard) fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::SimplifiedChinese => &SIMPLIFIED_CHINESE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn language_is_that_of_the_query_the_cookie_or_the_browser() {
        let of = |query: Option<&str>, cookie: &str, accepts: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, cookie.parse().unwrap());
            headers.insert(ACCEPT_LANGUAGE, accepts.parse().unwrap());
            Language::of(query, &headers)
        };
        let (english, chinese) = (Language::English, Language::SimplifiedChinese);
        assert_eq!(of(None, "", ""), english);
        assert_eq!(of(None, "", "de-DE,de;q=0.9,zh-CN;q=0.8,en;q=0.7"), chinese);
        assert_eq!(of(None, "aqs=x; aql=en", "zh"), english);
        assert_eq!(of(Some("range=1h&lang=zh-CN"), "aql=en", "en"), chinese);
        assert_eq!(of(Some("lang=xx"), "aql=zh", "en"), chinese, "an unknown one is ignored");
    }
}
