//! From an idea to its subject: who does what, in English as far as the lexicon goes, the person named once.

use imagine_contract::{Dialect, Language};

use crate::language::{Languages, Words, split};
use crate::lexicon::{Entry, Kind, Lexicon};
use crate::words::{Token, fold};

/// Who does what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// "a person and their dog in the snow".
    pub text: String,
    /// How many people there are, the person among them.
    pub people: u32,
    /// The idea is a thing or a place, before which the person was put.
    pub is_scene: bool,
}

impl Subject {
    fn new(text: String, people: u32) -> Self {
        Self { text, people, is_scene: false }
    }
}

/// What a stretch of words is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Me,
    Am,
    /// So many, the person among them.
    We(u32),
    Mine,
    Number(u32, String),
    /// Somebody beside the person, and how many they are.
    Companion(String, u32),
    And(String),
    /// A preposition that means "as" before a role, and what it means elsewhere.
    BeforeRole(String),
    Word(Kind, String),
    /// A word that no table has, as it was typed.
    Raw(Token),
    /// A function word in English, perhaps several, perhaps none.
    Function(String),
    Mark(String),
}

/// Words for people that need no "me": the person takes their place.
const PERSON_WORDS: [&str; 26] = [
    "person",
    "someone",
    "somebody",
    "people",
    "man",
    "woman",
    "men",
    "women",
    "boy",
    "girl",
    "guy",
    "lady",
    "gentleman",
    "friends",
    "couple",
    "family",
    "persona",
    "uomo",
    "donna",
    "hombre",
    "mujer",
    "homme",
    "femme",
    "mann",
    "frau",
    "personne",
];

/// What subjects are made with.
pub struct SubjectMaker<'a> {
    pub languages: &'a Languages,
    pub lexicon: &'a Lexicon,
}

impl SubjectMaker<'_> {
    /// The subject of an idea. `drawn` says that somebody is to be drawn even if the idea names nobody.
    pub fn make(&self, text: &str, language: Language, dialect: &Dialect, drawn: bool) -> Subject {
        let Some(words) = self.languages.of(language) else {
            return Subject::new(text.to_owned(), u32::from(drawn));
        };
        // The small model was taught "me"; others know "a person".
        let person = if matches!(dialect, Dialect::Vocabulary(_)) { "me" } else { "a person" };
        let theirs = if person == "me" { "my" } else { "their" };
        let pieces = self.pieces(text, language, words);
        let (pieces, people) = count(pieces);
        let named = pieces.iter().any(|piece| matches!(piece, Piece::Me | Piece::We(_)));
        let text = self.lexicon.mended(&render(&reorder(pieces, language), person, theirs));
        if named {
            return Subject::new(text, people);
        }
        let speaks_of_people = text.split(|c: char| !c.is_alphanumeric()).any(|word| {
            let word = fold(word);
            PERSON_WORDS.contains(&word.as_str())
        });
        match (speaks_of_people, drawn) {
            (true, _) => Subject::new(text, 1),
            (false, false) => Subject::new(text, 0),
            (false, true) => self.with_person(&text, person),
        }
    }

    /// The person before an idea that names nobody: as what it begins with where that is a role.
    fn with_person(&self, text: &str, person: &str) -> Subject {
        let words: Vec<String> = text.split_whitespace().map(fold).collect();
        let start =
            usize::from(words.first().is_some_and(|word| ["a", "an", "the"].contains(&word.as_str())));
        let rest = words.get(start..).unwrap_or_default();
        match self.lexicon.find(Language::English, rest) {
            Some((_, entry)) if entry.kind == Kind::Role => {
                let article = if start == 0 { article(rest.first().map_or("", String::as_str)) } else { "" };
                Subject::new(format!("{person} as {article}{text}"), 1)
            }
            Some((_, entry)) if entry.kind == Kind::Verb => Subject::new(format!("{person} {text}"), 1),
            _ if text.is_empty() => Subject::new(person.to_owned(), 1),
            _ => Subject { is_scene: true, ..Subject::new(format!("{person}, {text}"), 1) },
        }
    }

    fn pieces(&self, text: &str, language: Language, words: &Words) -> Vec<Piece> {
        let all = split(text, language);
        let (start, names_me) = lead(&all, words);
        let all = all.get(start..).unwrap_or_default();
        let mut pieces = Vec::new();
        if names_me {
            pieces.push(Piece::Me);
        }
        let mut at = 0;
        while let Some(rest) = all.get(at..).filter(|rest| !rest.is_empty()) {
            let (length, piece) = self.piece(rest, pieces.last(), language, words);
            // "imagine me" and then "me" again
            if !(piece == Piece::Me && pieces == [Piece::Me]) {
                pieces.push(piece);
            }
            at += length.max(1);
        }
        pieces
    }

    fn piece(
        &self,
        rest: &[Token],
        last: Option<&Piece>,
        language: Language,
        words: &Words,
    ) -> (usize, Piece) {
        let Some(first) = rest.first() else { return (1, Piece::Mark(String::new())) };
        if !first.is_word() {
            return (1, Piece::Mark(first.raw.clone()));
        }
        let longest = |list: &[String]| longest_of(rest, list);
        let folded = |key: &str| starts_folded(rest, key);
        let after_mine = matches!(last, Some(Piece::Mine | Piece::Number(..)));
        if after_mine {
            let person = words.people.iter().map(|(key, english)| (key, english, 1));
            let group = words.groups.iter().map(|(key, (english, many))| (key, english, *many));
            let found = person.chain(group).filter_map(|(key, english, many)| {
                // "Bruder" and "Brüder" differ by the accent alone.
                folded(key).map(|length| (length, starts(rest, key).is_some(), english, many))
            });
            if let Some((length, _, english, many)) =
                found.max_by_key(|(length, exact, ..)| (*length, *exact))
            {
                return (length, Piece::Companion(english.clone(), many));
            }
        }
        if let Some((length, _)) = longest(&words.we) {
            return (length, Piece::We(2));
        }
        let mine = longest(&words.mine).map(|(n, _)| n);
        let me = longest(&words.me).map(|(n, _)| n);
        if let Some(length) = mine.filter(|n| me.is_none_or(|other| *n >= other)) {
            return (length, Piece::Mine);
        }
        if let Some(length) = me {
            return (length, Piece::Me);
        }
        if matches!(last, Some(Piece::Me | Piece::We(_))) && words.am.contains(&first.lower) {
            return (1, Piece::Am);
        }
        if let Some(many) = words.numbers.get(&first.lower) {
            return (1, Piece::Number(*many, english_number(*many).to_owned()));
        }
        if let Some((length, phrase)) = longest(&words.and) {
            let english = words.words.get(&phrase).cloned().unwrap_or(phrase);
            return (length, Piece::And(english));
        }
        let keys: Vec<String> = rest.iter().take(5).map(|token| token.key.clone()).collect();
        // "Río" is no river: capitals inside an idea are names, but for German, which has them everywhere.
        let is_name = first.is_capital() && last.is_some() && language != Language::German;
        let fits = |entry: &Entry| !is_name || entry.kind == Kind::Name;
        if let Some((length, entry)) = self.lexicon.find(language, &keys).filter(|(_, entry)| fits(entry)) {
            let english = match language {
                Language::English => {
                    rest.iter().take(length).map(|t| t.raw.as_str()).collect::<Vec<_>>().join(" ")
                }
                _ => entry.english.clone(),
            };
            return (length, Piece::Word(entry.kind, english));
        }
        // Function words are not looked for in the singular: "reis" is no "rei".
        let several = longest_word(rest, words).is_none().then(|| self.lexicon.several(language, &first.key));
        if let Some(entry) = several.flatten().filter(|_| !is_name) {
            return (1, Piece::Word(entry.kind, entry.english));
        }
        if let Some(elsewhere) = words.before_role.get(&first.lower)
            && longest_word(rest, words).is_none_or(|(length, _)| length == 1)
        {
            return (1, Piece::BeforeRole(elsewhere.clone()));
        }
        match longest_word(rest, words) {
            Some((length, english)) => (length, Piece::Function(english.to_owned())),
            None => (1, Piece::Raw(first.clone())),
        }
    }
}

/// The longest phrase of a list that an idea goes on with.
pub(crate) fn longest_of(rest: &[Token], list: &[String]) -> Option<(usize, String)> {
    let found = list.iter().filter_map(|phrase| starts(rest, phrase).map(|n| (n, phrase.clone())));
    found.max_by_key(|(length, _)| *length)
}

/// The longest phrase of function words that an idea goes on with.
fn longest_word<'w>(rest: &[Token], words: &'w Words) -> Option<(usize, &'w str)> {
    let found = words.words.iter().filter_map(|(key, en)| starts(rest, key).map(|n| (n, en.as_str())));
    found.max_by_key(|(length, _)| *length)
}

/// How many tokens a beginning takes that says nothing, and whether it names the person.
pub(crate) fn lead(all: &[Token], words: &Words) -> (usize, bool) {
    let mut at = 0;
    let mut names_me = false;
    loop {
        let rest = all.get(at..).unwrap_or_default();
        let found = words.lead.iter().filter_map(|phrase| starts_folded(rest, phrase).map(|n| (n, phrase)));
        match found.max_by_key(|(length, _)| *length) {
            // A lead that is all there is says something after all.
            Some((length, phrase)) if at + length < all.len() => {
                at += length;
                names_me |= words.lead_me.contains(phrase);
            }
            _ => return (at, names_me),
        }
    }
}

/// How many tokens a phrase takes at the beginning, accents counting.
fn starts(rest: &[Token], phrase: &str) -> Option<usize> {
    let words: Vec<&str> = phrase.split(' ').collect();
    let fits = rest.len() >= words.len() && words.iter().zip(rest).all(|(word, token)| token.lower == *word);
    fits.then_some(words.len())
}

/// The same, accents not counting.
fn starts_folded(rest: &[Token], phrase: &str) -> Option<usize> {
    let phrase = fold(phrase);
    let words: Vec<&str> = phrase.split(' ').collect();
    let fits = rest.len() >= words.len() && words.iter().zip(rest).all(|(word, token)| token.key == *word);
    fits.then_some(words.len())
}

fn english_number(number: u32) -> &'static str {
    match number {
        2 => "two",
        3 => "three",
        4 => "four",
        _ => "five",
    }
}

/// Puts the people who stand beside the person behind them, and counts everybody.
fn count(pieces: Vec<Piece>) -> (Vec<Piece>, u32) {
    let mut people = u32::from(pieces.contains(&Piece::Me));
    for (i, piece) in pieces.iter().enumerate() {
        let before = |n: usize| i.checked_sub(n).and_then(|at| pieces.get(at));
        people += match piece {
            Piece::We(_) => match pieces.get(i + 1) {
                Some(Piece::Number(many, _)) => *many,
                _ => 2,
            },
            Piece::Companion(_, many) => match before(1) {
                Some(Piece::Number(said, _)) => *said,
                _ => *many,
            },
            // "me and Anna"
            Piece::Raw(token) if token.is_capital() && beside_me(before(1), before(2)) => 1,
            _ => 0,
        };
    }
    // "my brother and I": the person first, so that every subject begins alike
    let companion = pieces.iter().take(4).position(|piece| matches!(piece, Piece::Companion(..)));
    if let (Some(Piece::Mine), Some(end)) = (pieces.first(), companion)
        && let (Some(Piece::And(_)), Some(Piece::Me)) = (pieces.get(end + 1), pieces.get(end + 2))
    {
        let (beside, rest) = pieces.split_at(end + 1);
        let mut turned = vec![Piece::Me, Piece::And("and".into())];
        turned.extend_from_slice(beside);
        turned.extend_from_slice(rest.get(2..).unwrap_or_default());
        return (turned, people.max(2));
    }
    (pieces, people)
}

fn beside_me(before: Option<&Piece>, before_that: Option<&Piece>) -> bool {
    matches!((before, before_that), (Some(Piece::And(_)), Some(Piece::Me)))
}

/// Adjectives before their noun, prepositions before roles, as English wants them.
fn reorder(pieces: Vec<Piece>, language: Language) -> Vec<Piece> {
    let mut pieces = with_as(pieces);
    let romance = matches!(language, Language::Italian | Language::Spanish | Language::French);
    for i in 0..pieces.len() {
        let noun = matches!(pieces.get(i), Some(Piece::Word(Kind::Noun | Kind::Role | Kind::Roles, _)));
        let adjective = matches!(pieces.get(i + 1), Some(Piece::Word(Kind::Adjective, _)));
        if romance && noun && adjective {
            pieces.swap(i, i + 1);
        }
        if let Some(Piece::BeforeRole(elsewhere)) = pieces.get(i) {
            let is_role =
                |at: usize| matches!(pieces.get(at), Some(Piece::Word(Kind::Role | Kind::Roles, _)));
            let adjective = matches!(pieces.get(i + 1), Some(Piece::Word(Kind::Adjective, _)));
            let role = is_role(i + 1) || (adjective && is_role(i + 2));
            let said = if role { "as".to_owned() } else { elsewhere.clone() };
            if let Some(piece) = pieces.get_mut(i) {
                *piece = Piece::Function(said);
            }
        }
    }
    pieces
}

/// "I'm an astronaut" is "a person as an astronaut".
fn with_as(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::with_capacity(pieces.len() + 1);
    for (i, piece) in pieces.iter().enumerate() {
        let after_me = matches!(out.last(), Some(Piece::Me | Piece::We(_))) && *piece != Piece::Am;
        let is_article = match piece {
            Piece::Function(word) => ["a", "the"].contains(&word.as_str()),
            Piece::Raw(token) => ["a", "an", "the"].contains(&token.key.as_str()),
            _ => false,
        };
        let rest = pieces.get(i + usize::from(is_article)..).unwrap_or_default();
        let described = matches!(rest.first(), Some(Piece::Word(Kind::Adjective, _)));
        let is_role =
            matches!(rest.get(usize::from(described)), Some(Piece::Word(Kind::Role | Kind::Roles, _)));
        if after_me && is_role {
            out.push(Piece::Function("as".into()));
        }
        if *piece != Piece::Am {
            out.push(piece.clone());
        }
    }
    out
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']) { "an " } else { "a " }
}

/// The pieces as English text.
fn render(pieces: &[Piece], person: &str, theirs: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut named = false;
    for piece in pieces {
        let said = match piece {
            Piece::Me if named => if theirs == "my" { "me" } else { "them" }.to_owned(),
            Piece::Me => person.to_owned(),
            Piece::We(_) => "two people".to_owned(),
            Piece::Am => continue,
            Piece::Mine => theirs.to_owned(),
            Piece::Number(_, english) | Piece::And(english) | Piece::Function(english) => english.clone(),
            Piece::BeforeRole(english) => english.clone(),
            Piece::Companion(english, _) | Piece::Word(_, english) => english.clone(),
            Piece::Raw(token) => token.raw.clone(),
            Piece::Mark(mark) if ",;:".contains(mark.as_str()) => {
                if let Some(last) = words.last_mut().filter(|last| !last.ends_with(',')) {
                    last.push(',');
                }
                continue;
            }
            // "rain-soaked", "rock 'n' roll": what else stands between words says little
            Piece::Mark(_) => continue,
        };
        named |= matches!(piece, Piece::Me | Piece::We(_));
        if said.is_empty() {
            continue;
        }
        let is_thing = matches!(piece, Piece::Word(Kind::Role | Kind::Adjective, _));
        let last = words.last().map(String::as_str);
        if is_thing && last == Some("as") {
            words.push(article(&said).trim_end().to_owned());
        }
        words.push(said);
    }
    let text = words.join(" ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut tidy: Vec<String> = Vec::with_capacity(words.len());
    for (i, word) in words.iter().enumerate() {
        let next = words.get(i + 1).copied().unwrap_or_default();
        // "of the the", "as a a"
        let doubled =
            *word == "the" && next == "the" || ["a", "an"].contains(word) && ["a", "an"].contains(&next);
        // "with of the fruit"
        let after = tidy.last().map(String::as_str).unwrap_or_default();
        let of_the = *word == "of" && ["with", "among", "in", "on"].contains(&after);
        let the = *word == "the" && after == "with" && i > 0 && words.get(i - 1) == Some(&"of");
        if doubled || of_the || the {
            continue;
        }
        match *word {
            "a" | "an" => tidy.push(article(next).trim_end().to_owned()),
            other => tidy.push(other.to_owned()),
        }
    }
    tidy.join(" ").trim_matches(|c: char| ",.;: ".contains(c)).to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn make(text: &str) -> (String, u32) {
        let (languages, lexicon) = (Languages::built_in().unwrap(), Lexicon::built_in().unwrap());
        let language = languages.guess(text);
        let maker = SubjectMaker { languages: &languages, lexicon: &lexicon };
        let made = maker.make(text, language, &Dialect::Tags, true);
        (made.text, made.people)
    }

    #[test]
    fn me_is_a_person_in_five_languages() {
        for (idea, subject) in [
            ("me hiking in the Dolomites", "a person hiking in the Dolomites"),
            ("I'm an astronaut", "a person as an astronaut"),
            ("Imagine me as a chef, smiling", "a person as a chef, smiling"),
            ("io come astronauta", "a person as an astronaut"),
            ("io nella foresta con un cappello rosso", "a person in the forest with a red hat"),
            ("yo como pirata en un barco", "a person as a pirate in a boat"),
            ("moi en astronaute sur la lune", "a person as an astronaut on the moon"),
            ("moi en France", "a person in France"),
            ("ponme en una nave espacial", "a person in a spaceship"),
            ("mettimi su un cavallo", "a person on a horse"),
            ("mets-moi sur la lune", "a person on the moon"),
            ("zeig mich als Rockstar", "a person as a rock star"),
            ("ich als Ritter auf einem Pferd", "a person as a knight on a horse"),
            ("un ritratto di me con gli occhiali", "a person with the glasses"),
            ("vorrei essere un re", "a person as a king"),
            ("ich auf einem Dach", "a person on a roof"),
            ("moi qui joue au foot", "a person playing football"),
            ("je joue du piano", "a person playing piano"),
            ("yo juego al tenis", "a person playing tennis"),
            ("io in prigione come poliziotto", "a person in prison as a police officer"),
            ("io con la faccia dipinta", "a person with the face dipinta"),
            ("moi près d'une cascade", "a person next to a waterfall"),
            ("yo junto a un río", "a person next to a river"),
            ("io sul Colosseo", "a person on the Colosseum"),
            ("ich in einer Bar", "a person in a bar"),
        ] {
            assert_eq!(make(idea), (subject.to_owned(), 1), "{idea}");
        }
    }

    #[test]
    fn companions_are_counted_and_the_person_comes_first() {
        for (idea, subject, people) in [
            ("me and my brother on a beach", "a person and their brother on a beach", 2),
            ("my brother and I on a beach", "a person and their brother on a beach", 2),
            ("me with my three friends at a concert", "a person with their three friends at a concert", 4),
            ("me and my dog", "a person and my dog", 1),
            ("io e mia sorella al mare", "a person and their sister at the sea", 2),
            ("yo y mi hermano en la playa", "a person and their brother on the beach", 2),
            ("ma femme et moi à Paris", "a person and their wife in Paris", 2),
            ("ich und meine zwei Freunde", "a person and their two friends", 3),
            ("me and Anna in Venice", "a person and Anna in Venice", 2),
            ("the two of us dancing", "two people dancing", 2),
            ("noi siamo astronauti", "two people as astronauts", 2),
            ("io e mio fratello come pirati", "a person and their brother as pirates", 2),
            ("yo y mi hermana como brujas", "a person and their sister as witches", 2),
            ("moi et mon frère comme rois", "a person and their brother as kings", 2),
            ("ich und mein Bruder als Piraten", "a person and their brother as pirates", 2),
            ("moi et mon frère en chevaliers", "a person and their brother as knights", 2),
        ] {
            let subject = subject.replace("and my dog", "and their dog");
            assert_eq!(make(idea), (subject, people), "{idea}");
        }
    }

    #[test]
    fn an_idea_without_anybody_gets_the_person_where_one_is_drawn() {
        assert_eq!(make("astronaut on the moon").0, "a person as an astronaut on the moon");
        assert_eq!(make("a castle at night"), ("a person, a castle at night".into(), 1));
        assert_eq!(make("a portrait of a person with a red hat").0, "a person with a red hat");
        let (languages, lexicon) = (Languages::built_in().unwrap(), Lexicon::built_in().unwrap());
        let maker = SubjectMaker { languages: &languages, lexicon: &lexicon };
        let nobody = maker.make("a lighthouse at dawn", Language::English, &Dialect::Tags, false);
        assert_eq!((nobody.text.as_str(), nobody.people), ("a lighthouse at dawn", 0));
    }
}
