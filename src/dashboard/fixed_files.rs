//! The style sheet and the script of the pages, as parts of the program.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};

use super::chart::CHART_CSS;

/// A file of the program.
struct FixedFile {
    name: &'static str,
    content_type: &'static str,
    content: String,
    /// The first half of the digest of the content: another content has another address.
    version: String,
}

static FILES: LazyLock<[FixedFile; 2]> = LazyLock::new(|| {
    let file = |name, content_type, content: String| {
        let digest = digest(&SHA256, content.as_bytes());
        let version = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        FixedFile { name, content_type, content, version }
    };
    [
        file(
            "app.css",
            "text/css; charset=utf-8",
            format!("{}\n{CHART_CSS}", include_str!("assets/app.css")),
        ),
        file("app.js", "text/javascript; charset=utf-8", include_str!("assets/app.js").to_owned()),
    ]
});

/// The path of a file below the base of the dashboard.
pub(super) fn address(name: &str) -> String {
    let file = FILES.iter().find(|file| file.name == name).expect("pages name files that exist");
    format!("/assets/{name}?v={}", file.version)
}

/// `GET /assets/{name}`.
pub(super) async fn serve(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => {
            let headers =
                [(CONTENT_TYPE, file.content_type), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, file.content.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
