//! The face encoder of a run, and the person's agreement to its licence.

use imagine_identity::{Encoder, EncoderChoice, IdentityError, LicenceStore};

use crate::progress::Progress;

/// Opens the encoder. `accepted` is what `--accept-licence` names; what was accepted with it is shown.
///
/// # Errors
/// No encoder of that name, one of another width than the adapter's, none installed for the adapter, or a
/// licence that has not been accepted.
pub fn open(
    choice: EncoderChoice<'_>,
    accepted: Option<&str>,
    progress: &Progress,
) -> Result<Encoder, IdentityError> {
    let chosen = choice.find()?;
    if let Some(doubt) = choice.doubt(&chosen) {
        progress.warn(format_args!("{doubt}"));
    }
    let store = LicenceStore::of_this_person()?;
    if let Some(name) = accepted
        && chosen.accept(name, &store)?
    {
        let licence = chosen.licence();
        progress.note(format_args!(
            "accepted for the face encoder {}: {} ({}); remembered in {}",
            chosen.name(),
            licence.terms,
            licence.source,
            store.file().display()
        ));
    }
    chosen.open(&store)
}
