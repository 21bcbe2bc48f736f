//! Calls that say that a master watches the channels.

use super::query_value;
use super::request::HttpRequest;
use crate::config::alerts::{HeartbeatForm, HttpTarget};

/// The request of one call; `trouble` is the reason why the channels are not watched as they should be.
pub(super) fn request(target: &HttpTarget, form: HeartbeatForm, trouble: Option<&str>) -> HttpRequest {
    let url = target.url.uri().to_string();
    let (path, query) = url.split_once('?').map_or((url.as_str(), None), |(path, query)| (path, Some(query)));
    let url = match (form, trouble) {
        (HeartbeatForm::Plain, None) => url,
        (HeartbeatForm::Plain, Some(_)) => {
            let query = query.map_or_else(String::new, |query| format!("?{query}"));
            format!("{}/fail{query}", path.trim_end_matches('/'))
        }
        (HeartbeatForm::UptimeKuma, trouble) => {
            let status = if trouble.is_some() { "down" } else { "up" };
            let message = query_value(trouble.unwrap_or("OK"));
            // The URL that the service shows has these parts already.
            let own = |pair: &&str| !["status=", "msg="].iter().any(|name| pair.starts_with(name));
            let others: String = query
                .unwrap_or_default()
                .split('&')
                .filter(|pair| !pair.is_empty())
                .filter(own)
                .map(|pair| format!("&{pair}"))
                .collect();
            format!("{path}?status={status}&msg={message}{others}")
        }
    };
    HttpRequest { headers: target.headers.clone(), ..HttpRequest::get(url) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::target;
    use super::*;

    #[test]
    fn call_has_the_form_of_its_service() {
        let url = |base: &str, form, trouble| request(&target(base), form, trouble).url;
        use HeartbeatForm::{Plain, UptimeKuma};
        assert_eq!(url("https://hc-ping.com/x", Plain, None), "https://hc-ping.com/x");
        assert_eq!(url("https://hc-ping.com/x/?a=b", Plain, Some("no")), "https://hc-ping.com/x/fail?a=b");
        assert_eq!(
            url("https://k.example/api/push/x", UptimeKuma, None),
            "https://k.example/api/push/x?status=up&msg=OK"
        );
        assert_eq!(
            url("https://k.example/api/push/x?status=up&msg=OK&ping=", UptimeKuma, Some("store down")),
            "https://k.example/api/push/x?status=down&msg=store%20down&ping="
        );
    }
}
