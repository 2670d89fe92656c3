//! The report as a page.

use std::fmt::Write as _;

use super::Report;
use super::people::KEPT;
use super::tally::{Tallies, Tally};
use crate::judge::QUESTIONS;

fn percent(tally: Tally) -> String {
    if tally.of == 0 {
        return "–".to_owned();
    }
    format!("{:.0} % of {}", 100.0 * tally.share(), tally.of)
}

fn named(tallies: &Tallies, name: &str) -> String {
    tallies.get(name).map_or_else(|| "–".to_owned(), |tally| percent(*tally))
}

/// Everything that was measured, and what is wanted, in tables.
pub fn of(report: &Report) -> String {
    let mut page = String::new();
    // A String takes every write.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(page: &mut String, report: &Report) -> std::fmt::Result {
    let Report { steps, guidance_scale, identity_scale, seed, side, seconds_per_picture, people, photos } =
        report;
    writeln!(page, "# What the starter model draws\n")?;
    writeln!(
        page,
        "Made by `imagine-training evaluate` (training/README.md): {} pictures of {} people whom training has never seen, {side} pixels, \
         {steps} steps, guidance {guidance_scale}, identity {identity_scale}, seed {seed}; {seconds_per_picture:.2} s a picture while it was \
         measured. All numbers: [starter.json](starter.json).\n",
        people.pictures, people.people
    )?;
    writeln!(
        page,
        "![Twelve people who do not exist, each beside three pictures of them](starter-people.jpg)\n"
    )?;
    writeln!(page, "The first of every four is the reference, as it was rendered.\n")?;
    writeln!(page, "| | found | wanted | renders themselves |\n|---|---|---|---|")?;
    writeln!(page, "| a face is found | {} | 98 % | |", percent(people.faces_found))?;
    writeln!(
        page,
        "| the right person of {} is nearest (SFace, centred) | {} | 80 % | {} |",
        people.people,
        percent(people.right_person),
        percent(people.right_person_renders)
    )?;
    let (right, others) = people.likeness;
    writeln!(page, "| cosine to the right person (to others) | {right:.2} ({others:.2}) | | |")?;
    let colour = |(middle, kept): (f32, Tally)| format!("{middle:.1}; {}", percent(kept));
    for (name, made, renders) in
        [("skin", people.skin, people.skin_renders), ("hair", people.hair, people.hair_renders)]
    {
        writeln!(
            page,
            "| {name}: ΔE to the reference, median; below {KEPT} | {} | below {KEPT} | {} |",
            colour(made),
            colour(renders)
        )?;
    }
    writeln!(
        page,
        "| correlation of the head's yaw in reference and picture | {:.2} | below 0.2 | |",
        people.yaw_correlation
    )?;
    let (made, halves) = people.frechet;
    writeln!(
        page,
        "| Fréchet distance to the renders, in the judge's features (no other FID compares) | {made:.2} | | {halves:.2} (half to half) |"
    )?;
    let (made, drawn) = people.seeds_apart;
    writeln!(
        page,
        "| pixels between seeds of one prompt, of 255 | {made:.0} | | {drawn:.0} (between shots) |\n"
    )?;
    writeln!(page, "## The prompt and the card\n")?;
    writeln!(
        page,
        "Read off the pictures by the judge, a network trained on renders; the last column is how often it is right on held-out renders. New \
         pairs are roles in places in which training has never shown them.\n"
    )?;
    writeln!(page, "| | followed | new pairs | judge on renders |\n|---|---|---|---|")?;
    for question in QUESTIONS {
        let cells = [&people.followed, &people.followed_new_pairs, &people.judge_on_renders]
            .map(|t| named(t, question));
        writeln!(page, "| {question} | {} |", cells.join(" | "))?;
    }
    writeln!(page, "\n![Roles](starter-roles.jpg)\n\n## Where it fails\n")?;
    writeln!(
        page,
        "Pictures without a face, or whose role the judge does not see:\n\n![Failures](starter-failures.jpg)\n"
    )?;
    writeln!(
        page,
        "## By group\n\n| | face found | right person | all of the prompt followed |\n|---|---|---|---|"
    )?;
    for (group, tallies) in &people.groups {
        writeln!(page, "| {group} | {} |", tallies.map(percent).join(" | "))?;
    }
    if let Some(photos) = photos {
        writeln!(page, "\n## Photos of real people\n")?;
        writeln!(
            page,
            "{} photos, {} of them unusable; one picture each.\n",
            photos.photos, photos.unusable
        )?;
        writeln!(page, "| | found | wanted |\n|---|---|---|")?;
        writeln!(page, "| a face is found | {} | 98 % |", percent(photos.faces_found))?;
        for (name, kept) in [("skin", photos.skin), ("hair", photos.hair)] {
            let kept = colour(kept);
            writeln!(page, "| {name}: ΔE to the photo, median; below {KEPT} | {kept} | below {KEPT} |")?;
        }
        for (name, tally, wanted) in [
            ("sex", photos.sex, "90 %"),
            ("age group", photos.age_group, "90 %"),
            ("hair length", photos.hair_length, ""),
            ("glasses", photos.glasses, ""),
        ] {
            writeln!(
                page,
                "| {name}: the card's word is what the judge sees | {} | {wanted} |",
                percent(tally)
            )?;
        }
    }
    Ok(())
}
