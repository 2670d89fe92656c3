//! Curves over training steps, as SVG.

use std::path::Path;

use plotters::chart::SeriesLabelPosition;
use plotters::prelude::{
    ChartBuilder, Color, IntoDrawingArea, IntoFont, LineSeries, PathElement, RGBColor, SVGBackend, WHITE,
};

use crate::error::TrainingError;

/// Width of a plot and height of each of its panels, in pixels.
const WIDTH: u32 = 760;
const HEIGHT: u32 = 260;
/// How far the axis of steps goes on, where the names of the curves stand.
const LEGEND: f64 = 1.3;
/// Okabe and Ito's colours, which are told apart by the colour-blind too.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// One line: steps and values.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Curves that share their axes.
pub struct Panel {
    pub title: String,
    pub curves: Vec<Curve>,
}

/// The panels below one another, all over the same steps, as the text of an SVG file. `path` is for the error.
pub fn plotted(path: &Path, panels: &[Panel]) -> Result<String, TrainingError> {
    let mut svg = String::new();
    drawn(&mut svg, panels)
        .map_err(|reason| TrainingError::Plot { path: path.into(), reason: reason.to_string() })?;
    Ok(svg)
}

fn highest(panels: &[Panel], of: fn(&(f64, f64)) -> f64) -> f64 {
    let points = panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.points);
    points.map(of).filter(|value| value.is_finite()).fold(0.0, f64::max)
}

fn drawn(svg: &mut String, panels: &[Panel]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT * panels.len().max(1) as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    let steps = highest(panels, |point| point.0).max(1.0);
    for (area, panel) in root.split_evenly((panels.len().max(1), 1)).iter().zip(panels) {
        let top = highest(std::slice::from_ref(panel), |point| point.1).max(1e-9);
        let mut chart = ChartBuilder::on(area)
            .caption(&panel.title, ("sans-serif", 15).into_font())
            .margin(8)
            .x_label_area_size(22)
            .y_label_area_size(42)
            .build_cartesian_2d(0.0..steps * LEGEND, 0.0..top * 1.05)?;
        chart.configure_mesh().light_line_style(WHITE.mix(0.0)).draw()?;
        for (curve, colour) in panel.curves.iter().zip(COLOURS.iter().cycle()) {
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(curve.points.iter().copied(), style))?
                .label(&curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .draw()?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    #[test]
    fn every_curve_is_drawn_and_named() {
        let curve = |name: &str| Curve { name: name.into(), points: vec![(0.0, 1.0), (10.0, 0.5)] };
        let panel =
            |title: &str| Panel { title: title.into(), curves: vec![curve("first"), curve("second")] };
        let svg = plotted(Path::new("x.svg"), &[panel("above"), panel("below")]).unwrap();
        for (text, count) in [("first", 2), ("second", 2), ("above", 1), ("below", 1)] {
            assert_eq!(svg.matches(text).count(), count, "{text}");
        }
        // A line and its sample in the legend.
        assert_eq!(svg.matches("stroke=\"#0072B2\"").count(), 4);
        assert!(plotted(Path::new("x.svg"), &[]).unwrap().contains("<svg"));
    }
}
