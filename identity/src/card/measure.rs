//! Everything that is measured on one face, before any of it is judged: the same on a photo and on a render.

use image::RgbImage;
use imagine_unet::WeightsError;
use tch::TchError;

use super::cells::{EYES, HEAD, MOUTH};
use super::colour::{self, LIGHT_SHARE, Light, Sample};
use super::descriptor::{DESCRIPTOR_INPUT, Descriptor, DescriptorNetwork};
use super::frame::FaceFrame;
use super::input::{Cut, centre, descriptor_rectangle};
use super::landmarks::{LandmarkNetwork, Points68};
use crate::IdentityError;
use crate::detect::Face;
use crate::resize::{Region, resize};

/// Height that a face is shrunk to before it is looked at, pixels of its box: the descriptor's cut is then some
/// 150 pixels wide, so that sampling without a filter, as face-api does, skips nothing.
const FACE_HEIGHT: f32 = 190.0;
/// Side of the part of the photo that is looked at, in heights of the face's box.
const SURROUNDINGS: f32 = 3.6;
/// Where the first look for points cuts: side in heights of the face's box, and how far its middle lies below that
/// of the box.
const FIRST_CUT: (f32, f32) = (1.05, 0.0);
/// The second look: side in sides of the points' own box.
const SECOND_CUT: f32 = 1.2;

/// One face, measured. Debug output is left out: it would be biometric data in a log.
pub struct Measured {
    /// 68 points, pixels of the part of the photo that was looked at.
    pub points: Points68,
    /// Pixels of that part for one of the photo.
    pub zoom: f32,
    /// Where in the photo that part begins.
    pub corner: [f32; 2],
    pub frame: FaceFrame,
    /// The part of the photo that was looked at.
    pub part: RgbImage,
    pub descriptor: Descriptor,
    pub light: Light,
    pub skin: Option<Sample>,
    pub hair: Option<Sample>,
    /// Numbers of the windows EYES, MOUTH and HEAD; none without a skin colour to compare with. The mouth's are
    /// for trying probes of beards only.
    pub eyes: Vec<f32>,
    pub mouth: Vec<f32>,
    pub head: Vec<f32>,
}

/// The two networks. Can be shared by threads.
pub struct Measure {
    landmarks: LandmarkNetwork,
    descriptor: DescriptorNetwork,
}

impl Measure {
    /// Both networks with this crate's own weights.
    ///
    /// # Errors
    /// A damaged build.
    pub fn built_in() -> Result<Self, WeightsError> {
        Ok(Self { landmarks: LandmarkNetwork::built_in()?, descriptor: DescriptorNetwork::built_in()? })
    }

    /// Measures a face that a detector has found; `None` where its points are none of a face.
    ///
    /// # Errors
    /// [`IdentityError::Inference`].
    pub fn look(&self, photo: &RgbImage, face: &Face) -> Result<Option<Measured>, IdentityError> {
        let Some(Surroundings { part, middle, height, zoom, corner }) = Surroundings::of(photo, face)? else {
            return Ok(None);
        };
        let networks = || -> Result<Option<(Points68, Descriptor)>, TchError> {
            let Some((points, cut)) = self.points(&part, middle, height)? else { return Ok(None) };
            Ok(self.descriptor(&part, &points, cut)?.map(|descriptor| (points, descriptor)))
        };
        let Some((points, descriptor)) = tch::no_grad(networks).map_err(torch)? else { return Ok(None) };
        let Some(frame) = FaceFrame::of(&points) else { return Ok(None) };
        let light = Light::of(&part, LIGHT_SHARE);
        let [skin, hair] = colours(&part, &points, &frame, &light);
        let describe = |window: super::cells::Window| match skin {
            Some(Sample { colour, .. }) => window.describe(&part, &frame, &light, colour),
            None => Ok(Vec::new()),
        };
        let (eyes, mouth, head) = (describe(EYES)?, describe(MOUTH)?, describe(HEAD)?);
        Ok(Some(Measured {
            points,
            zoom,
            corner,
            frame,
            part,
            descriptor,
            light,
            skin,
            hair,
            eyes,
            mouth,
            head,
        }))
    }

    /// The colours alone, of skin and of what lies behind the hairline, be it hair or hat: as [`Measure::look`]
    /// finds them, in a third of its time.
    ///
    /// # Errors
    /// [`IdentityError::Inference`].
    pub fn colours(&self, photo: &RgbImage, face: &Face) -> Result<[Option<Sample>; 2], IdentityError> {
        let Some(Surroundings { part, middle, height, .. }) = Surroundings::of(photo, face)? else {
            return Ok([None; 2]);
        };
        let points = tch::no_grad(|| self.points(&part, middle, height)).map_err(torch)?;
        let found = points.and_then(|(points, _)| Some((points, FaceFrame::of(&points)?)));
        Ok(found.map_or([None; 2], |(points, frame)| {
            colours(&part, &points, &frame, &Light::of(&part, LIGHT_SHARE))
        }))
    }

    /// The points, by two looks at a part in which a face is so high and has its middle there, and the size of the
    /// second look's cut.
    fn points(
        &self,
        part: &RgbImage,
        middle: [f32; 2],
        height: f32,
    ) -> Result<Option<(Points68, [u32; 2])>, TchError> {
        let square =
            |[x, y]: [f32; 2], side: f32| Cut::new(part, [x - side / 2.0, y - side / 2.0, side, side]);
        let (share, down) = FIRST_CUT;
        let Some(cut) = square([middle[0], middle[1] + down * height], share * height) else {
            return Ok(None);
        };
        let points = self.landmarks.points(&cut)?;
        let Some((box_middle, side)) = bounds(&points) else { return Ok(None) };
        let Some(cut) = square(box_middle, SECOND_CUT * side) else { return Ok(None) };
        Ok(Some((self.landmarks.points(&cut)?, cut.size())))
    }

    /// The descriptor of the face about these points, which were found in a cut of this size.
    fn descriptor(
        &self,
        part: &RgbImage,
        points: &Points68,
        cut: [u32; 2],
    ) -> Result<Option<Descriptor>, TchError> {
        let Some(cut) = Cut::new(part, descriptor_rectangle(points, cut)) else { return Ok(None) };
        let values = self.descriptor.forward(&cut.input(DESCRIPTOR_INPUT)?)?.flatten(0, -1);
        Ok(Some(Descriptor(Vec::try_from(values)?)))
    }
}

/// The part of a photo about a face that is looked at.
struct Surroundings {
    part: RgbImage,
    /// Middle and height of the face's box in it.
    middle: [f32; 2],
    height: f32,
    /// Its pixels for one of the photo, and where in the photo it begins.
    zoom: f32,
    corner: [f32; 2],
}

impl Surroundings {
    fn of(photo: &RgbImage, face: &Face) -> Result<Option<Self>, IdentityError> {
        let [left, top, width, height] = face.bbox;
        if !face.bbox.iter().all(|v| v.is_finite()) || height < 1.0 || width < 1.0 {
            return Ok(None);
        }
        let middle = [left + width / 2.0, top + height / 2.0];
        let region = Region::around(middle, SURROUNDINGS * height, photo);
        let zoom = (FACE_HEIGHT / height).min(1.0);
        let side = |length: u32| (length as f32 * zoom).round() as u32;
        let part = resize(photo, region, side(region.width), side(region.height)).map_err(inference)?;
        let corner = [region.left, region.top].map(|v| v as f32);
        let middle = [(middle[0] - corner[0]) * zoom, (middle[1] - corner[1]) * zoom];
        Ok(Some(Self { part, middle, height: height * zoom, zoom, corner }))
    }
}

fn inference(reason: String) -> IdentityError {
    IdentityError::Inference { network: "the identity card", reason }
}

fn torch(error: TchError) -> IdentityError {
    inference(error.to_string())
}

impl Measured {
    /// The points in pixels of the photo.
    pub fn points_in_photo(&self) -> Points68 {
        self.points.map(|[x, y]| [x / self.zoom + self.corner[0], y / self.zoom + self.corner[1]])
    }

    /// The colours of skin and hair if another share of the light's were believed: for measuring what it does.
    pub fn colours(&self, light_share: f32) -> [Option<Sample>; 2] {
        colours(&self.part, &self.points, &self.frame, &Light::of(&self.part, light_share))
    }
}

/// Of skin and hair.
fn colours(part: &RgbImage, points: &Points68, frame: &FaceFrame, light: &Light) -> [Option<Sample>; 2] {
    let skin = colour::skin(part, points, frame, light);
    let hair = skin.and_then(|skin| colour::hair(part, points, frame, light, skin.colour));
    [skin, hair]
}

/// Middle and longer side of the points' bounding box; `None` where they are not finite.
fn bounds(points: &Points68) -> Option<([f32; 2], f32)> {
    let side = |axis: usize| {
        let values = points.iter().map(|p| p[axis]);
        let (low, high) = values.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        (low, high)
    };
    let [(x0, x1), (y0, y1)] = [side(0), side(1)];
    let longer = (x1 - x0).max(y1 - y0);
    (longer.is_finite() && longer >= 1.0).then(|| (centre(&[[x0, y0], [x1, y1]]), longer))
}
