//! Ellipse outlines, filled convex polygons and discs, pixel for pixel as OpenCV draws them (`ellipse2Poly`,
//! `fillConvexPoly` and `circle` with 8-connected lines and whole coordinates): a network that was trained on
//! such drawings should see the same ones.

/// Fraction bits of the coordinates along a polygon's edges.
const FRACTION: u32 = 16;
const HALF: i64 = 1 << (FRACTION - 1);

/// A point in whole pixels.
pub type Pixel = [i64; 2];

/// A picture that shapes are drawn into, 8 bits a channel.
pub struct Canvas {
    width: i64,
    height: i64,
    rgb: Vec<u8>,
}

impl Canvas {
    /// A black canvas.
    pub fn new(width: u32, height: u32) -> Self {
        let bytes = 3 * width as usize * height as usize;
        Self { width: width.into(), height: height.into(), rgb: vec![0; bytes] }
    }

    /// The bytes, row by row.
    pub fn into_rgb(self) -> Vec<u8> {
        self.rgb
    }

    /// Changes every byte.
    pub fn map(&mut self, change: impl Fn(u8) -> u8) {
        for byte in &mut self.rgb {
            *byte = change(*byte);
        }
    }

    /// Colours `left..=right` of a row, as far as they are on the canvas.
    fn span(&mut self, y: i64, left: i64, right: i64, color: [u8; 3]) {
        let (left, right) = (left.max(0), right.min(self.width - 1));
        if y < 0 || y >= self.height || left > right {
            return;
        }
        let at = |x: i64| 3 * (y * self.width + x) as usize;
        if let Some(bytes) = self.rgb.get_mut(at(left)..at(right) + 3) {
            for pixel in bytes.chunks_exact_mut(3) {
                pixel.copy_from_slice(&color);
            }
        }
    }

    /// A line of one pixel's width between both points, drawn from left to right so that it does not
    /// depend on their order.
    fn line(&mut self, from: Pixel, to: Pixel, color: [u8; 3]) {
        let Some(([mut x, mut y], [x2, y2])) = clip(from, to, [self.width - 1, self.height - 1]) else {
            return;
        };
        let (mut dx, mut dy) = (x2 - x, y2 - y);
        if dx < 0 {
            (x, y, dx, dy) = (x2, y2, -dx, -dy);
        }
        let down = if dy < 0 { -1 } else { 1 };
        let dy = dy.abs();
        let steep = dy > dx;
        let (long, short) = if steep { (dy, dx) } else { (dx, dy) };
        // Bresenham: the error of the short direction, doubled.
        let mut error = long - 2 * short;
        for _ in 0..=long {
            self.span(y, x, x, color);
            let both = error < 0;
            error += if both { 2 * long - 2 * short } else { -2 * short };
            if both || !steep {
                x += 1;
            }
            if both || steep {
                y += down;
            }
        }
    }

    /// A filled convex polygon with its outline.
    pub fn fill_convex(&mut self, points: &[Pixel], color: [u8; 3]) {
        for (i, &to) in points.iter().enumerate() {
            let from = points[(i + points.len() - 1) % points.len()];
            self.line(from, to, color);
        }
        let span = |axis: usize| {
            let values = points.iter().map(|p| p[axis]);
            values.clone().min().zip(values.max())
        };
        let (Some((left, right)), Some((top, bottom))) = (span(0), span(1)) else { return };
        if points.len() < 3 || right < 0 || bottom < 0 || left >= self.width || top >= self.height {
            return;
        }
        // Two edges go down from the first of the topmost points, one along the list and one against it.
        let start = points.iter().position(|p| p[1] == top).unwrap_or(0);
        let mut remaining = points.len();
        let mut edges = [Edge::new(start, 1, top), Edge::new(start, points.len() - 1, top)];
        for y in top..=bottom.min(self.height - 1) {
            for edge in &mut edges {
                if y >= edge.end {
                    edge.turn(points, y, &mut remaining);
                }
            }
            let [a, b] = [edges[0].x, edges[1].x];
            self.span(y, (a.min(b) + HALF) >> FRACTION, (a.max(b) + HALF) >> FRACTION, color);
            for edge in &mut edges {
                edge.x += edge.slope;
            }
        }
    }

    /// A filled disc.
    pub fn disc(&mut self, [cx, cy]: Pixel, radius: i64, color: [u8; 3]) {
        let (mut dx, mut dy) = (radius, 0);
        // The midpoint rule: how far the outline is off the circle.
        let (mut error, mut plus, mut minus) = (0, 1, 2 * radius - 1);
        while dx >= dy {
            for y in [cy - dy, cy + dy] {
                self.span(y, cx - dx, cx + dx, color);
            }
            for y in [cy - dx, cy + dx] {
                self.span(y, cx - dy, cx + dy, color);
            }
            dy += 1;
            error += plus;
            plus += 2;
            if error > 0 {
                error -= minus;
                dx -= 1;
                minus -= 2;
            }
        }
    }
}

/// One side of a polygon on its way down.
struct Edge {
    /// The point that the edge leads to, and the step through the list to the next.
    index: usize,
    step: usize,
    /// Where the edge is in the current row, and its change to the next, with [`FRACTION`] bits.
    x: i64,
    slope: i64,
    /// The row of its lower end.
    end: i64,
}

impl Edge {
    fn new(index: usize, step: usize, top: i64) -> Self {
        Self { index, step, x: -(1 << FRACTION), slope: 0, end: top }
    }

    /// Goes on to the next point below row `y`, while there are points left for both edges together.
    fn turn(&mut self, points: &[Pixel], y: i64, remaining: &mut usize) {
        let mut from = self.index;
        while *remaining > 0 {
            *remaining -= 1;
            let to = (from + self.step) % points.len();
            let rows = points[to][1] - y;
            if rows > 0 {
                let start = points[from][0] << FRACTION;
                let run = (points[to][0] << FRACTION) - start;
                self.slope = (2 * run + rows) / (2 * rows);
                self.x = start;
                self.index = to;
                self.end = points[to][1];
                return;
            }
            from = to;
        }
    }
}

/// The part of a line on a canvas whose last pixel is `last`.
fn clip(from: Pixel, to: Pixel, last: Pixel) -> Option<(Pixel, Pixel)> {
    let mut ends = [from, to];
    let outside = |p: &Pixel, axis: usize| {
        if p[axis] < 0 {
            Some(0)
        } else if p[axis] > last[axis] {
            Some(last[axis])
        } else {
            None
        }
    };
    // Rows first, then columns; both ends beyond one border is nothing to draw.
    for axis in [1, 0] {
        for border in [0, 1] {
            let beyond = |p: &Pixel| if border == 0 { p[axis] < 0 } else { p[axis] > last[axis] };
            if ends.iter().all(beyond) {
                return None;
            }
        }
        if axis == 1 && (0..2).any(|b| ends.iter().all(|p| if b == 0 { p[0] < 0 } else { p[0] > last[0] })) {
            return None;
        }
        for end in 0..2 {
            if let Some(limit) = outside(&ends[end], axis) {
                let [a, b] = ends;
                let other = 1 - axis;
                let along = (limit - ends[end][axis]) as f64 * (b[other] - a[other]) as f64;
                ends[end][other] += (along / (b[axis] - a[axis]) as f64) as i64;
                ends[end][axis] = limit;
            }
        }
    }
    Some((ends[0], ends[1]))
}

/// The sine of whole degrees 0 to 450, with the seven decimals that OpenCV's table has.
fn sine(degrees: i32) -> f64 {
    let exact = f64::from(degrees).to_radians().sin();
    f64::from(((exact * 1e7).round() / 1e7) as f32)
}

/// The outline of an ellipse, one point a degree without repetitions: half axes `axes` in pixels, turned by
/// `angle` degrees, -180 to 180.
pub fn ellipse(center: Pixel, axes: [i64; 2], angle: i32) -> Vec<Pixel> {
    let angle = if angle < 0 { angle + 360 } else { angle };
    let (cos, sin) = (sine(450 - angle), sine(angle));
    let mut points: Vec<Pixel> = Vec::with_capacity(361);
    for degrees in 0..=360 {
        let x = axes[0] as f64 * sine(450 - degrees);
        let y = axes[1] as f64 * sine(degrees);
        let point = [
            (center[0] as f64 + x * cos - y * sin).round_ties_even() as i64,
            (center[1] as f64 + x * sin + y * cos).round_ties_even() as i64,
        ];
        if points.last() != Some(&point) {
            points.push(point);
        }
    }
    points
}
