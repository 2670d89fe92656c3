//! The colours of skin and hair: medians in CIE Lab (D65) of places that the 68 points name, after the colour of
//! the light has been taken out as far as one photo tells it.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::frame::FaceFrame;
use super::landmarks::Points68;

/// A colour in CIE L*a*b* under daylight (D65).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lab {
    pub l: f32,
    pub a: f32,
    pub b: f32,
}

/// The white of D65.
const WHITE: [f32; 3] = [0.950_47, 1.0, 1.088_83];
const TO_XYZ: [[f32; 3]; 3] =
    [[0.412_456, 0.357_576, 0.180_438], [0.212_673, 0.715_152, 0.072_175], [0.019_334, 0.119_192, 0.950_304]];
const FROM_XYZ: [[f32; 3]; 3] = [
    [3.240_454, -1.537_138, -0.498_531],
    [-0.969_266, 1.876_011, 0.041_556],
    [0.055_643, -0.204_026, 1.057_225],
];

/// Linear light of an sRGB value in 0 to 1.
fn linear(value: f32) -> f32 {
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

/// The sRGB value of linear light, in 0 to 1.
fn encoded(value: f32) -> f32 {
    let value = value.clamp(0.0, 1.0);
    if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 }
}

impl Lab {
    /// Of linear RGB, 0 to 1.
    pub fn of_linear(rgb: [f32; 3]) -> Self {
        let xyz = TO_XYZ.map(|row| row.iter().zip(rgb).map(|(m, v)| m * v).sum::<f32>());
        let f = |n: usize| {
            let share = xyz[n] / WHITE[n];
            if share > 0.008_856 { share.cbrt() } else { 7.787_04 * share + 16.0 / 116.0 }
        };
        let [x, y, z] = [f(0), f(1), f(2)];
        Self { l: 116.0 * y - 16.0, a: 500.0 * (x - y), b: 200.0 * (y - z) }
    }

    /// Of sRGB bytes.
    pub fn of_srgb(rgb: [u8; 3]) -> Self {
        Self::of_linear(rgb.map(|v| linear(f32::from(v) / 255.0)))
    }

    /// The nearest sRGB bytes.
    pub fn to_srgb(self) -> [u8; 3] {
        let y = (self.l + 16.0) / 116.0;
        let inverse = |f: f32| if f > 0.206_893 { f * f * f } else { (f - 16.0 / 116.0) / 7.787_04 };
        let xyz = [y + self.a / 500.0, y, y - self.b / 200.0].map(inverse);
        let xyz = [xyz[0] * WHITE[0], xyz[1], xyz[2] * WHITE[2]];
        FROM_XYZ.map(|row| {
            let value: f32 = row.iter().zip(xyz).map(|(m, v)| m * v).sum();
            (encoded(value) * 255.0).round() as u8
        })
    }

    /// Euclidean distance (ΔE of 1976): 2 is just seen, 10 is another shade.
    pub fn distance(self, other: Self) -> f32 {
        ((self.l - other.l).powi(2) + (self.a - other.a).powi(2) + (self.b - other.b).powi(2)).sqrt()
    }

    /// Channels L, a, b.
    pub fn channels(self) -> [f32; 3] {
        [self.l, self.a, self.b]
    }
}

/// What the light does to each channel of linear RGB; mean 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Light(pub [f32; 3]);

/// The exponent of the mean that stands for the light's colour ("shades of grey", Finlayson and Trezzi 2004).
const NORM: i32 = 6;
/// How much of the estimate is taken out: a photo whose things are coloured is not one whose light is, and half
/// is what erred least on renders under coloured light and on photos in their own; see
/// docs/measurements/identity-card.md.
pub const LIGHT_SHARE: f32 = 0.5;
/// Estimates stay within this factor of grey.
const MOST_CAST: f32 = 1.6;
/// One pixel in this many, in both directions, is looked at.
const STRIDE: usize = 3;

impl Light {
    /// Light that changes nothing.
    pub const WHITE: Self = Self([1.0; 3]);

    /// The colour of a picture's light, of which `share` is believed.
    pub fn of(picture: &RgbImage, share: f32) -> Self {
        let (mut sum, mut count) = ([0f64; 3], 0u32);
        for y in (0..picture.height()).step_by(STRIDE) {
            for x in (0..picture.width()).step_by(STRIDE) {
                let pixel = picture.get_pixel(x, y).0;
                // clipped pixels have lost their colour
                if pixel.iter().any(|&v| v > 250) {
                    continue;
                }
                count += 1;
                for (s, v) in sum.iter_mut().zip(pixel) {
                    *s += f64::from(linear(f32::from(v) / 255.0)).powi(NORM);
                }
            }
        }
        let means = sum.map(|s| (s / f64::from(count.max(1))).powf(1.0 / f64::from(NORM)) as f32);
        let grey = means.iter().sum::<f32>() / 3.0;
        if count == 0 || grey < 1e-4 {
            return Self::WHITE;
        }
        Self(means.map(|m| (m / grey).clamp(1.0 / MOST_CAST, MOST_CAST).powf(share)))
    }

    /// A pixel as it would be in white light.
    pub fn without(&self, pixel: [u8; 3]) -> Lab {
        let [r, g, b] = pixel.map(|v| linear(f32::from(v) / 255.0));
        let Self([lr, lg, lb]) = self;
        Lab::of_linear([r / lr, g / lg, b / lb])
    }
}

/// A colour as it was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub colour: Lab,
    /// Median distance of the pixels from it.
    pub spread: f32,
    /// Share of the places that gave pixels, 0 to 1.
    pub share: f32,
}

/// Cheek, nose and forehead discs: radius in eye distances.
const CHEEK: f32 = 0.2;
const BRIDGE: f32 = 0.09;
const FOREHEAD: f32 = 0.2;
/// How far above the brows the forehead's disc lies, eye distances.
const FOREHEAD_RISE: f32 = 0.38;
/// A forehead that is farther from the cheeks' colour is covered.
const SAME_SKIN: f32 = 14.0;
/// Darkest and brightest shares of the pixels that are left out: shadows and shine.
const LEFT_OUT: f32 = 0.2;
/// Fewest pixels that make a colour.
const FEWEST: usize = 12;

/// The skin's colour at cheeks, nose and, where it is bare, forehead.
pub fn skin(picture: &RgbImage, points: &Points68, frame: &FaceFrame, light: &Light) -> Option<Sample> {
    let between = |a: usize, b: usize, share: f32| {
        [0, 1].map(|axis| points[a][axis] * (1.0 - share) + points[b][axis] * share)
    };
    // beside the nose, half way to the jaw; the bridge between the eyes and the tip
    let faces =
        [(between(31, 2, 0.45), CHEEK), (between(35, 14, 0.45), CHEEK), (between(28, 29, 0.5), BRIDGE)];
    let mut pixels = Vec::new();
    for (middle, radius) in faces {
        disc(picture, middle, radius * frame.eye_distance, light, &mut pixels);
    }
    let cheeks = summary(&mut pixels)?;
    let brow = between(19, 24, 0.5);
    let mut above = Vec::new();
    let forehead = frame.up(brow, FOREHEAD_RISE);
    disc(picture, forehead, FOREHEAD * frame.eye_distance, light, &mut above);
    match summary(&mut above) {
        Some(found) if found.colour.distance(cheeks.colour) < SAME_SKIN => {
            pixels.extend(above);
            summary(&mut pixels)
        }
        _ => Some(Sample { share: 0.75, ..cheeks }),
    }
}

/// Rays from the brows' middle over the forehead: from this angle to its negative, degrees from upright.
const WIDEST: f32 = 50.0;
const RAYS: usize = 15;
/// Where a ray begins, and where hair may begin on it, eye distances from the brows' middle: nearer are the brows
/// themselves, farther is what lies behind a bald head.
const BEGIN: f32 = 0.2;
const HAIRLINE: [f32; 2] = [0.35, 1.45];
/// Steps along a ray, eye distances.
const STEP: f32 = 0.04;
/// Steps before and behind a border whose means are compared, and the least difference. Shine and shadow on a
/// forehead differ from the cheeks as much, but slowly.
const REACH: usize = 4;
const BORDER: f32 = 12.0;
/// How unlike the skin hair is, for how many steps, and how much more where a ray begins in it: under a fringe.
const UNLIKE_SKIN: f32 = 13.0;
const SUSTAINED: usize = 5;
const FRINGE: f32 = 7.0;
/// Steps of hair that are looked at behind its border.
const DEPTH: usize = 7;
/// Least share of rays that must meet hair.
const LEAST_RAYS: f32 = 0.3;

/// The hair's colour behind the hairline; `None` where fewer than [`LEAST_RAYS`] of the rays over the forehead
/// meet any. A hat is taken for hair.
pub fn hair(
    picture: &RgbImage,
    points: &Points68,
    frame: &FaceFrame,
    light: &Light,
    skin: Lab,
) -> Option<Sample> {
    let brow = [0, 1].map(|axis| (points[19][axis] + points[24][axis]) / 2.0);
    let (mut pixels, mut met) = (Vec::new(), 0);
    for ray in 0..RAYS {
        let angle = (WIDEST * (2.0 * ray as f32 / (RAYS - 1) as f32 - 1.0)).to_radians();
        let steps = ((HAIRLINE[1] - BEGIN) / STEP) as usize + DEPTH + 2;
        let colours: Vec<Lab> = (0..steps)
            .map_while(|step| {
                let far = BEGIN + STEP * step as f32;
                blurred(picture, frame.along(brow, far * angle.sin(), far * angle.cos()), light)
            })
            .collect();
        let Some(border) = hairline(&colours, skin) else { continue };
        met += 1;
        pixels.extend(&colours[border + 1..=border + DEPTH]);
    }
    let share = met as f32 / RAYS as f32;
    if share < LEAST_RAYS {
        return None;
    }
    summary(&mut pixels).map(|found| Sample { share, ..found })
}

/// The step at which a ray over the forehead comes to hair: the first border behind which it stays unlike the skin,
/// followed to where it is sharpest; [`DEPTH`] steps lie behind it.
fn hairline(colours: &[Lab], skin: Lab) -> Option<usize> {
    let mean = |part: &[Lab]| {
        let of = |channel: fn(&Lab) -> f32| part.iter().map(channel).sum::<f32>() / part.len() as f32;
        Lab { l: of(|c| c.l), a: of(|c| c.a), b: of(|c| c.b) }
    };
    let sides = |at: usize| (mean(&colours[at - REACH..at]), mean(&colours[at..at + REACH]));
    let border = |at: usize| {
        let (before, behind) = sides(at);
        before.distance(behind)
    };
    let unlike = |from: usize, by: f32| colours[from..from + SUSTAINED].iter().all(|c| c.distance(skin) > by);
    let first = ((HAIRLINE[0] - BEGIN) / STEP).round() as usize;
    // steps at which both sides and the depth behind lie on the ray
    let last = colours.len().checked_sub(DEPTH + 1)?;
    if first < REACH || first >= last {
        return None;
    }
    if unlike(first, UNLIKE_SKIN + FRINGE) {
        return Some(first);
    }
    let begins = (first..last).find(|&at| {
        let (before, behind) = sides(at);
        let away = behind.distance(skin) > before.distance(skin);
        away && before.distance(behind) > BORDER && unlike(at + 1, UNLIKE_SKIN)
    })?;
    let mut at = begins;
    while at + 1 < last && border(at + 1) > border(at) {
        at += 1;
    }
    Some(at)
}

/// The mean of nine pixels; `None` outside the picture.
fn blurred(picture: &RgbImage, [x, y]: [f32; 2], light: &Light) -> Option<Lab> {
    pixel(picture, [x, y])?;
    let (mut sum, mut count) = ([0u32; 3], 0u32);
    for (dx, dy) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx as f32, dy as f32))) {
        if let Some(found) = pixel(picture, [x + dx, y + dy]) {
            count += 1;
            sum.iter_mut().zip(found).for_each(|(s, v)| *s += u32::from(v));
        }
    }
    Some(light.without(sum.map(|s| (s / count.max(1)) as u8)))
}

/// The pixel nearest to a point, if it is in the picture.
fn pixel(picture: &RgbImage, [x, y]: [f32; 2]) -> Option<[u8; 3]> {
    let (x, y) = (x.round(), y.round());
    let inside = x >= 0.0 && y >= 0.0 && x < picture.width() as f32 && y < picture.height() as f32;
    inside.then(|| picture.get_pixel(x as u32, y as u32).0)
}

/// Adds the pixels of a disc that lie in the picture.
fn disc(picture: &RgbImage, [x, y]: [f32; 2], radius: f32, light: &Light, out: &mut Vec<Lab>) {
    // `radius` follows from points of the picture, so that the loops are no longer than it is wide
    let reach = radius.clamp(0.0, picture.width().max(picture.height()) as f32).ceil() as i32;
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            if (dx * dx + dy * dy) as f32 <= radius * radius {
                out.extend(pixel(picture, [x + dx as f32, y + dy as f32]).map(|p| light.without(p)));
            }
        }
    }
}

/// Medians without the darkest and the brightest pixels; sorts them.
fn summary(pixels: &mut [Lab]) -> Option<Sample> {
    if pixels.len() < FEWEST {
        return None;
    }
    pixels.sort_by(|p, q| p.l.total_cmp(&q.l));
    let out = (pixels.len() as f32 * LEFT_OUT) as usize;
    let kept = &pixels[out..pixels.len() - out];
    let colour = Lab { l: median(kept, |p| p.l), a: median(kept, |p| p.a), b: median(kept, |p| p.b) };
    let spread = median(kept, |p| p.distance(colour));
    Some(Sample { colour, spread, share: 1.0 })
}

fn median(pixels: &[Lab], channel: impl Fn(&Lab) -> f32) -> f32 {
    let mut values: Vec<f32> = pixels.iter().map(channel).collect();
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn near(found: Lab, wanted: [f32; 3]) {
        let wanted = Lab { l: wanted[0], a: wanted[1], b: wanted[2] };
        assert!(found.distance(wanted) < 0.1, "{found:?}, not {wanted:?}");
    }

    #[test]
    fn known_colours_have_their_published_lab_values() {
        near(Lab::of_srgb([255, 255, 255]), [100.0, 0.0, 0.0]);
        near(Lab::of_srgb([255, 0, 0]), [53.24, 80.09, 67.20]);
        near(Lab::of_srgb([0, 128, 0]), [46.23, -51.70, 49.90]);
        near(Lab::of_srgb([0, 0, 0]), [0.0, 0.0, 0.0]);
    }

    #[test]
    fn there_and_back_is_the_same_byte() {
        for r in (0..256).step_by(15) {
            for g in (0..256).step_by(17) {
                for b in (0..256).step_by(51) {
                    let rgb = [r as u8, g as u8, b as u8];
                    assert_eq!(Lab::of_srgb(rgb).to_srgb(), rgb);
                }
            }
        }
    }

    /// Grey things of many shades in light of a colour.
    fn greys(cast: [f32; 3]) -> RgbImage {
        RgbImage::from_fn(60, 60, |x, y| {
            let grey = linear((40 + (x * 3 + y * 7) % 160) as f32 / 255.0);
            Rgb(cast.map(|c| (encoded(grey * c) * 255.0).round() as u8))
        })
    }

    #[test]
    fn the_light_on_grey_things_is_found_and_taken_out() {
        let cast = [1.2, 1.0, 0.8];
        let picture = greys(cast);
        let found = Light::of(&picture, 1.0);
        for (f, c) in found.0.iter().zip(cast) {
            assert!((f - c).abs() < 0.03, "{found:?}");
        }
        let Lab { a, b, .. } = found.without(picture.get_pixel(20, 20).0);
        assert!(a.abs() < 2.0 && b.abs() < 2.0, "{a} {b}");
        let half = Light::of(&picture, 0.5);
        assert!(half.0[0] > 1.05 && half.0[0] < found.0[0], "{half:?}");
        assert_eq!(Light::of(&RgbImage::new(9, 9), 1.0), Light::WHITE);
        assert_eq!(Light::of(&RgbImage::from_pixel(9, 9, Rgb([255; 3])), 1.0), Light::WHITE);
    }

    /// A ray: so many steps of each colour.
    fn ray(parts: &[([u8; 3], usize)]) -> Vec<Lab> {
        parts.iter().flat_map(|(rgb, steps)| std::iter::repeat_n(Lab::of_srgb(*rgb), *steps)).collect()
    }

    const SKIN: [u8; 3] = [200, 150, 120];
    const BROWN: [u8; 3] = [70, 45, 30];

    #[test]
    fn the_hairline_is_where_skin_ends_and_shine_is_none() {
        let skin = Lab::of_srgb(SKIN);
        assert_eq!(hairline(&ray(&[(SKIN, 15), (BROWN, 25)]), skin), Some(15));
        assert_eq!(hairline(&ray(&[(SKIN, 40)]), skin), None);
        // a fringe over the whole ray; a ray that leaves the picture before it is known
        assert_eq!(hairline(&ray(&[(BROWN, 40)]), skin), Some(4));
        assert_eq!(hairline(&ray(&[(SKIN, 5), (BROWN, 4)]), skin), None);
        // shine comes slowly, and then hair
        let mut shine: Vec<Lab> = (0..20u8).map(|n| Lab::of_srgb(SKIN.map(|v| v + 2 * n))).collect();
        assert!(shine[19].distance(skin) > UNLIKE_SKIN, "{}", shine[19].distance(skin));
        shine.extend(ray(&[(BROWN, 20)]));
        assert_eq!(hairline(&shine, skin), Some(20));
        // a mark that does not last
        assert_eq!(hairline(&ray(&[(SKIN, 10), (BROWN, 3), (SKIN, 25)]), skin), None);
    }

    #[test]
    fn short_rays_are_no_panic() {
        for steps in 0..40 {
            hairline(&ray(&[(BROWN, steps)]), Lab::of_srgb(SKIN));
        }
    }
}
