//! A batch's file, line by line.

use std::collections::HashMap;

use imagine_store::{BatchLine, InvalidLine, JobError, NewJob, PageRequest, PersonId};
use serde_json::{Map, Value};

use crate::app::App;
use crate::error::{Code, Outcome, Problem};
use crate::http::auth::Caller;
use crate::routes::jobs::{Brought, Planned, plan};
use crate::wire::batch::BatchLineRequest;
use crate::wire::job::{Expand, JobPerson, JobRequest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jsonl,
    Csv,
}

/// A line of the file.
pub(super) struct Line {
    /// What it says, where that is JSON or fields with names: shown again if the line cannot be drawn.
    given: Option<Value>,
    /// The same, understood; or why it cannot be.
    read: Result<BatchLineRequest, String>,
}

/// Every line that is not empty.
///
/// # Errors
/// The file as a whole cannot be used.
pub(super) fn lines(file: &[u8], format: Format, most: usize) -> Outcome<Vec<Line>> {
    let text = std::str::from_utf8(file).map_err(|_| Problem::field("file", "the file is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = match format {
        Format::Jsonl => jsonl(text, most),
        Format::Csv => csv(text, most)?,
    };
    if lines.len() > most {
        return Err(Problem::new(Code::TooLarge, format!("a batch has {most} lines at most")).param("file"));
    }
    if lines.is_empty() {
        return Err(Problem::field("file", "the file has no lines"));
    }
    Ok(lines)
}

fn jsonl(text: &str, most: usize) -> Vec<Line> {
    let filled = text.lines().filter(|line| !line.trim().is_empty());
    let line = |text| Line {
        given: serde_json::from_str(text).ok(),
        // From the text, for errors that say where in it.
        read: serde_json::from_str(text).map_err(|error| error.to_string()),
    };
    filled.take(most + 1).map(line).collect()
}

fn csv(text: &str, most: usize) -> Outcome<Vec<Line>> {
    let mut reader =
        ::csv::ReaderBuilder::new().trim(::csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let wrong = |error: ::csv::Error| Problem::field("file", format!("the CSV cannot be read: {error}"));
    let heads = reader.headers().map_err(wrong)?.clone();
    let mut seen = std::collections::HashSet::new();
    for head in &heads {
        if !COLUMNS.contains(&head) {
            let mut detail =
                format!("there is no column \"{}\"; there are {}", short(head), COLUMNS.join(", "));
            // As spreadsheets write it in half of Europe.
            if head.contains([';', '\t']) {
                detail.push_str(". Columns are separated by commas");
            }
            return Err(Problem::field("file", detail));
        }
        if !seen.insert(head) {
            return Err(Problem::field("file", format!("the column \"{head}\" is there twice")));
        }
    }
    if !seen.contains("prompt") {
        return Err(Problem::field(
            "file",
            "the CSV's first line names the columns; \"prompt\" must be one of them",
        ));
    }
    let mut lines = Vec::new();
    for record in reader.records().take(most + 1) {
        lines.push(match record {
            Ok(record) => Line { given: Some(by_head(&heads, &record)), read: of_record(&heads, &record) },
            Err(error) => Line { given: None, read: Err(error.to_string()) },
        });
    }
    Ok(lines)
}

const COLUMNS: [&str; 14] = [
    "person",
    "prompt",
    "negative_prompt",
    "model",
    "n",
    "size",
    "steps",
    "guidance_scale",
    "scheduler",
    "seed",
    "expand",
    "ground",
    "style",
    "custom_id",
];

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The fields that say something, by their heads.
fn by_head(heads: &::csv::StringRecord, record: &::csv::StringRecord) -> Value {
    let filled = heads.iter().zip(record).filter(|(_, text)| !text.is_empty());
    filled.map(|(head, text)| (head.to_owned(), Value::from(text))).collect::<Map<_, _>>().into()
}

fn of_record(heads: &::csv::StringRecord, record: &::csv::StringRecord) -> Result<BatchLineRequest, String> {
    if record.len() != heads.len() {
        return Err(format!("the line has {} fields, the first line has {}", record.len(), heads.len()));
    }
    let mut line = BatchLineRequest::default();
    for (head, text) in heads.iter().zip(record).filter(|(_, text)| !text.is_empty()) {
        let own = || Some(text.to_owned());
        match head {
            "person" => line.person = own(),
            "prompt" => line.prompt = text.to_owned(),
            "negative_prompt" => line.negative_prompt = own(),
            "model" => line.model = own(),
            "size" => line.size = own(),
            "scheduler" => line.scheduler = own(),
            "style" => line.style = own(),
            "custom_id" => line.custom_id = own(),
            "n" => line.n = Some(number(head, text)?),
            "steps" => line.steps = Some(number(head, text)?),
            "seed" => line.seed = Some(number(head, text)?),
            "guidance_scale" => line.guidance_scale = Some(number(head, text)?),
            "expand" => line.expand = Some(number(&format!("{head} (true or false)"), text)?),
            "ground" => line.ground = Some(number(&format!("{head} (true or false)"), text)?),
            _ => {}
        }
    }
    Ok(line)
}

fn number<T: std::str::FromStr>(head: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("\"{}\" cannot be read as {head}", short(text)))
}

/// Jobs for the lines that can be used, reasons for the others.
pub(super) async fn plan_all(app: &App, caller: &Caller, lines: Vec<Line>) -> Outcome<Vec<BatchLine>> {
    let wants_names = lines.iter().any(|line| named(line).is_some());
    let names = if wants_names { names(app, caller).await? } else { HashMap::new() };
    let mut planned = Vec::with_capacity(lines.len());
    for line in lines {
        let given = line.given.map(|given| without_names(given, &names));
        let result = match line.read {
            Ok(line) => one(app, caller, line, &names).await,
            Err(detail) => Err(Problem::new(Code::InvalidJson, detail)),
        };
        planned.push(match result {
            Ok(job) => BatchLine::Job(Box::new(job)),
            Err(problem) if problem.code == Code::Internal => return Err(problem),
            Err(problem) => {
                let code = problem.specific.unwrap_or_else(|| problem.code.name().to_owned());
                let rule = problem.extra.get("rule").and_then(Value::as_str).map(str::to_owned);
                let error = JobError { code, message: problem.detail, rule };
                BatchLine::Invalid(InvalidLine { error, given })
            }
        });
    }
    Ok(planned)
}

/// A person's name in a line, where there is one instead of an id.
fn named(line: &Line) -> Option<&str> {
    line.given.as_ref()?.get("person")?.as_str().filter(|person| !is_id(person))
}

/// The line is kept in the clear, and names of people are kept sealed: an id stands for the name.
fn without_names(mut given: Value, names: &Names) -> Value {
    let person = given.get("person").and_then(Value::as_str).map(str::to_lowercase);
    if let Some(known) = person.and_then(|name| names.get(&name)) {
        given["person"] = known.clone().into();
    }
    given
}

fn is_id(text: &str) -> bool {
    text.parse::<PersonId>().is_ok()
}

async fn one(app: &App, caller: &Caller, line: BatchLineRequest, names: &Names) -> Outcome<NewJob> {
    let custom_id = line.custom_id.clone();
    let request = request(line, names)?;
    let Planned { input, mut given, expansion, priority, .. } =
        plan(app, caller, request, Brought::default()).await?;
    if let Some(custom_id) = custom_id {
        given["custom_id"] = custom_id.into();
    }
    Ok(NewJob {
        tenant: caller.tenant.clone(),
        owner: caller.owner.clone(),
        priority,
        input,
        given,
        expansion,
        body_sha256: None,
        webhook: None,
        idempotency: None,
    })
}

/// Ids by name; none where several people have it.
type Names = HashMap<String, Option<String>>;

async fn names(app: &App, caller: &Caller) -> Outcome<Names> {
    let mut names = HashMap::new();
    let mut page = PageRequest { limit: 200, after: None };
    loop {
        let found = app.parts.archive.people(&caller.tenant, &page).await?;
        for person in found.data {
            let id = person.id.to_string();
            names.entry(person.name.to_lowercase()).and_modify(|known| *known = None).or_insert(Some(id));
        }
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok(names),
        }
    }
}

fn request(line: BatchLineRequest, names: &Names) -> Outcome<JobRequest> {
    let mut people = line.people;
    if let Some(person) = line.person {
        if !people.is_empty() {
            return Err(Problem::field("person", "either \"person\" or \"people\", not both"));
        }
        let id = match names.get(&person.to_lowercase()) {
            _ if is_id(&person) => person,
            Some(Some(id)) => id.clone(),
            Some(None) => return Err(Problem::field("person", "several people have this name; give the id")),
            None => return Err(Problem::new(Code::NotFound, "there is nobody of this name").param("person")),
        };
        people.push(JobPerson { person: id, ..JobPerson::default() });
    }
    Ok(JobRequest {
        prompt: line.prompt,
        negative_prompt: line.negative_prompt,
        people,
        model: line.model,
        n: line.n,
        size: line.size,
        steps: line.steps,
        guidance_scale: line.guidance_scale,
        scheduler: line.scheduler,
        seed: line.seed,
        // What runs at night should not wait for anything that runs by day.
        priority: Some(imagine_store::Priority::Low),
        expand: line.expand.map(Expand::Yes),
        ground: line.ground,
        style: line.style,
        output_format: line.output_format,
        ..JobRequest::default()
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn jsonl_lines_fail_by_themselves() {
        let text = "{\"prompt\": \"a\", \"seed\": 7}\n\n{\"prompt\": 1}\n{\"prompt\": \"b\", \"sead\": 1}\nnonsense\n";
        let lines = lines(text.as_bytes(), Format::Jsonl, 10).unwrap();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0].read.as_ref().unwrap().seed, Some(7));
        assert!(lines[1].read.as_ref().unwrap_err().contains("string"));
        assert!(lines[2].read.as_ref().unwrap_err().contains("sead"));
        assert!(lines[3].read.is_err() && lines[3].given.is_none());
        assert_eq!(lines[1].given, Some(serde_json::json!({"prompt": 1})));
    }

    #[test]
    fn csv_has_names_and_quotes() {
        let text = "\u{feff}person,prompt,seed,size,n\nAnn,\"a king, at sea\",7,64x64,2\n,me,,,\nAnn,x,many,,\nAnn,x\n";
        let lines = lines(text.as_bytes(), Format::Csv, 10).unwrap();
        let first = lines[0].read.as_ref().unwrap();
        assert_eq!((first.person.as_deref(), first.prompt.as_str()), (Some("Ann"), "a king, at sea"));
        assert_eq!((first.seed, first.n, first.size.as_deref()), (Some(7), Some(2), Some("64x64")));
        assert_eq!(
            lines[1].read.as_ref().unwrap(),
            &BatchLineRequest { prompt: "me".into(), ..Default::default() }
        );
        assert!(lines[2].read.as_ref().unwrap_err().contains("seed"));
        assert!(lines[3].read.as_ref().unwrap_err().contains("2 fields"));
        let given = serde_json::json!({"person": "Ann", "prompt": "x", "seed": "many"});
        assert_eq!(lines[2].given, Some(given));
    }

    #[test]
    fn a_file_as_a_whole_can_be_wrong() {
        let detail = |text: &[u8], format| lines(text, format, 2).map(drop).unwrap_err().detail;
        assert!(detail(b"a,b\n1,2\n", Format::Csv).contains("no column \"a\""));
        assert!(detail(b"prompt,prompt\n1,2\n", Format::Csv).contains("twice"));
        assert!(detail(b"seed\n1\n", Format::Csv).contains("\"prompt\""));
        assert!(detail(b"\xff\xfe", Format::Jsonl).contains("UTF-8"));
        assert!(detail(b"\n\n", Format::Jsonl).contains("no lines"));
        assert!(detail(b"{}\n{}\n{}\n", Format::Jsonl).contains("2 lines"));
        assert!(detail(b"prompt\n1\n2\n3\n", Format::Csv).contains("2 lines"));
    }
}
