//! How figures are printed: as a table that can be read as it is and put into a document.

/// A figure: what was measured, what was to be reached, and what the floor has.
pub struct Row {
    figure: String,
    goal: String,
    ours: String,
    floor: String,
    ratio: String,
}

impl Row {
    /// A figure of which the floor has one, too.
    pub fn of(figure: &str, goal: &str, (ours, floor): (f64, f64), digits: usize) -> Self {
        let ratio = format!("{:.2}", ours / floor);
        Self { floor: format!("{floor:.digits$}"), ratio, ..Self::alone(figure, goal, &format!("{ours:.digits$}")) }
    }

    /// A figure of ours alone.
    pub fn alone(figure: &str, goal: &str, ours: &str) -> Self {
        let [figure, goal, ours] = [figure, goal, ours].map(ToOwned::to_owned);
        Self { figure, goal, ours, floor: "–".to_owned(), ratio: "–".to_owned() }
    }

    fn cells(&self) -> [&str; 5] {
        [&self.figure, &self.goal, &self.ours, &self.floor, &self.ratio]
    }
}

/// Prints rows.
pub fn print(rows: &[Row]) {
    let heads = ["figure", "goal", "measured", "bare-pod floor", "ratio"];
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row.cells()[column]).chain([heads[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    let line = |cells: [&str; 5]| {
        let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("| {} |", cells.join(" | "));
    };
    line(heads);
    println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
    for row in rows {
        line(row.cells());
    }
}
