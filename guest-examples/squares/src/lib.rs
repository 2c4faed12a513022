use engine::prelude::*;

#[engine::task]
fn square(x: u64) -> u64 {
    x * x
}

#[engine::main]
fn main(_args: Vec<String>) -> Result<()> {
    let refs = (0..10).map(square::spawn).collect::<Result<Vec<_>>>()?;
    println!("{}", engine::get_all(&refs)?.iter().sum::<u64>());
    Ok(())
}
