//! Identity cards for the service: plain data outside, [`IdentityCard`] inside.

use imagine_contract::{CardChanges, CardPart, CardRefused, FaceData, PartInput, PartSource, SealedCard};
use imagine_identity::card::{CardVectors, PartName, Source, Takes};
use imagine_identity::{Embedding, IdentityCard};

/// A card as it is kept.
pub fn sealed(card: &IdentityCard) -> Option<SealedCard> {
    serde_json::to_string(card).ok().map(SealedCard)
}

/// All parts of the card of somebody who is known by these faces.
pub fn parts(faces: &[FaceData], changes: &CardChanges) -> Result<Vec<CardPart>, CardRefused> {
    let measured = measured(faces)?;
    let drawn = corrected(&measured, changes)?;
    Ok(PartName::ALL.into_iter().map(|name| part(name, &measured, &drawn, changes)).collect())
}

/// The faces with the embedding of their one card, corrected: what a person sees is what is drawn by.
pub fn as_drawn(
    faces: Vec<FaceData>,
    changes: &CardChanges,
    vectors: &CardVectors,
) -> Result<Vec<FaceData>, CardRefused> {
    let card = corrected(&measured(&faces)?, changes)?;
    let unreadable = |e: imagine_identity::IdentityError| CardRefused::Unreadable(e.to_string());
    let embedding = Embedding::from_raw("the identity card", vectors.vector(&card)).map_err(unreadable)?;
    let drawn =
        |face: FaceData| FaceData { embedding: embedding.vector().to_vec(), norm: embedding.norm(), ..face };
    Ok(faces.into_iter().map(drawn).collect())
}

/// The mean of what each photo tells.
fn measured(faces: &[FaceData]) -> Result<IdentityCard, CardRefused> {
    let read = |face: &FaceData| {
        let missing = || CardRefused::Unreadable("a photo has none".into());
        let text = &face.card.as_ref().ok_or_else(missing)?.0;
        // The reason may quote the card.
        let other = |_| CardRefused::Unreadable("another version of this program wrote it".into());
        IdentityCard::from_json(text).map_err(other)
    };
    let cards = faces.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(IdentityCard::mean(&cards))
}

fn corrected(measured: &IdentityCard, changes: &CardChanges) -> Result<IdentityCard, CardRefused> {
    let wrong = |e: imagine_identity::CardError| CardRefused::Change(e.to_string());
    let mut card = measured.clone();
    for (part, value) in &changes.set {
        card.correct(&format!("{part}={value}")).map_err(wrong)?;
    }
    for part in &changes.without {
        card.leave_out(part.parse().map_err(wrong)?);
    }
    Ok(card)
}

fn part(name: PartName, measured: &IdentityCard, drawn: &IdentityCard, changes: &CardChanges) -> CardPart {
    let (measured, drawn) = (measured.show(name), drawn.show(name));
    let source = match &drawn {
        _ if changes.without.contains(name.name()) => PartSource::LeftOut,
        None => PartSource::Unknown,
        Some(part) if part.source == Source::Corrected => PartSource::Corrected,
        Some(_) => PartSource::Measured,
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let (input, choices) = match name.takes() {
        Takes::Nothing => (PartInput::Nothing, Vec::new()),
        Takes::Colour(names) => (PartInput::Colour, words(names)),
        Takes::Word(choices) => (PartInput::Choice, words(choices)),
        Takes::Years => (PartInput::Years, Vec::new()),
    };
    CardPart {
        name: name.name().to_owned(),
        source,
        value: drawn.and_then(|part| part.words),
        numbers: measured.as_ref().map_or(0, |part| part.numbers),
        confidence: measured.as_ref().map(|part| part.confidence),
        measured: measured.and_then(|part| part.words),
        input,
        choices,
    }
}
