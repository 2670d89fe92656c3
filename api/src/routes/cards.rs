//! A person's identity card: seen, corrected part by part, and each part left out.

use axum::Json;
use axum::extract::{Path, State};
use imagine_contract::{CardChanges, CardPart};
use imagine_store::{Known, Person};

use super::people::find;
use crate::app::App;
use crate::error::{Code, Outcome, Problem, ProblemBody};
use crate::http::auth::Caller;
use crate::http::body::{JsonBody, parse};
use crate::wire::card::{CardBody, CardPatch, Said};

/// What drawing hears of a person's looks, part by part, from their photos and from what they have said. Persons
/// whose `card` is true have one: those whom the server's model knows by identity cards.
#[utoipa::path(get, path = "/v1/people/{id}/card", tag = "people", params(("id" = String, Path)), responses(
    (status = OK, body = CardBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Json<CardBody>> {
    let person = find(&app, &caller, &id).await?;
    let Known { faces, changes } = known(&app, &person).await?;
    Ok(Json(CardBody::of(person.id.to_string(), app.parts.faces.card(&faces, &changes)?)))
}

/// Corrects parts of a person's card, leaves parts out, or takes that back. Jobs that begin from then on draw by it.
/// What was measured stays, sealed with the person's key, until the person is deleted. The same request, sent twice,
/// changes nothing more.
#[utoipa::path(patch, path = "/v1/people/{id}/card", tag = "people", params(("id" = String, Path)), request_body = CardPatch, responses(
    (status = OK, body = CardBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn patch(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody { value, .. }: JsonBody<CardPatch>,
) -> Outcome<Json<CardBody>> {
    let person = find(&app, &caller, &id).await?;
    let said = value.said()?;
    let Known { faces, changes: mut wanted } = known(&app, &person).await?;
    known_parts(&app.parts.faces.card(&faces, &wanted)?, &said)?;
    said.apply(&mut wanted);
    app.parts.faces.card(&faces, &wanted)?;
    // Every part is checked by itself, so that what others have said meanwhile makes none of it wrong.
    let changes =
        app.parts.archive.change_card(&caller.tenant, person.id, |changes| said.apply(changes)).await?;
    tracing::info!(person = %person.id, "card changed");
    Ok(Json(CardBody::of(person.id.to_string(), app.parts.faces.card(&faces, &changes)?)))
}

/// Whether this server can show and correct the person's card.
pub(crate) fn has_card(app: &App, person: &Person) -> bool {
    app.parts.faces.makes_cards() && person.encoder == app.parts.faces.encoder()
}

async fn known(app: &App, person: &Person) -> Outcome<Known> {
    if app.parts.faces.makes_cards() && !has_card(app, person) {
        let detail = format!(
            "this person was enrolled with the face encoder {}, which makes no identity cards; enrol them again",
            person.encoder
        );
        return Err(Problem::new(Code::NoCard, detail));
    }
    Ok(app.parts.archive.known(&person.tenant, person.id, false).await?)
}

fn known_parts(parts: &[CardPart], said: &Said) -> Outcome<()> {
    let named = [
        ("set", said.changes.set.keys().collect::<Vec<_>>()),
        ("without", said.changes.without.iter().collect()),
        ("reset", said.reset.iter().collect()),
    ];
    for (param, names) in named {
        if let Some(name) = names.into_iter().find(|name| parts.iter().all(|part| part.name != **name)) {
            let known: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
            let detail = format!("a card has no part \"{name}\"; it has {}", known.join(", "));
            return Err(Problem::field(param, detail));
        }
    }
    Ok(())
}

/// What somebody who is being enrolled says of their card: the field `card` of a form, as `PATCH` takes it. Checked
/// before the photos are looked at.
pub(crate) fn of_form(app: &App, text: Option<&str>) -> Outcome<CardChanges> {
    let mut changes = CardChanges::default();
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(changes) };
    let in_form = |problem: Problem| problem.param("card");
    let said = parse::<CardPatch>(text.as_bytes()).and_then(CardPatch::said).map_err(in_form)?;
    known_parts(&app.parts.faces.card(&[], &changes)?, &said).map_err(in_form)?;
    said.apply(&mut changes);
    app.parts.faces.card(&[], &changes).map_err(|refused| in_form(refused.into()))?;
    Ok(changes)
}
