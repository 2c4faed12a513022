//! The set itself: which points escape, and how fast.

/// A point that has not escaped after so many steps is taken for one of the set.
const STEPS_MAX: u32 = 1000;

/// The colour of the set.
pub const INSIDE: [u8; 3] = [0, 0, 0];

/// The point of the plane that a pixel shows: 3 units wide around -0.75, in the pixel's middle.
pub fn point_of(x: u32, y: u32, width: u32, height: u32) -> (f64, f64) {
    let step = (3.0 / f64::from(width)).max(2.0 / f64::from(height));
    let from_middle = |at: u32, side: u32| (f64::from(at) + 0.5 - f64::from(side) / 2.0) * step;
    (from_middle(x, width) - 0.75, from_middle(y, height))
}

/// After how many steps the point escapes, as a smooth number; none: never.
pub fn escape((x, y): (f64, f64)) -> Option<f64> {
    let (mut a, mut b) = (0.0_f64, 0.0_f64);
    for step in 0..STEPS_MAX {
        let (aa, bb) = (a * a, b * b);
        // Far out, so that the smoothing is exact enough.
        if aa + bb > 256.0 {
            return Some(f64::from(step) + 1.0 - ((aa + bb).ln() / 2.0).log2());
        }
        (a, b) = (aa - bb + x, 2.0 * a * b + y);
    }
    None
}

/// Black inside; outside from dark blue over white to brown and round again.
pub fn colour(escape: Option<f64>) -> [u8; 3] {
    const WHEEL: [[f64; 3]; 5] = [
        [0.0, 7.0, 100.0],
        [32.0, 107.0, 203.0],
        [237.0, 255.0, 255.0],
        [255.0, 170.0, 0.0],
        [20.0, 2.0, 0.0],
    ];
    let Some(steps) = escape else { return INSIDE };
    let turn = (steps.max(1.0).log2() * 1.1).fract() * WHEEL.len() as f64;
    let (from, part) = (turn as usize % WHEEL.len(), turn.fract());
    let to = (from + 1) % WHEEL.len();
    std::array::from_fn(|channel| {
        let mixed = WHEEL[from][channel] * (1.0 - part) + WHEEL[to][channel] * part;
        // Never quite black, which is the set's.
        (mixed as u8).max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_are_inside_or_escape() {
        for inside in [(0.0, 0.0), (-1.0, 0.0), (-1.75, 0.0), (0.0, 1.0)] {
            assert_eq!(escape(inside), None, "{inside:?}");
        }
        for outside in [(1.0, 0.0), (-2.1, 0.0), (0.5, 0.5)] {
            assert!(escape(outside).is_some(), "{outside:?}");
        }
        assert_ne!(colour(escape((1.0, 0.0))), INSIDE);
    }

    #[test]
    fn the_middle_of_the_picture_is_the_middle_of_the_view() {
        let (x, y) = point_of(1, 1, 3, 3);
        assert_eq!((x, y), (-0.75, 0.0));
    }
}
