//! The frame of a face in its picture: where "up" is and how long an eye distance is.

use super::input::centre;
use super::landmarks::Points68;
use crate::align::Similarity;

/// Eyes that lie nearer than this are no face, pixels.
const LEAST_EYE_DISTANCE: f32 = 4.0;

/// Axes and unit of a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaceFrame {
    /// The middle between the eyes, pixels.
    pub middle: [f32; 2],
    /// From the middle of one eye to that of the other, pixels.
    pub eye_distance: f32,
    /// Unit vector from the eye on the left of the picture to the other.
    across: [f32; 2],
}

impl FaceFrame {
    /// The frame of 68 points; `None` where the eyes coincide or are not finite.
    pub fn of(points: &Points68) -> Option<Self> {
        let (left, right) = (centre(&points[36..42]), centre(&points[42..48]));
        let (dx, dy) = (right[0] - left[0], right[1] - left[1]);
        let eye_distance = dx.hypot(dy);
        let middle = centre(&[left, right]);
        let usable = eye_distance.is_finite() && eye_distance >= LEAST_EYE_DISTANCE;
        usable.then(|| Self { middle, eye_distance, across: [dx / eye_distance, dy / eye_distance] })
    }

    /// The point that lies `across` and `up` from another, in eye distances; up is towards the forehead.
    pub fn along(&self, [x, y]: [f32; 2], across: f32, up: f32) -> [f32; 2] {
        let [ax, ay] = self.across;
        let (across, up) = (across * self.eye_distance, up * self.eye_distance);
        // with the picture's y down, up is the across vector turned by -90 degrees
        [x + ax * across + ay * up, y + ay * across - ax * up]
    }

    /// The point above another, in eye distances.
    pub fn up(&self, from: [f32; 2], far: f32) -> [f32; 2] {
        self.along(from, 0.0, far)
    }

    /// A point in eye distances from the middle: across, down.
    pub fn coordinates(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [ax, ay] = self.across;
        let (dx, dy) = ((x - self.middle[0]) / self.eye_distance, (y - self.middle[1]) / self.eye_distance);
        [ax * dx + ay * dy, ax * dy - ay * dx]
    }

    /// The same face in a picture that was shrunk by `scale` along both axes.
    pub(super) fn scaled(&self, [sx, sy]: [f32; 2]) -> Self {
        // shrinking keeps the shape, so that both factors differ by rounding only
        let place = |v: f32, s: f32| (v + 0.5) * s - 0.5;
        let [x, y] = self.middle;
        Self {
            middle: [place(x, sx), place(y, sy)],
            eye_distance: self.eye_distance * (sx + sy) / 2.0,
            ..*self
        }
    }

    /// The transform that brings the point that lies so many eye distances above the eyes' middle to the middle of a
    /// picture `width` wide and `height` high, with `unit` pixels an eye distance and the eyes level.
    pub(super) fn window(&self, above: f32, unit: f32, [width, height]: [u32; 2]) -> Similarity {
        let from = self.up(self.middle, above).map(f64::from);
        let scale = f64::from(unit / self.eye_distance);
        let (a, b) = (scale * f64::from(self.across[0]), -scale * f64::from(self.across[1]));
        let (x, y) = (f64::from(width - 1) / 2.0, f64::from(height - 1) / 2.0);
        Similarity { a, b, dx: x - a * from[0] + b * from[1], dy: y - b * from[0] - a * from[1] }
    }
}
