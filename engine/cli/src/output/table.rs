//! Tables without frames, as `docker` and `kubectl` print them.

use comfy_table::{ContentArrangement, Table, presets};

use crate::output::terminal;

/// A table with its header; empty columns are left out.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let shown: Vec<usize> = (0..header.len())
        .filter(|column| rows.is_empty() || rows.iter().any(|row| !row[*column].is_empty()))
        .collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(shown.iter().map(|column| header[*column].to_uppercase()));
    for row in rows {
        // A name with a line break in it would look like a row of its own.
        table.add_row(shown.iter().map(|column| terminal::line(&row[*column]).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = table(&["id", "name", "state"], &[row(["a", "", "RUNNING"]), row(["long", "", "FAILED"])]);
        assert_eq!(text, "ID    STATE\na     RUNNING\nlong  FAILED\n");
        assert_eq!(table(&["id", "state"], &[]), "ID  STATE\n");
    }
}
