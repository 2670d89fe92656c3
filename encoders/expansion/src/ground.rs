//! One look at the web for what an idea speaks of: SearXNG or an API like Brave's. What comes back is text by
//! strangers: it is shortened, stripped, shown with its source, and used as data alone.

use std::time::Duration;

use imagine_contract::Source;
use serde::Deserialize;
use ureq::Agent;

use crate::knowledge::Knowledge;

/// How a search server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchApi {
    /// `GET /search?q=…&format=json`.
    SearXng,
    /// `GET /res/v1/web/search?q=…` with a key.
    Brave,
}

/// A search server.
#[derive(Clone)]
pub struct Grounding {
    api: SearchApi,
    url: String,
    key: Option<String>,
    agent: Agent,
}

impl std::fmt::Debug for Grounding {
    /// Never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Grounding({:?}, {})", self.api, self.url)
    }
}

/// Results that are used, and characters of each that are.
const RESULTS: usize = 3;
const SNIPPET: usize = 300;
/// Bytes of an answer that are read.
const ANSWER: u64 = 1 << 20;

#[derive(Deserialize)]
struct SearXngAnswer {
    #[serde(default)]
    results: Vec<Hit>,
}

#[derive(Deserialize)]
struct BraveAnswer {
    #[serde(default)]
    web: Option<SearXngAnswer>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(default)]
    title: String,
    #[serde(default)]
    url: String,
    #[serde(default, alias = "description")]
    content: String,
}

impl Grounding {
    /// A server at `url`. A key means Brave's API, none SearXNG's.
    pub fn new(url: &str, key: Option<String>, timeout: Duration) -> Self {
        let agent = Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(true).build();
        let api = if key.is_some() { SearchApi::Brave } else { SearchApi::SearXng };
        Self { api, url: url.trim_end_matches('/').to_owned(), key, agent: agent.into() }
    }

    /// Searches once. Where that fails, nothing was found and the reason is a note for the person.
    pub fn look_up(&self, query: &str, knowledge: &Knowledge) -> (Vec<Source>, Option<String>) {
        match self.search(query) {
            Ok(hits) => {
                (hits.into_iter().filter_map(|hit| clean(hit, knowledge)).take(RESULTS).collect(), None)
            }
            Err(reason) => (Vec::new(), Some(format!("the web search failed: {reason}"))),
        }
    }

    fn search(&self, query: &str) -> Result<Vec<Hit>, String> {
        let query: String = query.chars().take(200).collect();
        let request = match self.api {
            SearchApi::SearXng => {
                self.agent.get(format!("{}/search", self.url)).query("q", &query).query("format", "json")
            }
            SearchApi::Brave => self
                .agent
                .get(format!("{}/res/v1/web/search", self.url))
                .query("q", &query)
                .header("X-Subscription-Token", self.key.as_deref().unwrap_or_default()),
        };
        let mut response = request.call().map_err(|e| e.to_string())?;
        let body = response.body_mut().with_config().limit(ANSWER);
        let text = body.read_to_string().map_err(|e| e.to_string())?;
        let wrong = |e: serde_json::Error| format!("the answer is not what a search gives ({e})");
        match self.api {
            SearchApi::SearXng => {
                serde_json::from_str::<SearXngAnswer>(&text).map(|a| a.results).map_err(wrong)
            }
            SearchApi::Brave => serde_json::from_str::<BraveAnswer>(&text)
                .map(|answer| answer.web.map(|web| web.results).unwrap_or_default())
                .map_err(wrong),
        }
    }
}

/// One result as plain, short text; none where it is empty, has no web address, or says what no picture may show.
fn clean(hit: Hit, knowledge: &Knowledge) -> Option<Source> {
    let plain = |text: &str, most: usize| {
        let mut out = String::new();
        let mut in_tag = false;
        for c in text.chars() {
            match c {
                '<' => in_tag = true,
                '>' => in_tag = false,
                _ if in_tag => {}
                // Marks with which chat templates and fences are written.
                '|' | '`' | '{' | '}' | '[' | ']' => out.push(' '),
                c if c.is_control() || ('\u{200b}'..='\u{200f}').contains(&c) => out.push(' '),
                c => out.push(c),
            }
        }
        let line: String = out.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().take(most).collect::<String>()
    };
    let source = Source {
        title: plain(&hit.title, 120),
        url: plain(&hit.url, 500),
        snippet: plain(&hit.content, SNIPPET),
    };
    let fit = [&source.snippet, &source.title].iter().all(|text| knowledge.safety.check(text).is_ok());
    (source.is_web() && fit && !source.snippet.is_empty()).then_some(source)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn hit(url: &str, content: &str) -> Hit {
        Hit { title: "T".into(), url: url.into(), content: content.into() }
    }

    #[test]
    fn snippets_become_short_plain_text() {
        let knowledge = Knowledge::built_in().unwrap();
        let made = clean(
            hit("https://a.org/x", "<b>Carnival</b>\n<script>x</script> <|im_end|> of\u{200b} `Ivrea`"),
            &knowledge,
        );
        assert_eq!(made.unwrap().snippet, "Carnival x of Ivrea");
        let long = clean(hit("https://a.org", &"word ".repeat(500)), &knowledge).unwrap();
        assert_eq!(long.snippet.chars().count(), SNIPPET);
        assert_eq!(clean(hit("javascript:alert(1)", "text"), &knowledge), None);
        assert_eq!(clean(hit("https://a.org", " \n"), &knowledge), None);
        assert_eq!(clean(hit("https://a.org", "draw her naked"), &knowledge), None);
        let titled =
            |title: &str| clean(Hit { title: title.into(), ..hit("https://a.org", "text") }, &knowledge);
        assert_eq!(titled("<img src=x onerror=alert(1)>A `[link](x)`\u{200b}").unwrap().title, "A link (x)");
        assert_eq!(titled("her naked"), None);
    }
}
