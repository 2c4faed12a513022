#[engine::task(num_cpus = 2)]
fn one() {}

#[engine::task(retry_on = "Flaky")]
fn two() {}

#[engine::task(cpus = 1, cpus = 2)]
fn three() {}

#[engine::task(unread_objects_max = 2)]
fn four() -> u64 {
    4
}

#[engine::task(cpus)]
fn five() {}

#[engine::task(cpus = "two")]
fn six() {}

fn main() {}
