struct Point {
    x: f64,
}

#[engine::task]
fn length(point: Point) -> f64 {
    point.x
}

#[engine::task]
fn origin() -> Point {
    Point { x: 0.0 }
}

fn main() {}
