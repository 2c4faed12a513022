//! The guest examples give the results that their pages in docs/examples promise.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use engine_tests::{Place, Up, guest};
use serde_json::json;

// contract: O4
/// Three hundred files in nested folders, some of them not to be counted, and their words by a count of
/// our own.
#[test]
fn word_count_agrees_with_a_count_of_our_own() {
    let up = Up::start();
    let words = ["engine", "task", "Actor", "objects", "the", "of", "x", "naïve", "don't", "snake_case"];
    let mut seed = 42u64;
    let mut next = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % bound
    };
    let extensions = ["rs", "md", "txt", "toml", "c", "h", "png", "lock", ""];
    for file in 0..300 {
        let text: String = (0..next(400))
            .map(|_| format!("{}{}", words[next(words.len())], [" ", "\n", ", ", "\t"][next(4)]))
            .collect();
        let dot = ["", "."][usize::from(file % 9 != 8)];
        up.place()
            .file(&format!("tree/a{}/b{}/f{file}{dot}{}", file % 7, file % 3, extensions[file % 9]), text);
    }
    let tree = up.place().path("tree");
    let counts = count(&tree);
    let total: u64 = counts.values().sum();
    assert!(total > 10_000);

    let grant = format!("{}::/data:ro", tree.display());
    let arguments = ["/data", "--tasks-bytes", "5000"];
    let outcome = up.place().submit_with("word-count", &["--dir", &grant], &arguments).run().exits(0);
    let totals = outcome.last_json();
    assert_eq!((&totals["words"], &totals["distinct"]), (&json!(total), &json!(counts.len())), "{outcome}");
    assert_eq!(totals["files"], json!(201));
    assert!(totals["tasks"].as_u64().unwrap() > 20);
    let mut top: Vec<(u64, &str)> = counts.iter().map(|(word, count)| (*count, word.as_str())).collect();
    top.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let first = outcome.stdout.lines().next().unwrap();
    assert_eq!(first.split_whitespace().collect::<Vec<_>>(), [&top[0].0.to_string(), top[0].1], "{outcome}");
    up.wait_until_idle();

    let missing = up.place().submit("word-count", &["/data"]).run().exits(1);
    missing.says(&["/data", "--dir"]);
}

/// Runs of ASCII letters, in lower case, in the files that count.
fn count(directory: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for (word, more) in count(&path) {
                *counts.entry(word).or_default() += more;
            }
            continue;
        }
        let extension = path.extension().unwrap_or_default().to_str().unwrap();
        if !["rs", "md", "txt", "toml", "c", "h"].contains(&extension) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap().to_ascii_lowercase();
        for word in text.split(|letter: char| !letter.is_ascii_lowercase()).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    counts
}

#[test]
fn the_readmes_program_is_this_one_and_adds_up_its_squares() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).expect("the README");
    let program = fs::read_to_string(root.join("guest-examples/squares/src/lib.rs")).expect("the example");
    assert!(readme.contains(&format!("```rust\n{program}```\n")), "the README shows another program");
    let outcome = Up::start().place().submit("squares", &[]).run().exits(0);
    assert_eq!(outcome.stdout, "285\n", "{outcome}");
}

#[test]
fn pi_is_about_right_and_always_the_same() {
    let up = Up::start();
    let run = || up.place().submit("pi", &["2000000", "20"]).run().exits(0);
    let (first, second) = (run(), run());
    let result = first.last_json();
    assert_eq!((&result["samples"], &result["tasks"]), (&json!(2_000_000), &json!(20)));
    assert!((result["pi"].as_f64().unwrap() - std::f64::consts::PI).abs() < 0.01, "{result}");
    assert_eq!(second.last_json(), result);
    assert!(first.stdout.contains("points: pi is about 3.1"), "it tells while it runs\n{first}");
    up.place().submit("pi", &["many"]).run().exits(1).says(&["SAMPLES"]);
}

#[test]
fn mandelbrot_writes_a_picture() {
    let up = Up::start();
    fs::create_dir(up.place().path("out")).unwrap();
    let grant = format!("{}::/out", up.place().path("out").display());
    let arguments = ["/out/set.png", "300", "200"];
    let outcome = up.place().submit_with("mandelbrot", &["--dir", &grant], &arguments).run().exits(0);
    let result = outcome.last_json();
    assert_eq!(
        (&result["width"], &result["height"], &result["tiles"]),
        (&json!(300), &json!(200), &json!(6))
    );

    let file = fs::File::open(up.place().path("out/set.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("a picture");
    assert_eq!((info.width, info.height, info.color_type), (300, 200, png::ColorType::Rgb));
    let pixels = &pixels[..info.buffer_size()];
    // The set is symmetric about the middle row, and so is its picture, up to where rows fall.
    let inside = result["inside"].as_u64().unwrap() as f64 / (300.0 * 200.0);
    assert!((inside - 1.5066 / 6.0).abs() < 0.01, "{inside}");
    let colour = |x: usize, y: usize| &pixels[(y * 300 + x) * 3..][..3];
    // Left of the middle lies the heart of the set, in the corner none of it.
    assert_ne!(colour(200 - 20, 100), colour(0, 0));
    let counted = pixels.chunks(3).filter(|pixel| *pixel == colour(200 - 20, 100)).count();
    assert_eq!(counted as u64, result["inside"].as_u64().unwrap());

    let refused = up.place().submit("mandelbrot", &["/out/set.png", "10", "10"]).run().exits(1);
    refused.says(&["/out/set.png"]);
}

#[test]
fn the_parameter_server_learns() {
    let up = Up::start();
    let outcome = up.place().submit("parameter-server", &["60", "3"]).run().exits(0);
    let result = outcome.last_json();
    assert_eq!(
        (&result["rounds"], &result["workers"], &result["test_rows"]),
        (&json!(60), &json!(3), &json!(30))
    );
    assert!(result["accuracy"].as_f64().unwrap() >= 0.85, "{outcome}");
    assert!(result["loss"].as_f64().unwrap() < 0.5, "{outcome}");
    assert!(outcome.stdout.contains("loss 1.0986"), "all species are alike at first\n{outcome}");
    up.wait_until_idle();
}

// contract: T2
#[test]
fn a_tree_of_sorts_ends_on_one_cpu() {
    let up = Up::with(&["--cpus", "1"]);
    let outcome = up.place().submit("sort-tree", &["100000", "5000"]).run().exits(0);
    let result = outcome.last_json();
    assert_eq!(result["sorted"], true);
    assert_eq!((&result["count"], &result["tasks"]), (&json!(100_000), &json!(63)));
    up.wait_until_idle();
}

#[test]
fn a_pipeline_adds_up_every_line() {
    let up = Up::start();
    let outcome = up.place().submit("stream-pipeline", &["20", "500"]).run().exits(0);
    let result = outcome.last_json();
    assert_eq!(
        (&result["batches"], &result["requests"], &result["paths"]),
        (&json!(20), &json!(10_000), &json!(6))
    );
    let errors = result["errors"].as_u64().unwrap();
    assert!((2_700..3_300).contains(&errors), "three in ten fail: {errors}");
    up.wait_until_idle();
}

#[test]
fn inspect_tells_the_examples_apart() {
    let place = Place::new();
    let show = |name: &str| place.engine(["inspect".as_ref(), guest(name).as_os_str()]).run().exits(0).stdout;
    let plain = show("plain-component");
    assert!(plain.contains("add") && plain.contains("s32"), "{plain}");
    let program = show("word-count");
    assert!(program.contains("engine:compute/program"), "{program}");
    assert!(program.contains("filesystem") || program.contains("--dir"), "what has to be granted: {program}");
    let notes = place.file("notes.txt", "notes");
    place.engine(["inspect".as_ref(), notes.as_os_str()]).run().exits(2).says(&["notes.txt"]);
}
