//! One look at the web for what an idea speaks of: SearXNG or an API like Brave's. What comes back is text by
//! strangers: it is shortened, stripped, shown with its source, and used as data alone.

use std::time::Duration;

use imagine_contract::{Dialect, Language, Source};
use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;

use crate::knowledge::Knowledge;
use crate::subject::SubjectMaker;

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

/// What search servers answer, as far as it is used. Single entries are read one by one: an engine may give one of
/// another shape (SearXNG's tables have neither title nor address), and the rest is still worth having.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answered {
    results: Vec<Value>,
    /// SearXNG puts what an encyclopedia says beside its results.
    infoboxes: Vec<Value>,
    /// Brave's results.
    web: Option<Web>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Web {
    results: Vec<Value>,
}

/// A result or an infobox.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hit {
    title: String,
    url: String,
    content: String,
}

impl Hit {
    fn of(entry: &Value) -> Self {
        let first = |names: &[&str]| {
            let said = names.iter().find_map(|name| entry.get(name)?.as_str()).unwrap_or_default();
            said.to_owned()
        };
        Self {
            title: first(&["title", "infobox"]),
            url: first(&["url", "id"]),
            content: first(&["content", "description"]),
        }
    }
}

/// What an answer holds: infoboxes, then results.
fn hits(text: &str) -> Result<Vec<Hit>, serde_json::Error> {
    let answer: Answered = serde_json::from_str(text)?;
    let web = answer.web.unwrap_or_default().results;
    Ok(answer.infoboxes.iter().chain(&answer.results).chain(&web).map(Hit::of).collect())
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
        // SearXNG's limiter takes a client that does not say these two for a robot.
        let request = request
            .header("Accept", "application/json, text/html;q=0.1")
            .header("Accept-Language", "en, *;q=0.5");
        let mut response = request.call().map_err(|e| self.told(&e))?;
        let body = response.body_mut().with_config().limit(ANSWER);
        let text = body.read_to_string().map_err(|e| e.to_string())?;
        hits(&text).map_err(|e| format!("the answer is not what a search gives ({e})"))
    }

    /// A failure, and what to do about it where that is known.
    fn told(&self, error: &ureq::Error) -> String {
        let hint = match (self.api, error) {
            (SearchApi::SearXng, ureq::Error::StatusCode(403)) => {
                ": SearXNG answers programs where `json` is among `search.formats` of its settings"
            }
            (_, ureq::Error::StatusCode(429)) => ": it takes no more questions for now",
            (SearchApi::Brave, ureq::Error::StatusCode(401 | 403 | 422)) => ": is IMAGINE_SEARCH_KEY right?",
            _ => "",
        };
        format!("{error}{hint}")
    }
}

/// What was read, in English as far as the lexicon goes: for the topics in it.
pub fn in_english(sources: &[Source], knowledge: &Knowledge) -> String {
    let maker = SubjectMaker { languages: &knowledge.languages, lexicon: &knowledge.lexicon };
    let english = |source: &Source| match knowledge.languages.guess(&source.snippet) {
        Language::English => source.snippet.clone(),
        other => maker.make(&source.snippet, other, &Dialect::Tags, false).text,
    };
    sources.iter().map(english).collect::<Vec<_>>().join(" ")
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
    let fit = [&source.snippet, &source.title].iter().all(|text| knowledge.safety.check_words(text).is_ok());
    (source.is_web() && fit && !source.snippet.is_empty()).then_some(source)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn hit(url: &str, content: &str) -> Hit {
        Hit { title: "T".into(), url: url.into(), content: content.into() }
    }

    /// As SearXNG of August 2026 answered, but for its other fields.
    #[test]
    fn an_encyclopedia_comes_first_and_tables_are_passed_over() {
        let answer = r#"{"query": "ivrea", "number_of_results": 0, "answers": [], "suggestions": [],
            "unresponsive_engines": [["wikidata", "timeout"]],
            "results": [
                {"template": "default.html", "title": "Ivrea", "content": "Oranges fly.", "publishedDate": null,
                 "url": "https://example.org/a", "parsed_url": ["https", "example.org", "/a", "", "", ""]},
                {"template": "keyvalue.html", "kvmap": {"a": "b"}, "url": null, "title": null},
                "not even an object"],
            "infoboxes": [{"infobox": "Ivrea", "id": "https://example.org/wiki/Ivrea", "content": "A town in Piedmont.",
                "urls": [{"title": "Wikipedia", "url": "https://example.org/wiki/Ivrea"}]}]}"#;
        let knowledge = Knowledge::built_in().unwrap();
        let found = hits(answer).unwrap();
        let sources: Vec<Source> = found.into_iter().filter_map(|hit| clean(hit, &knowledge)).collect();
        let seen: Vec<(&str, &str)> = sources.iter().map(|s| (s.url.as_str(), s.snippet.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("https://example.org/wiki/Ivrea", "A town in Piedmont."),
                ("https://example.org/a", "Oranges fly.")
            ]
        );
        let brave = r#"{"type": "search", "web": {"results": [{"title": "T", "url": "https://b.org", "description": "d"}]}}"#;
        assert_eq!(hits(brave).unwrap(), [hit("https://b.org", "d")]);
        assert!(hits("<html>").is_err());
        assert_eq!(hits("{}").unwrap(), []);
    }

    #[test]
    fn other_languages_have_topics_too() {
        let knowledge = Knowledge::built_in().unwrap();
        for text in [
            "Gli aranceri si lanciano arance nelle piazze di Ivrea durante il carnevale.",
            "Die Narren ziehen durch die Stadt, es ist Karneval.",
        ] {
            let source = Source { title: "T".into(), url: "https://a.org".into(), snippet: text.into() };
            let read = in_english(&[source], &knowledge);
            let topics: Vec<&str> = knowledge.topics.find(&read).iter().map(|found| found.topic).collect();
            assert!(topics.contains(&"festive"), "{read}: {topics:?}");
        }
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
