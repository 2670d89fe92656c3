//! InstantID's second half (arXiv 2401.07519): IdentityNet, a ControlNet that sees a face's key points and
//! hears the face's tokens.

use std::path::Path;

use imagine_contract::{Identity, Region};
use imagine_identity::adapters::IdentityNet;
use imagine_identity::key_point_image::{KeyPointImage, fit};
use imagine_unet::UNetConfig;

use crate::checkpoint::Target;
use crate::edit::Size;
use crate::error::PipelineError;

/// Name of the folder beside the published adapter.
const FOLDER: &str = "ControlNetModel";

/// Loads the folder or the file `named`, else the folder beside the adapter; a file's configuration is that of
/// the base model's `unet`.
pub fn load(
    named: Option<&Path>,
    adapter: &Path,
    unet: &UNetConfig,
    target: Target,
) -> Result<IdentityNet, PipelineError> {
    let dir = match named {
        Some(dir) => dir.to_path_buf(),
        None => adapter.with_file_name(FOLDER),
    };
    if named.is_none() && !dir.is_dir() {
        return Err(PipelineError::Unsupported(format!(
            "{} is InstantID, which needs its ControlNet, and no folder {FOLDER} lies beside it; name its \
             folder or file (--controlnet)",
            adapter.display()
        )));
    }
    Ok(if dir.is_file() {
        IdentityNet::open_file(&dir, unet, target.device, target.kind)?
    } else {
        IdentityNet::open(&dir, target.device, target.kind)?
    })
}

/// Key points of a person's first reference that has them, drawn where the face stood in its photo, the
/// photo fitted into the picture or into the person's box.
pub fn draw_key_points(person: &Identity, size: Size) -> Result<KeyPointImage, PipelineError> {
    let Some(found) = person.references.iter().find_map(|reference| reference.key_points) else {
        let reason =
            "this adapter draws faces where they stood in the photo: key points of the face are needed";
        return Err(PipelineError::Unsupported(reason.into()));
    };
    let (left, top, width, height) = match &person.region {
        Some(Region::Box([left, top, right, bottom])) => {
            let at = |part: f64, side: u32| (part * f64::from(side)).round() as u32;
            let (left, top) = (at(*left, size.width), at(*top, size.height));
            (left, top, at(*right, size.width) - left, at(*bottom, size.height) - top)
        }
        _ => (0, 0, size.width, size.height),
    };
    let [photo_width, photo_height] = found.photo;
    let fitted = fit(&found.points, (photo_width, photo_height), (width, height));
    let face = fitted.map(|[x, y]| [x + left as f32, y + top as f32]);
    let drawn = KeyPointImage::draw(&[face], size.width, size.height);
    drawn.map_err(|e| PipelineError::Unsupported(e.to_string()))
}
