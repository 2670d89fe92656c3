//! How the head is turned, and the face's shape without that: a mean head of 68 points in space, as the landmark
//! network sees it on renders of known pose, is laid over the points (weak perspective, least squares).

use serde::{Deserialize, Serialize};

use super::landmarks::{POINTS, Points68};

/// The mean head: x to the right of the picture, y down, z away from the camera, in eye distances; mean zero.
pub type MeanShape = [[f32; 3]; POINTS];

/// How the head is turned, degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// Positive: towards the right of the picture.
    pub yaw: f32,
    /// Positive: looking up.
    pub pitch: f32,
    /// Positive: clockwise in the picture.
    pub roll: f32,
}

/// The shape of a face seen from the front: 68 points, in eye distances from the middle between the eyes, x to
/// the right and y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(pub Vec<[f32; 2]>);

/// What the fit of the mean head gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    pub pose: Pose,
    pub shape: Shape,
    /// Root mean square distance of the points from the mean head's, in eye distances.
    pub residual: f32,
}

type Vector = [f64; 3];

fn dot(a: Vector, b: Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cross([a, b, c]: Vector, [x, y, z]: Vector) -> Vector {
    [b * z - c * y, c * x - a * z, a * y - b * x]
}

fn scaled(v: Vector, by: f64) -> Vector {
    v.map(|x| x * by)
}

fn minus(a: Vector, b: Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// Inverse of a 3×3 matrix by its rows; `None` where there is none.
fn inverse([a, b, c]: [Vector; 3]) -> Option<[Vector; 3]> {
    let determinant = dot(a, cross(b, c));
    if determinant.abs() < 1e-12 || !determinant.is_finite() {
        return None;
    }
    let columns = [cross(b, c), cross(c, a), cross(a, b)].map(|v| scaled(v, 1.0 / determinant));
    Some(std::array::from_fn(|row| std::array::from_fn(|column| columns[column][row])))
}

/// Lays the mean head over the points; `None` where they span nothing.
pub fn fit(mean: &MeanShape, points: &Points68) -> Option<Fit> {
    let middle = [0, 1].map(|axis| points.iter().map(|p| f64::from(p[axis])).sum::<f64>() / POINTS as f64);
    let heads: Vec<Vector> = mean.iter().map(|p| p.map(f64::from)).collect();
    let mut square = [[0.0; 3]; 3];
    let mut mixed = [[0.0; 3]; 2];
    for (head, point) in heads.iter().zip(points) {
        for i in 0..3 {
            for j in 0..3 {
                square[i][j] += head[i] * head[j];
            }
            for (axis, row) in mixed.iter_mut().enumerate() {
                row[i] += (f64::from(point[axis]) - middle[axis]) * head[i];
            }
        }
    }
    let inverse = inverse(square)?;
    // the affine camera: two rows that are near a scaled rotation's
    let [first, second] = mixed.map(|row| [0, 1, 2].map(|column| dot(row, inverse.map(|r| r[column]))));
    let lengths = [first, second].map(|row| dot(row, row).sqrt());
    if !lengths.iter().all(|l| l.is_finite() && *l > 1e-9) {
        return None;
    }
    let scale = (lengths[0] + lengths[1]) / 2.0;
    let (u, v) = (scaled(first, 1.0 / lengths[0]), scaled(second, 1.0 / lengths[1]));
    // the nearest two orthogonal rows share the error equally
    let lean = dot(u, v);
    let (u, v) = (minus(u, scaled(v, lean / 2.0)), minus(v, scaled(u, lean / 2.0)));
    let u = scaled(u, 1.0 / dot(u, u).sqrt());
    let v = minus(v, scaled(u, dot(u, v)));
    let v = scaled(v, 1.0 / dot(v, v).sqrt());
    let w = cross(u, v);

    // the columns of the rotation are where the head's axes go; the nose points along -z
    let (nose, right) = ([-u[2], -v[2], -w[2]], [u[0], v[0], w[0]]);
    let degrees = |radians: f64| radians.to_degrees() as f32;
    let yaw = nose[0].atan2(-nose[2]);
    let pitch = (-nose[1]).clamp(-1.0, 1.0).asin();
    // roll: how far the head's own x axis leans in the picture, once yaw and pitch are undone
    let level = [yaw.cos(), 0.0, yaw.sin()];
    let downward = cross(scaled(nose, -1.0), level);
    let roll = dot(right, downward).atan2(dot(right, level));
    let pose = Pose { yaw: degrees(yaw), pitch: degrees(pitch), roll: degrees(roll) };

    // what the mean head does not explain is taken to lie in the plane of the face
    let (m, n) = ([u[0], u[1]], [v[0], v[1]]);
    let determinant = m[0] * n[1] - m[1] * n[0];
    let (mut error, mut shape) = (0.0, Vec::with_capacity(POINTS));
    for (head, point) in heads.iter().zip(points) {
        let off = [
            (f64::from(point[0]) - middle[0]) / scale - dot(u, *head),
            (f64::from(point[1]) - middle[1]) / scale - dot(v, *head),
        ];
        error += off[0] * off[0] + off[1] * off[1];
        let plane = match determinant.abs() > 0.2 {
            true => {
                [(off[0] * n[1] - off[1] * m[1]) / determinant, (off[1] * m[0] - off[0] * n[0]) / determinant]
            }
            false => off,
        };
        shape.push([(head[0] + plane[0]) as f32, (head[1] + plane[1]) as f32]);
    }
    let residual = (error / POINTS as f64).sqrt() as f32;
    Some(Fit { pose, shape: normal(shape)?, residual })
}

/// Moves and scales points so that the eyes lie level, one apart, about zero.
fn normal(points: Vec<[f32; 2]>) -> Option<Shape> {
    let all: Points68 = points.try_into().ok()?;
    // the frame asks for eyes some pixels apart
    const PIXELS: f32 = 100.0;
    let large = all.map(|p| p.map(|v| v * PIXELS));
    let frame = super::frame::FaceFrame::of(&large)?;
    Some(Shape(large.iter().map(|&p| frame.coordinates(p)).collect()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// A head on an ellipsoid, whose eyes lie where the frame looks for them.
    fn head() -> MeanShape {
        let mut shape: MeanShape = std::array::from_fn(|n| {
            let (across, down) = ((n % 9) as f32 / 4.0 - 1.0, (n / 9) as f32 / 4.0 - 0.9);
            [across, down, 0.5 * (across * across + down * down)]
        });
        for (range, x) in [(36..42, -0.5), (42..48, 0.5)] {
            for (k, n) in range.enumerate() {
                let angle = k as f32;
                shape[n] = [x + 0.1 * angle.cos(), -0.3 + 0.05 * angle.sin(), 0.1];
            }
        }
        let mean: [f32; 3] = std::array::from_fn(|a| shape.iter().map(|p| p[a]).sum::<f32>() / POINTS as f32);
        shape.map(|p| std::array::from_fn(|a| p[a] - mean[a]))
    }

    /// The head turned (yaw, then pitch, then roll in the picture) and seen from afar.
    fn seen(shape: &MeanShape, pose: Pose) -> Points68 {
        let [yaw, pitch, roll] = [pose.yaw, pose.pitch, pose.roll].map(f32::to_radians);
        shape.map(|[x, y, z]| {
            // roll about the nose's axis, nod, turn; z is away from the camera
            let (x, y) = (x * roll.cos() - y * roll.sin(), x * roll.sin() + y * roll.cos());
            let (y, z) = (y * pitch.cos() + z * pitch.sin(), z * pitch.cos() - y * pitch.sin());
            let x = x * yaw.cos() - z * yaw.sin();
            [200.0 + 70.0 * x, 150.0 + 70.0 * y]
        })
    }

    #[test]
    fn a_known_pose_is_found_again_and_does_not_change_the_shape() {
        let head = head();
        let frontal = fit(&head, &seen(&head, Pose { yaw: 0.0, pitch: 0.0, roll: 0.0 })).unwrap();
        assert!(frontal.residual < 1e-4, "{}", frontal.residual);
        for (yaw, pitch, roll) in
            [(0.0, 0.0, 0.0), (25.0, 0.0, 0.0), (-30.0, 12.0, 0.0), (10.0, -15.0, 8.0), (0.0, 5.0, -40.0)]
        {
            let wanted = Pose { yaw, pitch, roll };
            let found = fit(&head, &seen(&head, wanted)).unwrap();
            for (f, w) in [(found.pose.yaw, yaw), (found.pose.pitch, pitch), (found.pose.roll, roll)] {
                assert!((f - w).abs() < 0.2, "{:?}, not {wanted:?}", found.pose);
            }
            for (f, w) in found.shape.0.iter().zip(&frontal.shape.0) {
                assert!((f[0] - w[0]).abs() + (f[1] - w[1]).abs() < 0.01, "{f:?} {w:?}");
            }
        }
    }

    #[test]
    fn points_that_span_nothing_have_no_pose() {
        assert!(fit(&head(), &[[3.0, 4.0]; POINTS]).is_none());
        assert!(fit(&head(), &[[f32::NAN, 4.0]; POINTS]).is_none());
        assert!(fit(&[[0.0; 3]; POINTS], &seen(&head(), Pose { yaw: 0.0, pitch: 0.0, roll: 0.0 })).is_none());
    }
}
