//! The table of figures.

/// Figures in the order in which they were taken.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<[String; 4]>,
}

impl Report {
    /// Adds a row: what was measured, the figure, what it is compared with, and the goal.
    pub(crate) fn row(&mut self, what: &str, figure: String, against: String, goal: &str) {
        eprintln!("{what}: {figure} ({against}; goal: {goal})");
        self.rows.push([what.to_owned(), figure, against, goal.to_owned()]);
    }

    /// Prints all rows as a Markdown table.
    pub(crate) fn print(&self) {
        println!("| what | figure | against, in the same run | goal |");
        println!("|---|---|---|---|");
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
    }
}

/// The middle one of several figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
