//! The cells as text.

use std::fmt;
use std::fmt::Write as _;

use super::measure::Cell;
use super::tables::TABLES;

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, actor, verb, own, other } = self;
        write!(f, "{table}, {}, {verb}: own {own}, other {other}", actor.name)
    }
}

/// A block for each table, a line for each actor, two columns for each verb.
pub fn render(cells: &[Cell]) -> String {
    let mut text = String::new();
    for table in TABLES {
        let of_table: Vec<_> = cells.iter().filter(|cell| cell.table == table.name).collect();
        let Some(first) = of_table.first() else { continue };
        let verbs: Vec<_> = of_table
            .iter()
            .filter(|cell| cell.actor.name == first.actor.name)
            .map(|cell| cell.verb)
            .collect();
        let mut lines = vec![vec![table.name.to_owned()], vec![String::new()]];
        for verb in &verbs {
            lines[0].extend([(*verb).to_owned(), String::new()]);
            lines[1].extend(["own".to_owned(), "other".to_owned()]);
        }
        for row in of_table.chunks(verbs.len()) {
            let mut line = vec![row[0].actor.name.to_owned()];
            line.extend(row.iter().flat_map(|cell| [cell.own.clone(), cell.other.clone()]));
            lines.push(line);
        }
        let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
        let widths: Vec<_> = (0..lines[0].len()).map(width).collect();
        for line in &lines {
            let mut out = String::new();
            for (word, width) in line.iter().zip(&widths) {
                let _ = write!(out, "{word:width$}  ");
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
    text
}
