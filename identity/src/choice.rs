//! Which encoder looks at the faces: the one that is named, or the one whose embeddings an adapter was trained
//! with. Embeddings of different recognisers have nothing to do with one another, even of the same width.

use std::path::Path;

use crate::IdentityError;
use crate::arcface::ARCFACE_WIDTH;
use crate::card::CARD_WIDTH;
use crate::embed::SFACE_WIDTH;
use crate::licences::{CARD_NETWORKS, INSIGHTFACE, Licence, LicenceStore, OPENCV_ZOO};
use crate::packs::Pack;
use crate::person::{CARD_NAME, Encoder, SFACE_NAME};

/// What is known before anything is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct EncoderChoice<'a> {
    /// `sface`, `card`, or a pack's folder or name; goes before everything else.
    pub named: Option<&'a Path>,
    /// The folder of a pack that belongs to the model.
    pub pulled: Option<&'a Path>,
    /// Packs with the recogniser that the adapter was trained with, best first, such as
    /// [`crate::packs::FACE_ID_PACKS`].
    pub packs: &'a [&'a str],
    /// Width of the embeddings that the adapter takes; `None` where it takes none, but looks at the face.
    pub width: Option<usize>,
}

/// An encoder that is there, and not opened yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChosenEncoder {
    /// YuNet and SFace, from set-up.
    Sface,
    /// YuNet from set-up, and the identity card's own networks.
    Card,
    /// An InsightFace pack.
    Pack(Pack),
}

impl EncoderChoice<'_> {
    /// Finds the encoder.
    ///
    /// # Errors
    /// [`IdentityError::PackMissing`] and [`IdentityError::PackModel`] for one that is named,
    /// [`IdentityError::NoEncoder`] where it or any other does not fit the width, or none is installed.
    pub fn find(&self) -> Result<ChosenEncoder, IdentityError> {
        if let Some(named) = self.named {
            let chosen = match named.to_str() {
                Some(SFACE_NAME) => ChosenEncoder::Sface,
                Some(CARD_NAME) => ChosenEncoder::Card,
                _ => ChosenEncoder::Pack(Pack::find(named)?),
            };
            return match self.width {
                Some(width) if width != chosen.embedding_width() => {
                    let reason = format!(
                        "the face encoder {} makes embeddings of {} numbers, the adapter wants {width}: leave out \
                         --face-encoder, and one that fits is taken if it is installed",
                        chosen.name(),
                        chosen.embedding_width()
                    );
                    Err(IdentityError::NoEncoder { width, reason })
                }
                _ => Ok(chosen),
            };
        }
        match (self.width, self.pulled) {
            (Some(ARCFACE_WIDTH), Some(pulled)) => Pack::open(pulled).map(ChosenEncoder::Pack),
            (Some(ARCFACE_WIDTH), None) => Pack::first_of(self.packs).map(ChosenEncoder::Pack),
            // an adapter that takes no embedding still needs the face cut out
            (None | Some(SFACE_WIDTH), _) => Ok(ChosenEncoder::Sface),
            (Some(CARD_WIDTH), _) => Ok(ChosenEncoder::Card),
            (Some(width), _) => {
                let reason = format!(
                    "the adapter wants face embeddings of {width} numbers, and no face encoder makes those: \
                     {SFACE_NAME} makes {SFACE_WIDTH}, {CARD_NAME} {CARD_WIDTH}, InsightFace packs {ARCFACE_WIDTH}"
                );
                Err(IdentityError::NoEncoder { width, reason })
            }
        }
    }

    /// Why `chosen` may be the wrong one although its embeddings have the right width: a pack is named whose
    /// recogniser is not, as far as its name tells, the one that the adapter was trained with.
    pub fn doubt(&self, chosen: &ChosenEncoder) -> Option<String> {
        let ChosenEncoder::Pack(pack) = chosen else { return None };
        let right = self.packs.first().filter(|_| self.width == Some(ARCFACE_WIDTH))?;
        (self.named.is_some() && !self.packs.contains(&pack.name.as_str())).then(|| {
            format!(
                "the adapter was trained with the embeddings of {right}; those of {} mean something else, unless it holds \
                 the same recogniser",
                pack.name
            )
        })
    }
}

impl ChosenEncoder {
    /// `sface`, `card`, or the pack's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Sface => SFACE_NAME,
            Self::Card => CARD_NAME,
            Self::Pack(pack) => &pack.name,
        }
    }

    /// Values of an embedding.
    pub fn embedding_width(&self) -> usize {
        match self {
            Self::Sface => SFACE_WIDTH,
            Self::Card => CARD_WIDTH,
            Self::Pack(_) => ARCFACE_WIDTH,
        }
    }

    /// What the networks may be used for.
    pub fn licence(&self) -> Licence {
        match self {
            Self::Sface => OPENCV_ZOO,
            Self::Card => CARD_NETWORKS,
            Self::Pack(_) => INSIGHTFACE,
        }
    }

    /// Remembers in `store` that the licence was accepted; `name` is the licence's or the encoder's. False where
    /// it had been accepted before.
    ///
    /// # Errors
    /// [`IdentityError::OtherLicence`] for another name or an encoder that needs no acceptance, and those of
    /// [`LicenceStore::accept`]; nothing is remembered then.
    pub fn accept(&self, name: &str, store: &LicenceStore) -> Result<bool, IdentityError> {
        let licence = self.licence();
        if !licence.must_be_accepted || (name != licence.name && name != self.name()) {
            let (name, encoder) = (name.to_owned(), self.name().to_owned());
            return Err(IdentityError::OtherLicence { name, encoder, licence });
        }
        if store.is_accepted(licence.name)? {
            return Ok(false);
        }
        store.accept(licence.name)?;
        Ok(true)
    }

    /// Opens the networks, if the licence needs no acceptance or stands in `store`.
    ///
    /// # Errors
    /// Those of [`Encoder::installed`], [`Encoder::card`] and [`Encoder::of_pack`].
    pub fn open(&self, store: &LicenceStore) -> Result<Encoder, IdentityError> {
        match self {
            Self::Sface => Encoder::installed(),
            Self::Card => Encoder::card(),
            Self::Pack(pack) => Encoder::of_pack(pack, store),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_pack_of_another_recogniser_is_doubted() {
        let pack = |name: &str| {
            let files = [name, "detector.onnx", "recogniser.onnx"].map(std::path::PathBuf::from);
            let [folder, detector, recogniser] = files;
            ChosenEncoder::Pack(Pack { name: name.into(), folder, detector, recogniser })
        };
        let choice = EncoderChoice {
            named: Some(Path::new("x")),
            packs: crate::packs::FACE_ID_PACKS,
            width: Some(ARCFACE_WIDTH),
            ..EncoderChoice::default()
        };
        let doubt = choice.doubt(&pack("antelopev2")).unwrap_or_default();
        assert!(doubt.contains("buffalo_l") && doubt.contains("antelopev2"), "{doubt}");
        assert_eq!(choice.doubt(&pack("buffalo_m")), None);
        assert_eq!(choice.doubt(&ChosenEncoder::Sface), None);
        assert_eq!(
            EncoderChoice { named: None, ..choice }.doubt(&pack("antelopev2")),
            None,
            "pulled with the model"
        );
    }

    fn choice(width: Option<usize>) -> EncoderChoice<'static> {
        EncoderChoice { width, packs: &["no-such-pack-a", "no-such-pack-b"], ..EncoderChoice::default() }
    }

    #[test]
    fn the_width_decides_where_none_is_named() {
        assert_eq!(choice(Some(128)).find().expect("SFace"), ChosenEncoder::Sface);
        assert_eq!(choice(None).find().expect("SFace"), ChosenEncoder::Sface);
        assert_eq!(choice(Some(149)).find().expect("the card"), ChosenEncoder::Card);
        let none = choice(Some(512)).find().expect_err("not installed").to_string();
        for part in ["no-such-pack-a or no-such-pack-b", "512", "non-commercial", "models/no-such-pack-a"] {
            assert!(none.contains(part), "{part} is missing in: {none}");
        }
        let odd = choice(Some(77)).find().expect_err("nobody makes those").to_string();
        assert!(odd.contains("77") && odd.contains("sface makes 128"), "{odd}");
    }

    #[test]
    fn a_named_encoder_must_fit_the_adapter() {
        let named = |width| EncoderChoice { named: Some(Path::new("sface")), ..choice(width) }.find();
        assert_eq!(named(Some(128)).expect("SFace"), ChosenEncoder::Sface);
        let refused = named(Some(512)).expect_err("another width");
        assert!(
            refused.is_input() && refused.to_string().contains("sface makes embeddings of 128"),
            "{refused}"
        );
    }

    #[test]
    fn only_the_encoders_own_licence_can_be_accepted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = LicenceStore::at(&folder.path().join("accepted"));
        let file = || folder.path().join("x.onnx");
        let pack = Pack {
            name: "buffalo_l".into(),
            folder: folder.path().into(),
            detector: file(),
            recogniser: file(),
        };
        let pack = ChosenEncoder::Pack(pack);
        for (chosen, name) in
            [(&pack, "insight"), (&pack, "antelopev2"), (&ChosenEncoder::Sface, "opencv-zoo")]
        {
            let refused = chosen.accept(name, &store).expect_err("another licence");
            assert!(refused.is_input() && refused.to_string().contains(name), "{refused}");
        }
        assert!(!store.file().exists(), "nothing is remembered");
        assert!(pack.accept("buffalo_l", &store).expect("accepted"));
        assert!(!pack.accept("insightface", &store).expect("accepted before"));
    }
}
