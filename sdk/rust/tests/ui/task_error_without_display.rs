struct Broken;

#[engine::task]
fn work() -> Result<u64, Broken> {
    Err(Broken)
}

fn main() {}
