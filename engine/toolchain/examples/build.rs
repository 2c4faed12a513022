//! `cargo run -p engine-toolchain --example build PATH OUT`
fn main() {
    let mut a = std::env::args_os().skip(1);
    let (p, o) = (a.next().unwrap(), a.next().unwrap());
    let opts = engine_toolchain::BuildOptions { progress: engine_toolchain::Progress::stderr(), ..Default::default() };
    match engine_toolchain::build(p.as_ref(), &opts) {
        Ok(bytes) => { print!("{}", engine_toolchain::inspect(&bytes).unwrap()); std::fs::write(o, bytes).unwrap() }
        Err(e) => { eprintln!("{e}"); std::process::exit(1) }
    }
}
