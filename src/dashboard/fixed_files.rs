//! The style sheet and the script of the pages, as parts of the program.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
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

static FILES: LazyLock<[FixedFile; 3]> = LazyLock::new(|| {
    let file = |name, content_type, content: String| {
        let digest = digest(&SHA256, content.as_bytes());
        let version = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        FixedFile { name, content_type, content, version }
    };
    [
        file(
            "app.css",
            "text/css; charset=utf-8",
            tight(&compact(&format!("{}\n{CHART_CSS}", include_str!("assets/app.css")))),
        ),
        file("app.js", "text/javascript; charset=utf-8", compact(include_str!("assets/app.js"))),
        file("entrance.js", "text/javascript; charset=utf-8", compact(include_str!("assets/entrance.js"))),
    ]
});

/// The text without indentation, empty lines and lines that are comments. No text of several lines is in the files.
fn compact(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A style sheet without the spaces around its signs. No text in quotation marks has such spaces.
fn tight(css: &str) -> String {
    let signs = [(": ", ":"), ("; ", ";"), (" {", "{"), ("{ ", "{"), (" }", "}"), (";}", "}")];
    signs.into_iter().fold(css.to_owned(), |css, (loose, tight)| css.replace(loose, tight))
}

/// The path of a file below the base of the dashboard.
pub(super) fn address(name: &str) -> String {
    let file = FILES.iter().find(|file| file.name == name).expect("pages name files that exist");
    format!("/assets/{name}?v={}", file.version)
}

/// `GET /assets/{name}`.
pub(super) async fn serve(Path(name): Path<String>, uri: Uri) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => {
            let asked = uri.query().and_then(|query| query.strip_prefix("v="));
            // A page of an earlier version may ask for a file of its own: this one must not be kept under that address.
            let cache = match asked == Some(&*file.version) {
                true => "public, max-age=31536000, immutable",
                false => "no-cache",
            };
            ([(CONTENT_TYPE, file.content_type), (CACHE_CONTROL, cache)], file.content.clone())
                .into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::FILES;

    /// Largest file: a phone on a slow line loads both before it shows the first page.
    const MAX_BYTES: usize = 14 << 10;

    #[test]
    fn style_sheet_and_script_stay_small() {
        for file in FILES.iter() {
            let size = file.content.len();
            assert!(size <= MAX_BYTES, "{} has {size} bytes, more than {MAX_BYTES}", file.name);
        }
    }
}
