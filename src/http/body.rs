//! Request bodies: type check, size limit, time limit.

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::ListenerState;
use super::response::{ErrorResponse, error_chain};
use crate::producer_memory::{self, Reservation, SMALL_BYTES};

/// Capacity for a body that has not arrived: a client may announce more than it sends.
const FIRST_CAPACITY: usize = 64 << 10;

/// A body and the memory reserved for it, to be held while the body or the jobs parsed from it are in memory.
pub(super) struct ReceivedBody {
    pub(super) bytes: Vec<u8>,
    pub(super) reservation: Reservation,
    /// Whether the jobs parsed from it are part of the reservation.
    pub(super) is_small: bool,
}

/// Reads a body whose content type is JSON.
pub(super) async fn read(
    state: &ListenerState,
    headers: &HeaderMap,
    body: Body,
) -> Result<ReceivedBody, ErrorResponse> {
    check_content_type(headers)?;
    let max = state.settings.max_body;
    let content_length = content_length(headers);
    if content_length.is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    let limit = state.settings.timeout;
    let memory = &state.memory;
    let length = content_length.unwrap_or(max);
    let is_small = length <= SMALL_BYTES;
    let reserving = async {
        match is_small {
            true => memory.small_bodies.reserve(producer_memory::parsed(length)).await,
            false => memory.large_bodies.reserve(length).await,
        }
    };
    let reservation =
        timeout(limit, reserving).await.map_err(|_| ErrorResponse::producers_busy().closing())?;
    match timeout(limit, collect(Limited::new(body, max), length)).await {
        Ok(Ok(bytes)) => Ok(ReceivedBody { bytes, reservation, is_small }),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(max)),
        Ok(Err(error)) => {
            let error = format!("could not read the body: {}", error_chain(&*error));
            Err(ErrorResponse::bad_request(error).closing())
        }
        Err(_) => {
            let error = format!("the body did not arrive within {} seconds", limit.as_secs_f64());
            Err(ErrorResponse::new(StatusCode::REQUEST_TIMEOUT, error).closing())
        }
    }
}

/// Collects a body in one buffer, which grows with the data that arrives.
async fn collect(mut body: Limited<Body>, length: usize) -> Result<Vec<u8>, axum::BoxError> {
    let mut bytes = Vec::with_capacity(length.min(FIRST_CAPACITY));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

fn too_large(max: usize) -> ErrorResponse {
    let error =
        format!("the body has more than {max} bytes: split the array, or raise max_body_bytes in [http]");
    ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, error).closing()
}

/// The announced length. An invalid one counts as absent; the limit applies while reading.
fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Checks that the headers announce JSON in UTF-8 without an encoding.
fn check_content_type(headers: &HeaderMap) -> Result<(), ErrorResponse> {
    let refuse = |error: &str| Err(ErrorResponse::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    let identity = |value: &[u8]| value.eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(|coding| !identity(coding.as_bytes())) {
        return refuse("the body is encoded: send it without Content-Encoding");
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next().and_then(|value| value.to_str().ok()), types.next()) {
        (Some(value), None) if is_json(value) => Ok(()),
        _ => refuse("the body must be JSON in UTF-8: send \"Content-Type: application/json\""),
    }
}

fn is_json(value: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
            charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) && parts.all(utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utf_8_json_is_accepted() {
        for good in
            ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""]
        {
            assert!(is_json(good), "{good}");
        }
        for bad in ["", "text/plain", "application/json; charset=latin1", "application/jsonp", "text/json"] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
