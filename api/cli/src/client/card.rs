//! `imagine people card PERSON_ID`: the card that a server keeps.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Server, text};
use crate::failure::Failure;

/// What is asked of a person's card.
pub struct RemoteCard<'a> {
    pub person: &'a str,
    /// `PART=VALUE` each.
    pub set: &'a [String],
    pub without: Vec<&'static str>,
    pub reset: Vec<&'static str>,
    pub json: bool,
}

/// Changes the card if anything is to be changed, and shows it.
pub fn run(server: &Server, of: &RemoteCard<'_>) -> Result<(), Failure> {
    let path = format!("{}/card", super::people::path(of.person)?);
    let unchanged = of.set.is_empty() && of.without.is_empty() && of.reset.is_empty();
    let card = if unchanged {
        server.get(&path)?
    } else {
        let split = |change: &String| {
            let wrong = || Failure::input(format!("\"{change}\" is no PART=VALUE"));
            let (part, value) = change.split_once('=').ok_or_else(wrong)?;
            Ok((part.trim().to_owned(), Value::from(value.trim())))
        };
        let set = of.set.iter().map(split).collect::<Result<serde_json::Map<_, _>, Failure>>()?;
        server.patch(&path, &json!({"set": set, "without": of.without, "reset": of.reset}))?
    };
    match of.json {
        true => println!("{}", serde_json::to_string_pretty(&card).map_err(Failure::failed)?),
        false => print!("{}", table(&card)),
    }
    Ok(())
}

/// A line for each part.
fn table(card: &Value) -> String {
    let mut lines = String::new();
    for part in card.get("parts").and_then(Value::as_array).into_iter().flatten() {
        let numbers = part.get("numbers").and_then(Value::as_u64).unwrap_or(0);
        let value = match part.get("value").and_then(Value::as_str) {
            Some(value) => value.to_owned(),
            None => format!("{numbers} numbers"),
        };
        let line = match text(part, "source") {
            "corrected" => format!("{value:<26} as you said"),
            "left_out" => "left out".to_owned(),
            "measured" => {
                let confidence = part.get("confidence").and_then(Value::as_f64).unwrap_or(0.0);
                format!("{value:<26} confidence {confidence:.2}")
            }
            _ => "-".to_owned(),
        };
        // A String takes every write.
        let _ = writeln!(lines, "{:<12} {line}", text(part, "part"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_drawing_hears_and_why() {
        let part = |part: &str, source: &str, value: Option<&str>, numbers: u32| json!({"part": part, "source": source, "value": value, "numbers": numbers, "confidence": 0.5});
        let card = json!({"parts": [
            part("descriptor", "measured", None, 128),
            part("skin", "left_out", None, 3),
            part("beard", "unknown", None, 0),
            part("glasses", "corrected", Some("no"), 1),
        ]});
        let lines = table(&card);
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines[0], "descriptor   128 numbers                confidence 0.50");
        assert_eq!(lines[1], "skin         left out");
        assert_eq!(lines[2], "beard        -");
        assert_eq!(lines[3], "glasses      no                         as you said");
    }
}
