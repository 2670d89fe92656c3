//! How good a backend is: checks that a program can make, over a committed set of ideas.

use std::time::Instant;

use imagine_contract::{CancelFlag, Dialect, Expander, Expansion, Idea, Language, Slot, WINDOW};

use crate::data::{DataError, lines};
use crate::knowledge::Knowledge;
use crate::words::{fold, keys};

/// An idea with what is known about good answers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub language: Language,
    pub text: String,
    /// The idea's nouns; of each, the forms that count, folded.
    pub nouns: Vec<Vec<String>>,
    pub people: u32,
    /// What it is about: topics of the bank, written down by a person, none where none fits.
    pub topics: Vec<String>,
}

/// The ideas of a file with lines of language, idea, nouns, people and topics between tabs.
///
/// # Errors
/// [`DataError`] names the line.
pub fn read(text: &str, knowledge: &Knowledge) -> Result<Vec<Case>, DataError> {
    let parse = |(number, line): (usize, &str)| {
        let wrong = |what: String| DataError::new("the ideas", format!("line {number}: {what}"));
        let fields: Vec<&str> = line.split('\t').collect();
        let [language, text, nouns, people, topics] = fields.as_slice() else {
            return Err(wrong(format!("{} fields, not 5", fields.len())));
        };
        let list =
            |text: &str, mark: char| text.split(mark).map(fold).filter(|t| !t.is_empty()).collect::<Vec<_>>();
        let topics = list(topics, ',');
        if let Some(unknown) = topics.iter().find(|topic| !knowledge.topics.names().contains(topic)) {
            return Err(wrong(format!("{unknown:?} is no topic")));
        }
        Ok(Case {
            language: Language::of_code(language).ok_or_else(|| wrong(format!("language {language:?}")))?,
            text: (*text).to_owned(),
            nouns: list(nouns, ';').iter().map(|noun| list(noun, '|')).collect(),
            people: people.parse().map_err(|_| wrong(format!("people {people:?}")))?,
            topics,
        })
    };
    lines(text).map(parse).collect()
}

/// `each` ideas of each language, from all over the list and in turns; all of a language that has fewer.
pub fn share(cases: &[Case], each: usize) -> Vec<Case> {
    let of = |language| cases.iter().filter(|case| case.language == language).collect::<Vec<_>>();
    let all: Vec<Vec<&Case>> = Language::ALL.into_iter().map(of).collect();
    let at = |round: usize, list: &[&Case]| {
        let taken = each.min(list.len());
        (round < taken).then(|| list[round * list.len() / taken].clone())
    };
    (0..each).flat_map(|round| all.iter().filter_map(move |list| at(round, list))).collect()
}

/// What is checked of every expansion.
pub const CHECKS: [&str; 7] = ["person", "people", "traits", "names", "nouns", "length", "structure"];

/// How a backend did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    pub ideas: usize,
    /// Ideas that passed each of [`CHECKS`].
    pub passed: [usize; 7],
    /// Ideas that passed all of them.
    pub all: usize,
    /// Added phrases that belong to a topic of the idea, to another topic, and that fit everything or are not the
    /// bank's.
    pub fitting: usize,
    pub astray: usize,
    pub neutral: usize,
    /// Seconds an expansion took, sorted.
    pub seconds: Vec<f64>,
    /// Seconds to the first text, sorted.
    pub first: Vec<f64>,
    /// What went wrong, an idea a line.
    pub failures: Vec<String>,
}

impl Score {
    /// Fitting phrases less stray ones, an idea.
    pub fn fit(&self) -> f64 {
        (self.fitting as f64 - self.astray as f64) / self.ideas.max(1) as f64
    }

    /// The value below which so many of a sorted list lie.
    pub fn quantile(sorted: &[f64], part: f64) -> f64 {
        let at = (part * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// Asks a backend for every idea and checks what comes. `count` counts the text encoder's tokens.
pub fn evaluate(
    expander: &dyn Expander,
    cases: &[Case],
    knowledge: &Knowledge,
    count: &dyn Fn(&str) -> usize,
    cancel: &CancelFlag,
) -> Score {
    let mut score = Score { ideas: cases.len(), ..Score::default() };
    for (i, case) in cases.iter().enumerate() {
        let idea = Idea { dialect: Dialect::Tags, ..Idea::new(case.text.clone(), i as u64) };
        let start = Instant::now();
        let mut first = None;
        let mut on_text = |_: &str| {
            first.get_or_insert_with(|| start.elapsed().as_secs_f64());
        };
        let result = expander.expand(&idea, &mut on_text, cancel);
        let seconds = start.elapsed().as_secs_f64();
        score.seconds.push(seconds);
        score.first.push(first.unwrap_or(seconds));
        match result {
            Ok(expansion) => {
                let checks = check(case, &expansion, knowledge, count);
                let failed: Vec<&str> =
                    CHECKS.iter().zip(checks).filter(|(_, passed)| !passed).map(|(name, _)| *name).collect();
                for (sum, passed) in score.passed.iter_mut().zip(checks) {
                    *sum += usize::from(passed);
                }
                score.all += usize::from(failed.is_empty());
                fit(case, &expansion, knowledge, &mut score);
                if !failed.is_empty() {
                    score.failures.push(format!(
                        "{}: {} → {}",
                        failed.join(", "),
                        case.text,
                        expansion.prompt
                    ));
                }
            }
            Err(error) => score.failures.push(format!("{error}: {}", case.text)),
        }
    }
    score.seconds.sort_by(f64::total_cmp);
    score.first.sort_by(f64::total_cmp);
    score
}

/// Whether an expansion passes each of [`CHECKS`].
pub fn check(
    case: &Case,
    expansion: &Expansion,
    knowledge: &Knowledge,
    count: &dyn Fn(&str) -> usize,
) -> [bool; 7] {
    let prompt = &expansion.prompt;
    let words = keys(prompt);
    let added: Vec<&str> =
        Slot::ALL.iter().map(|slot| expansion.parts.get(*slot)).filter(|text| !text.is_empty()).collect();
    let allowed = format!("{} {}", case.text, expansion.parts.subject);
    let findings = |text: &str| knowledge.guard.findings(text, &allowed, &knowledge.safety);
    // The subject may translate what the idea says; the idea itself does not have the words, so only kinds that no
    // translation brings are looked for in it.
    let found: Vec<_> = added.iter().flat_map(|text| findings(text)).collect();
    let subjects = prompt.matches("a person").count() + prompt.matches("two people").count();
    let noun_kept = |forms: &Vec<String>| {
        forms.iter().any(|form| {
            let form = keys(form);
            words.windows(form.len().max(1)).any(|window| window == form)
        })
    };
    let mut distinct = added.clone();
    distinct.sort_unstable();
    distinct.dedup();
    [
        subjects == 1,
        expansion.people == case.people,
        !found.iter().any(|finding| finding.kind != "name"),
        !found.iter().any(|finding| finding.kind == "name"),
        case.nouns.iter().all(noun_kept),
        count(prompt) <= WINDOW,
        !prompt.is_empty()
            && added.len() >= 3
            && distinct.len() == added.len()
            && !prompt.contains(['{', '}', '\n']),
    ]
}

/// Counts which of the added phrases belong to the idea.
fn fit(case: &Case, expansion: &Expansion, knowledge: &Knowledge, score: &mut Score) {
    for slot in Slot::ALL {
        let text = expansion.parts.get(slot);
        if text.is_empty() {
            continue;
        }
        let of_bank = knowledge.bank.of(slot).find(|phrase| phrase.text == text);
        let topics: Vec<String> = match of_bank {
            Some(phrase) => phrase.topics.clone(),
            // Written: by its words.
            None => knowledge.topics.find(text).into_iter().map(|found| found.topic.to_owned()).collect(),
        };
        // The same phrase may stand in several sections.
        let also: Vec<&String> =
            knowledge.bank.of(slot).filter(|p| p.text == text).flat_map(|p| &p.topics).collect();
        if topics.is_empty() {
            score.neutral += 1;
        } else if topics.iter().chain(also).any(|topic| case.topics.contains(topic)) {
            score.fitting += 1;
        } else {
            score.astray += 1;
        }
    }
}

/// A table of several backends, in Markdown.
pub fn table(scores: &[(String, Score)]) -> String {
    let mut out = String::from("| backend | all checks |");
    for name in CHECKS {
        out.push_str(&format!(" {name} |"));
    }
    out.push_str(" fitting | astray | fit | median s | 95 % s | first text 95 % s |\n|");
    out.push_str(&"---|".repeat(CHECKS.len() + 8));
    out.push('\n');
    for (name, score) in scores {
        let percent = |n: usize| format!("{:.1} %", 100.0 * n as f64 / score.ideas.max(1) as f64);
        out.push_str(&format!("| {name} | {} |", percent(score.all)));
        for passed in score.passed {
            out.push_str(&format!(" {} |", percent(passed)));
        }
        let per_idea = |n: usize| n as f64 / score.ideas.max(1) as f64;
        out.push_str(&format!(
            " {:.2} | {:.2} | **{:.2}** | {:.3} | {:.3} | {:.3} |\n",
            per_idea(score.fitting),
            per_idea(score.astray),
            score.fit(),
            Score::quantile(&score.seconds, 0.5),
            Score::quantile(&score.seconds, 0.95),
            Score::quantile(&score.first, 0.95),
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_have_equal_shares_from_all_over_the_list() {
        let case = |language, number: usize| Case {
            language,
            text: number.to_string(),
            nouns: Vec::new(),
            people: 1,
            topics: Vec::new(),
        };
        let (english, german) = (Language::English, Language::German);
        let cases: Vec<Case> =
            (0..34).map(|n| case(english, n)).chain((0..2).map(|n| case(german, n))).collect();
        let taken: Vec<(Language, String)> =
            share(&cases, 4).into_iter().map(|case| (case.language, case.text)).collect();
        let wanted =
            [(english, "0"), (german, "0"), (english, "8"), (german, "1"), (english, "17"), (english, "25")];
        assert_eq!(taken, wanted.map(|(language, text)| (language, text.to_owned())));
    }
}
