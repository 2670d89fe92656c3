//! How unlike the right person a predicted picture is, with gradients.
//!
//! The face in a picture that was just decoded is aligned by the landmarks of the picture that is to be drawn, and SFace looks at it: one minus the cosine to the
//! mean of the person's shots, both centred on the mean of all renders (as in PortraitBooth, arXiv
//! 2312.06354, and PuLID, arXiv 2404.16022, which take the target's own embedding).

use std::path::Path;

use imagine_identity::align::{FACE_SIZE, Similarity, template};
use imagine_identity::runtime::{SFACE_FILE, face_models};
use tch::{Device, Kind, Tensor};

use crate::dataset::Dataset;
use crate::error::TrainingError;
use crate::face_network::FaceNetwork;
use crate::landmarks::{self, Landmarks, Points};
use crate::recipe::PICTURE_SIZE;

/// The loss for one set of pictures.
pub struct IdentityLoss {
    network: FaceNetwork,
    /// Of each picture and, after those, of each mirror image: from the aligned face to the picture. None
    /// where no face was found.
    alignments: Vec<Option<Similarity>>,
    /// Where each picture's person lies, centred, length one: [N, E]
    people: Tensor,
    /// [1, E]
    mean: Tensor,
    device: Device,
}

impl IdentityLoss {
    /// Reads the landmarks in `folder` and the recogniser that set-up installed, to compute in `kind`.
    pub fn new(data: &Dataset, folder: &Path, device: Device, kind: Kind) -> Result<Self, TrainingError> {
        let found = landmarks::read(folder)?;
        let models = face_models().map_err(imagine_identity::IdentityError::from)?;
        Ok(Self {
            network: FaceNetwork::read(&models.join(SFACE_FILE), device, kind)?,
            alignments: alignments(data, &found),
            people: people(data)?.to_device(device),
            mean: data.mean_embedding.to_device(device),
            device,
        })
    }

    /// Whether a picture (a row of the latents) has a face to look at.
    pub fn knows(&self, row: i64) -> bool {
        self.alignments.get(row as usize).is_some_and(Option::is_some)
    }

    /// The same of all pictures.
    pub fn known(&self) -> Vec<bool> {
        self.alignments.iter().map(Option::is_some).collect()
    }

    /// The loss of each predicted picture, 0 to 2: [B]. `pixels` [B, 3, S, S] are in [-1, 1]; `rows` say which
    /// pictures they are to be, all of them known.
    pub fn of(&self, pixels: &Tensor, rows: &[i64]) -> Result<Tensor, TrainingError> {
        let frames = self.people.size()[0];
        let transforms: Vec<Similarity> =
            rows.iter().filter_map(|&row| self.alignments.get(row as usize).copied().flatten()).collect();
        let faces = aligned(&((pixels.to_kind(Kind::Float) + 1.0) * 127.5), &transforms)?; // [B, 3, 112, 112]
        let embeddings = unit(&self.network.forward(&faces)?) - &self.mean; // [B, E]
        let wanted: Vec<i64> = rows.iter().map(|row| row % frames).collect();
        let wanted = self.people.index_select(0, &Tensor::from_slice(&wanted).to_device(self.device));
        Ok(1.0 - (unit(&embeddings) * wanted).sum_dim_intlist([1i64].as_slice(), false, Kind::Float))
    }
}

/// Rows of length one: [N, E]
fn unit(rows: &Tensor) -> Tensor {
    rows / rows.norm_scalaropt_dim(2, [1], true).clamp_min(1e-6)
}

/// For each frame the mean embedding of its person, centred: [N, E]
fn people(data: &Dataset) -> Result<Tensor, TrainingError> {
    let own = data.embeddings.copy();
    for shots in &data.people {
        let rows: Vec<i64> = shots.iter().map(|&shot| shot as i64).collect();
        let rows = Tensor::from_slice(&rows);
        let mean = data.embeddings.index_select(0, &rows).mean_dim([0i64].as_slice(), true, Kind::Float);
        let _ = own.shallow_clone().f_index_copy_(0, &rows, &mean.expand([rows.size()[0], -1], false))?;
    }
    Ok(unit(&(own - &data.mean_embedding)))
}

fn alignments(data: &Dataset, found: &Landmarks) -> Vec<Option<Similarity>> {
    let of = |points: &Points| Similarity::between(&template(FACE_SIZE), points).ok();
    let points: Vec<Option<&Points>> =
        data.frames.iter().map(|frame| found.get(&frame.file).and_then(Option::as_ref)).collect();
    let plain = points.iter().map(|points| of((*points)?));
    let mirror = points.iter().map(|points| of(&landmarks::mirrored((*points)?, PICTURE_SIZE as f32)));
    plain.chain(mirror).collect()
}

/// Aligned faces of pictures [B, 3, S, S] by transforms from the aligned face to the picture: bilinear, black
/// outside, as `imagine_identity::align::warp` does: [B, 3, 112, 112]
fn aligned(pictures: &Tensor, transforms: &[Similarity]) -> Result<Tensor, TrainingError> {
    let side = pictures.size()[3] as f64;
    let face = i64::from(FACE_SIZE);
    // Pixel centres are whole numbers; the sampler's -1 and 1 are the outer edges of the border pixels.
    let normal = |pixel: f64| (2.0 * pixel + 1.0) / side - 1.0;
    let step = 2.0 / side;
    let rows: Vec<f32> = transforms
        .iter()
        .flat_map(|t| [t.a * step, -t.b * step, normal(t.dx), t.b * step, t.a * step, normal(t.dy)])
        .map(|number| number as f32)
        .collect();
    let matrices = Tensor::f_from_slice(&rows)?.f_view([-1, 2, 3])?.f_to_device(pictures.device())?; // [B, 2, 3]
    let places = Tensor::arange(face, (Kind::Float, pictures.device()));
    let u = places.view([1, face]).expand([face, face], false);
    let v = places.view([face, 1]).expand([face, face], false);
    let points = Tensor::f_stack(&[u, v, places.ones_like().expand([face, face], false)], -1)?; // [112, 112, 3]
    let points = points.f_view([1, face * face, 3])?.f_expand([matrices.size()[0], -1, -1], false)?;
    let grid = points.f_bmm(&matrices.f_transpose(1, 2)?)?.f_view([-1, face, face, 2])?; // [B, 112, 112, 2]
    Ok(pictures.f_grid_sampler(&grid, 0, 0, false)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use image::{Rgb, RgbImage};
    use imagine_identity::align::{ARCFACE_TEMPLATE, align};

    #[test]
    fn faces_are_aligned_as_the_identity_crate_aligns_them() {
        let picture =
            RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 4) as u8, (y * 4) as u8, (x * y / 16) as u8]));
        let turned = Similarity { a: 0.31, b: 0.06, dx: 14.0, dy: 9.0 };
        let points =
            ARCFACE_TEMPLATE.map(|[x, y]| turned.apply([f64::from(x), f64::from(y)]).map(|c| c as f32));
        let wanted = align(&picture, &points, FACE_SIZE).unwrap();
        let tensor = |p: &RgbImage| {
            let side = i64::from(p.width());
            let bytes = Tensor::from_data_size(p.as_raw(), &[side, side, 3], Kind::Uint8);
            bytes.permute([2, 0, 1]).unsqueeze(0).to_kind(Kind::Float) // [1, 3, S, S]
        };
        let transform = Similarity::between(&template(FACE_SIZE), &points).unwrap();
        let found = aligned(&tensor(&picture), &[transform]).unwrap();
        let far = (found - tensor(&wanted)).abs().max().double_value(&[]);
        // the other side is rounded to whole numbers
        assert!(far < 0.51, "{far}");
    }

    #[test]
    fn the_gradient_leads_from_the_pixels_to_the_person() {
        tch::manual_seed(4);
        let options = (Kind::Float, Device::Cpu);
        let models = face_models().unwrap();
        // a face in the left half of the picture
        let left = Similarity { a: 0.25, b: 0.0, dx: 2.0, dy: 16.0 };
        let loss = IdentityLoss {
            network: FaceNetwork::read(&models.join(SFACE_FILE), Device::Cpu, Kind::Float).unwrap(),
            alignments: vec![Some(left), None],
            people: unit(&Tensor::randn([1, 128], options)),
            mean: Tensor::zeros([1, 128], options),
            device: Device::Cpu,
        };
        assert!(loss.knows(0) && !loss.knows(1) && !loss.knows(2));
        let pixels = (Tensor::randn([1, 3, 64, 64], options) * 0.3).set_requires_grad(true);
        let before = loss.of(&pixels, &[0]).unwrap();
        before.backward();
        let gradient = pixels.grad();
        let right_half = gradient.narrow(3, 32, 32).abs().max().double_value(&[]);
        assert_eq!(right_half, 0.0, "pixels beside the face do not count");
        let moved = pixels.detach() - &gradient / gradient.norm() * 0.5;
        let [before, after] = [before, loss.of(&moved, &[0]).unwrap()].map(|loss| loss.double_value(&[0]));
        assert!(after < before - 0.01, "{before} to {after}");
    }
}
