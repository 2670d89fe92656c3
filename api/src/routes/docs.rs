//! The API's description, for machines and for people.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::Value;

use crate::error::Code;

/// The description as JSON and as a page, made once.
pub(crate) struct Described {
    pub json: String,
    pub html: String,
}

/// `GET /v1/openapi.json`.
pub(crate) async fn json(Extension(described): Extension<Arc<Described>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], described.json.clone()).into_response()
}

/// `GET /docs`.
pub(crate) async fn page(Extension(described): Extension<Arc<Described>>) -> Response {
    let mut response = Html(described.html.clone()).into_response();
    let policy =
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

/// `GET /docs.css`.
pub(crate) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../../docs/docs.css")).into_response()
}

/// The page, from the description alone.
pub(crate) fn html(api: &Value) -> String {
    let mut page = String::from(HEAD);
    let _ = write!(page, "<main><h1>Imagine API <small>{}</small></h1>", text(&api["info"]["version"]));
    let _ = write!(page, "{}", paragraphs(&text(&api["info"]["description"])));
    let operations = operations(api);
    page.push_str("<nav><ul>");
    for Operation { method, path, .. } in &operations {
        let _ = write!(
            page,
            "<li><a href=\"#{0}\"><b>{method}</b> {1}</a></li>",
            anchor(method, path),
            escape(path)
        );
    }
    page.push_str("</ul></nav>");
    let mut tag = String::new();
    for operation in &operations {
        if operation.tag != tag {
            tag.clone_from(&operation.tag);
            let _ = write!(page, "<h2>{}</h2>", escape(&tag));
        }
        describe(&mut page, operation, api);
    }
    errors(&mut page);
    schemas(&mut page, api);
    page.push_str("</main></html>");
    page
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Imagine API</title>\
    <link rel=\"stylesheet\" href=\"/docs.css\">";

struct Operation<'a> {
    method: String,
    path: &'a str,
    tag: String,
    value: &'a Value,
}

fn operations(api: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, methods) in api["paths"].as_object().into_iter().flatten() {
        for (method, value) in methods.as_object().into_iter().flatten() {
            let (method, tag) = (method.to_uppercase(), text(&value["tags"][0]));
            operations.push(Operation { method, path, tag, value });
        }
    }
    let place = |tag: &str| TAGS.iter().position(|(name, _)| *name == tag);
    operations.sort_by_key(|operation| place(&operation.tag));
    operations
}

/// The groups of routes, in the order in which a reader needs them.
pub(crate) const TAGS: [(&str, &str); 8] = [
    ("people", "Who is to be drawn"),
    ("jobs", "What is to be drawn"),
    ("images", "What was drawn"),
    ("prompts", "Ideas become prompts"),
    ("batches", "Many jobs from one file"),
    ("openai", "As OpenAI's clients ask for pictures"),
    ("models", "What the server has and takes"),
    ("health", "For those who run it"),
];

fn describe(page: &mut String, operation: &Operation<'_>, api: &Value) {
    let Operation { method, path, value, .. } = operation;
    let id = anchor(method, path);
    let _ = write!(page, "<section id=\"{id}\"><h3><b>{method}</b> {}</h3>", escape(path));
    let words = format!("{}\n\n{}", text(&value["summary"]), text(&value["description"]));
    page.push_str(&paragraphs(&words));
    let parameters = value["parameters"].as_array();
    if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
        page.push_str("<table><tr><th>parameter<th>in<th>type<th>");
        for parameter in parameters {
            let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
            let kind = kind(&parameter["schema"]);
            let words = escape(&text(&parameter["description"]));
            let _ = write!(page, "<tr><td><code>{}</code><td>{place}<td>{kind}<td>{words}", escape(&name));
        }
        page.push_str("</table>");
    }
    for (media, content) in value["requestBody"]["content"].as_object().into_iter().flatten() {
        let _ = write!(page, "<p>Body <code>{}</code>: {}</p>", escape(media), kind(&content["schema"]));
    }
    page.push_str("<ul>");
    for (status, answer) in value["responses"].as_object().into_iter().flatten() {
        let name = if status == "default" { "otherwise" } else { status };
        let words = escape(&text(&answer["description"]));
        let _ = write!(page, "<li><b>{name}</b> {words}");
        for (media, content) in answer["content"].as_object().into_iter().flatten() {
            let _ = write!(page, " <code>{}</code> {}", escape(media), kind(&content["schema"]));
        }
    }
    page.push_str("</ul></section>");
    let _ = api;
}

fn errors(page: &mut String) {
    page.push_str("<h2>Problems</h2><p>Every refusal is <code>application/problem+json</code> (RFC 9457) with OpenAI's <code>error</code> \
        member in it; <code>request_id</code> finds it in the server's log.</p><table><tr><th>code<th>status<th>");
    for code in Code::ALL {
        let (name, status, title) = (code.name(), code.status().as_u16(), code.title());
        let _ = write!(page, "<tr id=\"{name}\"><td><code>{name}</code><td>{status}<td>{}", escape(title));
    }
    page.push_str("</table>");
}

fn schemas(page: &mut String, api: &Value) {
    page.push_str("<h2>Objects</h2>");
    for (name, schema) in api["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = write!(page, "<section id=\"schema-{0}\"><h3>{0}</h3>", escape(name));
        page.push_str(&paragraphs(&text(&schema["description"])));
        let joined = schema["allOf"].as_array();
        for part in joined.map_or(std::slice::from_ref(schema), Vec::as_slice) {
            if part["properties"].is_object() {
                fields(page, part);
            } else {
                let words = if joined.is_some() { "All fields of " } else { "" };
                let _ = write!(page, "<p>{words}{}</p>", kind(part));
            }
        }
        page.push_str("</section>");
    }
}

fn fields(page: &mut String, schema: &Value) {
    page.push_str("<table><tr><th>field<th>type<th>");
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        let star = if required.contains(&field.as_str()) { "" } else { "?" };
        let words = escape(&text(&schema["description"]));
        let _ = write!(page, "<tr><td><code>{}{star}</code><td>{}<td>{words}", escape(field), kind(schema));
    }
    page.push_str("</table>");
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    for joined in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[joined].as_array() {
            return parts.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(names) = schema["enum"].as_array() {
        let names: Vec<_> =
            names.iter().map(|name| format!("<code>{}</code>", escape(&text(name)))).collect();
        return names.join(", ");
    }
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().map(text).collect::<Vec<_>>().join(" or "),
        name => text(name),
    };
    match schema.get("items") {
        Some(items) => format!("{} of {}", escape(&name), kind(items)),
        None if name.is_empty() => "anything".into(),
        None => escape(&name),
    }
}

fn anchor(method: &str, path: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    format!("{}{}", method.to_lowercase(), path.chars().map(plain).collect::<String>())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Paragraphs, with words between backticks as code.
fn paragraphs(text: &str) -> String {
    let mut html = String::new();
    for paragraph in text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
        html.push_str("<p>");
        for (index, part) in escape(paragraph).split('`').enumerate() {
            if index % 2 == 1 {
                let _ = write!(html, "<code>{part}</code>");
            } else {
                html.push_str(part);
            }
        }
        html.push_str("</p>");
    }
    html
}
