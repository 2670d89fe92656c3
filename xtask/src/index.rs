//! The simple repository API of a Python package index (PEP 503 and PEP 691): from a project and the name
//! of a wheel to the wheel's address.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::http::Http;
use crate::manifest::Wheel;

/// JSON where the index has it, the older HTML where not.
const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.5, text/html;q=0.1";

#[derive(Deserialize)]
struct Page {
    files: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    filename: String,
    url: String,
}

/// The address of `wheel` in `index` (the API's root).
///
/// # Errors
/// [`Error::NotOffered`] if the project's page does not list that very file, and what fetching the page may
/// fail with.
pub fn locate(http: &Http, index: &str, wheel: &Wheel) -> Result<String> {
    let page_url = format!("{index}/{}/", wheel.project);
    let page = http.text(&page_url, ACCEPT)?;
    let found = if page.content_type.contains("json") {
        let parsed: Page = serde_json::from_str(&page.body)
            .map_err(|e| Error::Answer { url: page_url.clone(), reason: e.to_string() })?;
        parsed.files.into_iter().find(|f| f.filename == wheel.file).map(|f| f.url)
    } else {
        links(&page.body).find(|link| file_name(link) == wheel.file)
    };
    let url = found.ok_or_else(|| Error::NotOffered { index: index.to_owned(), file: wheel.file.clone() })?;
    let url = url.split_once('#').map_or(url.as_str(), |(address, _)| address);
    Ok(join(&page.url, url))
}

/// The targets of all links of an HTML page. The API allows nothing more involved than
/// `<a href="…">`, so searching for the attribute is enough.
fn links(html: &str) -> impl Iterator<Item = String> {
    html.split("href=").skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (link, _) = rest.get(1..)?.split_once(quote)?;
        Some(link.replace("&amp;", "&"))
    })
}

/// The last part of a link's path.
fn file_name(link: &str) -> String {
    let path = link.split(['#', '?']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    // the only characters of a wheel's name that some indexes escape
    name.replace("%2B", "+").replace("%2b", "+").replace("%21", "!")
}

/// Resolves `link` as found on the page at `base`.
fn join(base: &str, link: &str) -> String {
    if link.contains("://") {
        return link.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
    if link.starts_with("//") {
        return format!("{scheme}:{link}");
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if link.starts_with('/') {
        return format!("{scheme}://{host}{link}");
    }
    let mut segments: Vec<&str> = path.split('/').collect();
    segments.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(part),
        }
    }
    format!("{scheme}://{host}/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_against_their_page() {
        let base = "https://mirror.example/root/simple/torch/";
        for (link, expected) in [
            ("https://files.example/a.whl", "https://files.example/a.whl"),
            ("//files.example/a.whl", "https://files.example/a.whl"),
            ("/packages/a.whl", "https://mirror.example/packages/a.whl"),
            ("../../packages/a.whl", "https://mirror.example/root/packages/a.whl"),
            ("./a.whl", "https://mirror.example/root/simple/torch/a.whl"),
        ] {
            assert_eq!(join(base, link), expected);
        }
    }

    #[test]
    fn html_links_are_found() {
        let html =
            r#"<a href="../x/a-1%2Bcpu.whl#sha256=00">a</a> <a data-x='1' href='b.whl?x=1&amp;y=2'>b</a>"#;
        let found: Vec<String> = links(html).collect();
        assert_eq!(found, ["../x/a-1%2Bcpu.whl#sha256=00", "b.whl?x=1&y=2"]);
        assert_eq!(found.iter().map(|l| file_name(l)).collect::<Vec<_>>(), ["a-1+cpu.whl", "b.whl"]);
    }
}
