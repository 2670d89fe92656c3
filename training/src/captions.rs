//! Sentences from what is known to be visible.
//!
//! Every step says the same picture in other words, and leaves parts out, so that the model follows
//! short and long prompts. What belongs to the person (sex, hair, skin) is mostly left to the identity
//! branch; it is named when that branch is dropped, so that text alone can also draw someone.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::dataset::Frame;

/// Words of the templates that the renderer's vocabulary does not hold.
pub const TEMPLATE_WORDS: &[&str] = &[
    "me",
    "as",
    "a",
    "an",
    "the",
    "of",
    "in",
    "with",
    "wearing",
    "portrait",
    "picture",
    "photo",
    "person",
    "someone",
    "dressed",
    "like",
    "looking",
    "face",
    "hair",
    "skin",
    "background",
    "at",
    "on",
    "and",
    "my",
    "i",
    "am",
    "imagine",
    "eyes",
    ",",
    ".",
    "man",
    "woman",
    "young",
    "old",
    "avatar",
    "3d",
    "expression",
];

/// Last words of phrases that stand without an article.
const BARE: &[&str] = &["armour", "dungarees", "scrubs", "snorkel"];

/// The phrase with its article.
fn with_article(noun: &str) -> String {
    if noun.split(' ').next_back().is_some_and(|last| BARE.contains(&last)) {
        return noun.to_owned();
    }
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

fn pick<'a>(rng: &mut StdRng, options: &[&'a str]) -> &'a str {
    options.choose(rng).copied().unwrap_or_default()
}

/// The person in words: "an elderly woman with tan skin and brown bob".
fn person_words(frame: &Frame, rng: &mut StdRng) -> String {
    let id = &frame.identity;
    let mut noun = id.sex.clone();
    if rng.random_bool(0.7) {
        noun = format!("{} {noun}", id.age);
    }
    let mut text = with_article(&noun);
    let mut traits = Vec::new();
    if rng.random_bool(0.5) {
        traits.push(format!("{} skin", id.skin));
    }
    if id.hair_visible && rng.random_bool(0.6) {
        traits.push(id.hair.clone());
    }
    for part in [&id.beard, &id.glasses].into_iter().flatten() {
        if rng.random_bool(0.5) {
            traits.push(part.clone());
        }
    }
    if !traits.is_empty() {
        text.push_str(" with ");
        text.push_str(&traits.join(" and "));
    }
    text
}

/// A sentence for one frame. `describe` names the person's traits.
pub fn compose(frame: &Frame, describe: bool, rng: &mut StdRng) -> String {
    let c = &frame.clauses;
    let subject = if describe {
        person_words(frame, rng)
    } else {
        pick(rng, &["me", "me", "me", "a person", "someone"]).to_string()
    };
    let lead = pick(rng, &["", "", "a portrait of ", "a picture of ", "imagine ", "a photo of "]);
    let mut text = format!("{lead}{subject}");
    if let Some(role) = &c.role
        && rng.random_bool(0.92)
    {
        let how = pick(rng, &["as", "as", "as", "dressed as"]);
        text.push_str(&format!(" {how} {}", with_article(role)));
    }
    let mut parts = Vec::new();
    if let Some(clothes) = &c.clothes
        && rng.random_bool(if c.role.is_some() { 0.25 } else { 0.75 })
    {
        parts.push(format!("wearing {}", with_article(clothes)));
    }
    if let Some(hat) = &c.hat
        && rng.random_bool(if c.role.is_some() { 0.3 } else { 0.8 })
    {
        parts.push(format!("{} {}", pick(rng, &["with", "wearing"]), with_article(hat)));
    }
    if let Some(prop) = &c.prop
        && rng.random_bool(0.3)
    {
        parts.push(format!("with {}", with_article(prop)));
    }
    if rng.random_bool(0.65) {
        parts.push(c.expression.clone());
    }
    if rng.random_bool(0.3) {
        parts.push(c.pose.clone());
    }
    if rng.random_bool(0.35) {
        parts.push(c.light.clone());
    }
    if rng.random_bool(0.6) {
        let how = pick(rng, &["", "in ", "background "]);
        parts.push(match how {
            "background " => format!("{} background", c.place),
            how => format!("{how}{}", c.place),
        });
    }
    for part in parts {
        text.push_str(pick(rng, &[", ", ", ", " "]));
        text.push_str(&part);
    }
    if rng.random_bool(0.12) {
        text.push(' ');
        text.push_str(&unknown_word(rng));
    }
    text
}

/// Everything of a frame that a prompt can ask for, in one sentence: for measuring whether it is followed.
pub fn in_full(frame: &Frame) -> String {
    let c = &frame.clauses;
    let mut parts = Vec::new();
    match &c.role {
        Some(role) => parts.push(format!("me as {}", with_article(role))),
        None => {
            parts.push("me".to_owned());
            let worn = [&c.clothes, &c.hat].into_iter().flatten();
            parts.extend(worn.map(|worn| format!("wearing {}", with_article(worn))));
        }
    }
    parts.extend([c.expression.clone(), c.place.clone()]);
    parts.join(", ")
}

/// A word that means nothing, so that the model learns to pass over words it does not know.
fn unknown_word(rng: &mut StdRng) -> String {
    (0..rng.random_range(3..9)).map(|_| char::from(b'a' + rng.random_range(0..26u8))).collect()
}

#[cfg(test)]
mod tests {
    use super::with_article;

    #[test]
    fn plurals_and_armour_stand_without_an_article() {
        assert_eq!(with_article("orange hoodie"), "an orange hoodie");
        assert_eq!(with_article("knight"), "a knight");
        assert_eq!(with_article("blue scrubs"), "blue scrubs");
        assert_eq!(with_article("steel armour"), "steel armour");
    }
}
