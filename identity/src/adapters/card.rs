//! The adapter of the identity card: three groups of tokens, of the face's descriptor, of its colours, and of what
//! can be said in a word. Each has an MLP like FaceID's and is attended to by itself, with its own strength: the
//! parallel attention of "Imagine yourself" (arXiv 2409.13346), where every condition has a branch.

use imagine_unet::{Vs, Weights, WeightsError};
use tch::{Kind, Tensor};

use super::faceid::{FaceIdProjection, FaceIdSizes};
use crate::card::{CARD_WIDTH, Columns};

/// Names of the groups in files, and the numbers of a card's vector that each reads.
pub const CARD_GROUPS: [(&str, std::ops::Range<usize>); 3] =
    [("descriptor", Columns::DESCRIPTOR), ("colours", Columns::COLOURS), ("traits", Columns::TRAITS)];

/// Their names alone.
pub(super) const CARD_GROUP_NAMES: [&str; 3] = [CARD_GROUPS[0].0, CARD_GROUPS[1].0, CARD_GROUPS[2].0];

/// The MLPs of all groups.
pub struct CardProjection {
    groups: Vec<FaceIdProjection>,
}

impl CardProjection {
    /// Reads the sizes of every group off the shapes below `image_proj`.
    ///
    /// # Errors
    /// What does not fit, as a sentence to follow the file's name.
    pub fn sizes_of(weights: &Weights) -> Result<[FaceIdSizes; 3], String> {
        let mut found = Vec::with_capacity(CARD_GROUPS.len());
        for (name, columns) in CARD_GROUPS {
            let sizes = FaceIdSizes::below(weights, &format!("image_proj.{name}"))?;
            let (inputs, wanted) = (sizes.embedding, columns.len() as i64);
            if inputs != wanted {
                return Err(format!(
                    "its group \"{name}\" reads {inputs} numbers, and the card has {wanted} of them"
                ));
            }
            found.push(sizes);
        }
        let dims: Vec<i64> = found.iter().map(|sizes| sizes.cross_dim).collect();
        <[FaceIdSizes; 3]>::try_from(found)
            .ok()
            .filter(|_| dims.windows(2).all(|pair| pair[0] == pair[1]))
            .ok_or_else(|| format!("its groups make tokens of different widths: {dims:?}"))
    }

    /// Builds the MLPs below `vs`, by the groups' names.
    ///
    /// # Errors
    /// Weights that are missing or of another shape.
    pub fn new(vs: &Vs, sizes: [FaceIdSizes; 3]) -> Result<Self, WeightsError> {
        let named = CARD_GROUPS.iter().zip(sizes);
        let groups = named.map(|((name, _), sizes)| FaceIdProjection::new(&(vs / *name), sizes));
        Ok(Self { groups: groups.collect::<Result<_, _>>()? })
    }

    /// Width of the tokens.
    pub fn cross_dim(&self) -> i64 {
        self.groups.first().map_or(0, |group| group.sizes().cross_dim)
    }

    /// Tokens of each group.
    pub fn tokens(&self) -> Vec<i64> {
        self.groups.iter().map(|group| group.sizes().tokens).collect()
    }

    /// Vectors of cards [B, 149], at any scale, → tokens of each group, [B, Tᵍ, C]. A vector of zeros is nobody's.
    pub fn groups(&self, cards: &Tensor) -> Vec<Tensor> {
        let cards = cards.to_kind(Kind::Float);
        let one = cards.narrow(1, Columns::ONE as i64, 1).clamp_min(1e-6); // [B, 1]
        let cards = (cards / one).narrow(1, 0, CARD_WIDTH as i64 - 1); // [B, 148]
        let part = |(group, (_, columns)): (&FaceIdProjection, &(&str, std::ops::Range<usize>))| {
            group.forward(&cards.narrow(1, columns.start as i64, columns.len() as i64))
        };
        self.groups.iter().zip(&CARD_GROUPS).map(part).collect()
    }

    /// The tokens of all groups side by side: [B, T, C]
    pub fn forward(&self, cards: &Tensor) -> Tensor {
        Tensor::cat(&self.groups(cards), 1)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use tch::Device;

    use super::*;

    fn sizes() -> [FaceIdSizes; 3] {
        let of = |embedding, tokens| FaceIdSizes { embedding, hidden: 16, tokens, cross_dim: 8 };
        [of(129, 4), of(8, 2), of(11, 2)]
    }

    #[test]
    fn a_group_hears_its_own_numbers_at_any_scale() {
        tch::manual_seed(3);
        let weights = Weights::fresh(Device::Cpu, Kind::Float);
        let projection = CardProjection::new(&(&weights.root() / "image_proj"), sizes()).unwrap();
        let card = Tensor::randn([1, 149], (Kind::Float, Device::Cpu));
        let _ = card.narrow(1, 148, 1).fill_(1.0);
        let tokens = projection.groups(&card);
        let shapes: Vec<Vec<i64>> = tokens.iter().map(Tensor::size).collect();
        assert_eq!(shapes, [[1, 4, 8], [1, 2, 8], [1, 2, 8]]);
        assert_eq!(projection.forward(&card).size(), [1, 8, 8]);
        let same = |left: &Tensor, right: &Tensor| left.allclose(right, 1e-4, 1e-5, false);
        for (a, b) in tokens.iter().zip(projection.groups(&(&card * 0.07))) {
            assert!(same(a, &b));
        }
        let other = card.copy();
        let _ = other.narrow(1, 130, 1).fill_(-3.0);
        let changed = projection.groups(&other);
        assert!(same(&tokens[0], &changed[0]) && !same(&tokens[1], &changed[1]));
        assert!(same(&tokens[2], &changed[2]));
        let nobody = projection.groups(&Tensor::zeros([1, 149], (Kind::Float, Device::Cpu)));
        assert!(nobody.iter().all(|tokens| tokens.isfinite().all().int64_value(&[]) == 1));
    }

    #[test]
    fn a_file_of_other_sizes_is_refused_by_its_group() {
        let weights = Weights::fresh(Device::Cpu, Kind::Float);
        let mut wrong = sizes();
        wrong[1].embedding = 9;
        CardProjection::new(&(&weights.root() / "image_proj"), wrong).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("card.safetensors");
        let tensors: Vec<(String, Tensor)> = weights.parameters().into_iter().collect();
        Tensor::write_safetensors(&tensors, &file).unwrap();
        let read = Weights::open(&[file], Device::Cpu, Kind::Float).unwrap();
        let said = CardProjection::sizes_of(&read).unwrap_err();
        assert!(said.contains("\"colours\" reads 9 numbers"), "{said}");
    }
}
