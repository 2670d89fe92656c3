//! Where an idea says that it takes place.

use imagine_contract::Slot;

use crate::topics::Topics;
use crate::words::parts;

/// Prepositions before places.
const PLACES: [&str; 9] = ["in", "at", "inside", "on", "through", "near", "outside", "beside", "aboard"];
/// What ends a phrase that began with one of them.
const ENDS: [&str; 9] = ["with", "as", "wearing", "dressed", "and", "while", "during", "like", "holding"];
/// Weather is no place, and what is ridden is none either.
const WEATHER: &str = "rain";
const RIDDEN: [&str; 2] = ["animals", "racing"];

/// The topics of the words by which an idea names its place; none where it names no place.
pub fn topics(english: &str, topics: &Topics) -> Option<Vec<String>> {
    let mut named = false;
    let mut about: Vec<String> = Vec::new();
    for words in phrases(english) {
        // By the place's own words: an astronaut may have named the topic of the moon before.
        let text = words.join(" ");
        let own: Vec<&str> = topics.find(&text).into_iter().map(|found| found.topic).collect();
        let ridden = words.first().is_some_and(|word| word == "on");
        let no_place = |topic: &&str| *topic == WEATHER || (ridden && RIDDEN.contains(topic));
        let of_another = |slot| topics.mentions(slot, &text);
        if words.len() < 2
            || [Slot::Wardrobe, Slot::Light, Slot::Style].into_iter().any(of_another)
            || own.iter().any(no_place)
        {
            continue;
        }
        named = true;
        about.extend(own.into_iter().map(str::to_owned));
    }
    named.then_some(about)
}

/// The phrases that begin with a preposition of place.
fn phrases(english: &str) -> Vec<Vec<String>> {
    let mut phrases: Vec<Vec<String>> = Vec::new();
    for segment in english.split([',', ';']) {
        let mut open = false;
        for word in parts(segment) {
            if PLACES.contains(&word.as_str()) {
                open = true;
                phrases.push(Vec::new());
            } else if ENDS.contains(&word.as_str()) {
                open = false;
            }
            if let Some(phrase) = phrases.last_mut().filter(|_| open) {
                phrase.push(word);
            }
        }
    }
    phrases
}
