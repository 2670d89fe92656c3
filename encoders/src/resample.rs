//! Resizing as Pillow 13's `Image.resize` does it, to the last bit: a filter widened when shrinking, 22 bits of
//! fixed point, and samples cut to 8 bits between the pass along the rows and the one along the columns. (A
//! library that takes the passes in another order differs by more than ten of 255 where a filter overshoots.)

use image::RgbImage;

/// Bits behind the point of a weight.
const PRECISION: u32 = 32 - 8 - 2;

/// Pillow's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Box,
    Bilinear,
    Hamming,
    /// With a = −0.5, as Catmull and Rom's.
    Bicubic,
    Lanczos,
}

impl Filter {
    /// The filter of Pillow's number (`Image.Resampling`), but for nearest neighbour, 0.
    pub fn of_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Lanczos),
            2 => Some(Self::Bilinear),
            3 => Some(Self::Bicubic),
            4 => Some(Self::Box),
            5 => Some(Self::Hamming),
            _ => None,
        }
    }

    /// How far it reaches to each side, pixels.
    fn support(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, at: f64) -> f64 {
        let x = at.abs();
        match self {
            Self::Box => f64::from(at > -0.5 && at <= 0.5),
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Hamming if x >= 1.0 => 0.0,
            Self::Hamming => sinc(x) * (0.54 + 0.46 * (std::f64::consts::PI * x).cos()),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => -0.5 * (((x - 5.0) * x + 8.0) * x - 4.0),
            Self::Bicubic => 0.0,
            Self::Lanczos if (-3.0..3.0).contains(&at) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = std::f64::consts::PI * x;
    x.sin() / x
}

/// The samples that one sample of the result is made of.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The taps of every sample of a line that goes from `from` to `to` samples.
fn taps(filter: Filter, from: u32, to: u32) -> Vec<Taps> {
    let scale = f64::from(from) / f64::from(to);
    let widened = scale.max(1.0);
    let support = filter.support() * widened;
    (0..to)
        .map(|i| {
            let centre = (f64::from(i) + 0.5) * scale;
            // `as` cuts off and saturates at 0.
            let first = (centre - support + 0.5) as u32;
            let last = ((centre + support + 0.5) as u32).min(from);
            let weights: Vec<f64> = (first..last)
                .map(|x| filter.weight((f64::from(x) - centre + 0.5) * (1.0 / widened)))
                .collect();
            let sum: f64 = weights.iter().sum();
            let sum = if sum == 0.0 { 1.0 } else { sum };
            let fixed = |w: &f64| (w / sum * f64::from(1 << PRECISION)).round() as i32;
            Taps { first: first as usize, weights: weights.iter().map(fixed).collect() }
        })
        .collect()
}

fn cut(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// One pass over lines that begin `line` bytes apart, `samples` bytes in from each other along the line;
/// calls `write` with the line, the place in it and the three channels.
fn pass(
    bytes: &[u8],
    lines: usize,
    [line, step]: [usize; 2],
    taps: &[Taps],
    mut write: impl FnMut(usize, usize, [u8; 3]),
) {
    for y in 0..lines {
        for (x, tap) in taps.iter().enumerate() {
            let mut sums = [1 << (PRECISION - 1); 3];
            let start = y * line + tap.first * step;
            let samples = bytes.get(start..).unwrap_or_default().chunks(step);
            for (weight, sample) in tap.weights.iter().zip(samples) {
                for (sum, value) in sums.iter_mut().zip(sample) {
                    *sum += i32::from(*value) * weight;
                }
            }
            write(y, x, sums.map(cut));
        }
    }
}

/// `picture` at `width`×`height` pixels. Both pictures must have pixels.
pub fn resize(picture: &RgbImage, width: u32, height: u32, filter: Filter) -> RgbImage {
    if columns_first(picture.dimensions(), (width, height)) {
        to_width(&to_height(picture, height, filter), width, filter)
    } else {
        to_height(&to_width(picture, width, filter), height, filter)
    }
}

/// Whether the height goes down by more than twice as many pixels as the width. Before Pillow 13 the rows
/// always came first.
fn columns_first((from_width, from_height): (u32, u32), (width, height): (u32, u32)) -> bool {
    let less = |from: u32, to: u32| i64::from(from) - i64::from(to);
    height < from_height && less(from_height, height) > 2 * less(from_width, width)
}

/// The pass along the rows.
fn to_width(picture: &RgbImage, width: u32, filter: Filter) -> RgbImage {
    let (from, height) = picture.dimensions();
    if width == from {
        return picture.clone();
    }
    let mut out = RgbImage::new(width, height);
    pass(
        picture.as_raw(),
        height as usize,
        [3 * from as usize, 3],
        &taps(filter, from, width),
        |y, x, pixel| {
            out.put_pixel(x as u32, y as u32, image::Rgb(pixel));
        },
    );
    out
}

/// The pass along the columns.
fn to_height(picture: &RgbImage, height: u32, filter: Filter) -> RgbImage {
    let (width, from) = picture.dimensions();
    if height == from {
        return picture.clone();
    }
    let mut out = RgbImage::new(width, height);
    let step = 3 * width as usize;
    pass(picture.as_raw(), width as usize, [3, step], &taps(filter, from, height), |x, y, pixel| {
        out.put_pixel(x as u32, y as u32, image::Rgb(pixel));
    });
    out
}
