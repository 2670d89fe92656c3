//! Rows with columns that line up.

/// Pads every column but the last to its widest cell; two blanks between columns, two before the first.
pub fn lines<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str("  ");
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
        }
        line.trim_end().to_string()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_at_the_last_word() {
        let row = |a: &str, b: &str| [a.to_string(), b.to_string()];
        assert_eq!(lines(&[row("é", "x"), row("abc", "")]), ["  é    x", "  abc"]);
    }
}
