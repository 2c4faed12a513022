#[engine::task]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let _ = square::spawn("three");
    let _ = square::spawn(1, 2);
}
