struct Counter(u64);

impl Counter {
    #[engine::task]
    fn add(&mut self, n: u64) -> u64 {
        self.0 += n;
        self.0
    }
}

fn main() {}
