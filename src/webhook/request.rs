//! Builds the request of one run. Pure.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};

use super::signature::signature;
use crate::config::webhook::Settings;
use crate::job::{Context, JobError, TraceContext};

/// The POST request of a run. `seconds` is the Unix time of its signature.
pub(super) fn build(
    settings: &Settings,
    ctx: &Context,
    payload: String,
    seconds: u64,
) -> Result<Request<Full<Bytes>>, JobError> {
    let id = delivery_id(ctx);
    let signature = signature(&settings.keys, &id, seconds, payload.as_bytes());
    let mut request = Request::new(Full::new(Bytes::from(payload)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = settings.url.uri().clone();
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("aint-queue/", env!("CARGO_PKG_VERSION"))));
    // A job with an invalid trace context runs without it.
    for (name, value) in TraceContext::of(ctx.headers()).into_iter().flat_map(TraceContext::headers) {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value)?);
    }
    for (name, value) in &settings.headers {
        let mut value = HeaderValue::try_from(value)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::try_from(name)?, value);
    }
    let own_headers = [
        ("webhook-id", id),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signature),
        ("aint-queue-job", ctx.job().to_owned()),
        ("aint-queue-channel", ctx.channel().to_owned()),
        ("aint-queue-attempt", ctx.attempt().to_string()),
        ("aint-queue-max-attempts", ctx.max_attempts().to_string()),
    ];
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in own_headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value)?);
    }
    Ok(request)
}

/// The id of the delivery: the same in every attempt of a job and different for other jobs. It contains no full stop, the
/// separator of the signed parts.
fn delivery_id(ctx: &Context) -> String {
    format!("{}-{}", ctx.channel().replace('.', "%2E"), ctx.id())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::config::webhook::{AllowedUrls, SigningKey, WebhookUrl};

    fn settings() -> Settings {
        Settings {
            url: WebhookUrl::parse("https://a.example/hook?x=1", false, AllowedUrls::default()).unwrap(),
            keys: vec![SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()],
            headers: vec![("x-tenant".into(), "blue".into()), ("user-agent".into(), "us/1".into())],
            allow_private: false,
            allow_http: false,
            ca_file: None,
        }
    }

    #[tokio::test]
    async fn request_identifies_job_and_carries_payload_verbatim() {
        let ctx = Context::detached("App\\Mail", 2);
        let request = build(&settings(), &ctx, "{ \"a\":1 }".into(), 1_614_265_330).unwrap();
        assert_eq!(
            (request.method(), request.uri().to_string().as_str()),
            (&Method::POST, "https://a.example/hook?x=1")
        );
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let of = |names: &[&str]| names.iter().map(|name| header(name)).collect::<Vec<_>>();
        assert_eq!(
            of(&["webhook-id", "webhook-timestamp", "content-type"]),
            ["default-1", "1614265330", "application/json"]
        );
        assert_eq!(
            of(&["aint-queue-job", "aint-queue-channel", "aint-queue-attempt", "aint-queue-max-attempts"]),
            ["App\\Mail", "default", "2", "3"]
        );
        assert_eq!(of(&["x-tenant", "user-agent"]), ["blue", "us/1"]);
        assert!(header("webhook-signature").starts_with("v1,"));
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "{ \"a\":1 }");
    }

    #[test]
    fn ids_of_two_channels_differ() {
        let id = |channel| delivery_id(&Context::detached_in(channel));
        assert_eq!(id("a.b"), "a%2Eb-1");
        assert_ne!(id("a.b"), id("a_b"));
    }
}
