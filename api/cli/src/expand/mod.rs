//! `imagine expand`, and what `generate` and the service need of prompt expansion: which backend answers, and how a
//! checkpoint wants to be spoken to.

pub mod args;
pub mod backend;
pub mod dialect;
mod report;

use std::io::Write;

use imagine_contract::{CancelFlag, ExpandError, Expansion, Idea, IdentityNeeds, Language};
use imagine_expansion::Knowledge;

use self::args::{Backend, ExpandArgs};
use crate::failure::Failure;
use crate::generate_args::GenerateArgs;
use crate::model_lookup::{Located, locate};

/// Expands an idea and prints what came of it.
pub fn run(args: &ExpandArgs, cancel: &CancelFlag) -> Result<(), Failure> {
    let located = locate(&args.model)?;
    let expander = backend::open(&args.options)?;
    let seed = match args.seed {
        Some(seed) => seed,
        None => getrandom::u32().map_err(|e| Failure::failed(format!("no random seed: {e}")))?.into(),
    };
    let idea = Idea {
        language: args.language,
        dialect: dialect::of(&located.model)?,
        style: args.options.style.clone(),
        person: true,
        ground: args.options.ground,
        ..Idea::new(args.idea.clone(), seed)
    };
    // The text is shown as it comes, where somebody may be watching.
    let mut stderr = std::io::stderr();
    let watched = !args.json && std::io::IsTerminal::is_terminal(&stderr);
    let mut on_text = |text: &str| {
        if watched {
            let _ = write!(stderr, "{text}");
            let _ = stderr.flush();
        }
    };
    let result = expander.expand(&idea, &mut on_text, cancel);
    if watched {
        let _ = write!(std::io::stderr(), "\r\x1b[2K");
    }
    let expansion = result.map_err(failure)?;
    report::print(&expansion, seed, args.json)
}

/// Checks the prompt of a picture by the safety rules and expands it, where somebody is to be drawn or a language model
/// is named, and nobody said otherwise. A change of a picture keeps its prompt: it says what is to be different.
///
/// # Errors
/// A refused prompt; whatever the chosen backend fails with.
pub fn of_prompt(
    args: &GenerateArgs,
    located: &Located,
    needs: Option<&IdentityNeeds>,
    seed: u64,
    cancel: &CancelFlag,
) -> Result<Option<Expansion>, Failure> {
    let asked =
        args.expansion.backend != Backend::Auto || args.expansion.ground || args.expansion.style.is_some();
    let usual = args.init.is_none()
        && (!args.everyone().is_empty() || backend::has_model())
        // A text too long for an idea is a prompt that somebody has written out.
        && !matches!(Idea::check(&args.prompt), Err(ExpandError::TooLong { .. }));
    let wanted = asked || usual;
    let rules = Knowledge::built_in().map_err(Failure::failed)?;
    rules.check_negative(&args.negative_prompt).map_err(failure)?;
    if args.no_expand && args.expansion.ground {
        return Err(Failure::input("--ground looks an idea up to expand it, and nothing is to be expanded")
            .hint("leave --no-expand (or IMAGINE_NO_EXPAND) away"));
    }
    if args.no_expand || !wanted {
        return rules.check(&args.prompt).map(|()| None).map_err(failure);
    }
    let idea = Idea {
        dialect: dialect::of(&located.model)?,
        style: args.expansion.style.clone(),
        ground: args.expansion.ground,
        person: !args.everyone().is_empty(),
        trigger_word: needs.and_then(|needs| needs.trigger_word.clone()),
        ..Idea::new(args.prompt.clone(), seed)
    };
    backend::open(&args.expansion)?.expand(&idea, &mut |_| {}, cancel).map(Some).map_err(failure)
}

/// The arguments with the expanded prompt in the place of the idea.
pub fn spoken(args: &GenerateArgs, expansion: Option<&Expansion>) -> GenerateArgs {
    let mut args = args.clone();
    if let Some(expansion) = expansion {
        args.prompt.clone_from(&expansion.prompt);
        if args.negative_prompt.is_empty() {
            args.negative_prompt.clone_from(&expansion.negative_prompt);
        }
    }
    args
}

/// Why an idea cannot be expanded, as a line and an exit code.
pub fn failure(error: ExpandError) -> Failure {
    match error {
        ExpandError::Canceled => Failure::canceled(),
        ExpandError::Refused { rule, reason } => {
            Failure::input(reason).hint(format!("the safety rule \"{rule}\" refuses this idea"))
        }
        ExpandError::Empty | ExpandError::TooLong { .. } | ExpandError::UnknownStyle { .. } => {
            Failure::input(error)
        }
        ExpandError::Unavailable(_) | ExpandError::Failed(_) => Failure::failed(error)
            .hint("--backend template always works; `imagine doctor` says what is missing"),
    }
}

/// A language by its code.
pub fn language(code: &str) -> Result<Language, String> {
    let codes: Vec<&str> = Language::ALL.into_iter().map(Language::code).collect();
    Language::of_code(code).ok_or_else(|| format!("one of {} is needed", codes.join(", ")))
}
