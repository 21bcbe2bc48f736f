//! Texts of charts, given by the page in its language.

/// Words and templates of a chart.
#[derive(Debug, Clone)]
pub(crate) struct ChartWords {
    /// Head of the column of times.
    pub(crate) time: &'static str,
    /// Text of a chart without values.
    pub(crate) no_data: &'static str,
    /// Opens the table.
    pub(crate) show_table: &'static str,
    /// Caption of the table of events.
    pub(crate) events: &'static str,
    /// Summary of one series: `{name}`, `{min}`, `{max}`, `{last}`.
    pub(crate) summary: &'static str,
    /// Summary of bars: `{name}`, `{total}`.
    pub(crate) bar_summary: &'static str,
    /// Label of a sparkline: `{name}`, `{range}`, `{min}`, `{max}`, `{last}`.
    pub(crate) spark: &'static str,
    /// Label of a sparkline without values: `{name}`, `{range}`.
    pub(crate) spark_empty: &'static str,
    /// Note of a table whose rows have the highest value of a `{step}`.
    pub(crate) highest: &'static str,
    /// Note of a table whose rows have the total of a `{step}`.
    pub(crate) total: &'static str,
    /// Name of a mark for a restart.
    pub(crate) restart: &'static str,
    /// Name of a mark for an alert.
    pub(crate) alert: &'static str,
    /// Name of a point with a reason.
    pub(crate) decision: &'static str,
    /// Name of a pause.
    pub(crate) pause: &'static str,
    /// Name of an outage of the store.
    pub(crate) store_down: &'static str,
    /// Between two parts of a sentence or of a list.
    pub(crate) separator: &'static str,
}

/// The template with its `{names}` replaced. Values are not searched for names.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let (before, from_open) = rest.split_at(open);
        text.push_str(before);
        let named = from_open.find('}').and_then(|close| {
            let value = values.iter().find(|(name, _)| *name == &from_open[1..close])?;
            Some((value.1, &from_open[close + 1..]))
        });
        match named {
            Some((value, after)) => {
                text.push_str(value);
                rest = after;
            }
            None => {
                text.push('{');
                rest = &from_open[1..];
            }
        }
    }
    text.push_str(rest);
    text
}

/// The begin of a text, at most `most` characters.
pub(crate) fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{clip, fill};

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(clip("等待中的任务", 6), "等待中的任务");
        assert_eq!(clip("等待中的任务", 4), "等待中…");
    }

    #[test]
    fn values_are_not_searched_for_names() {
        let filled = fill("{name}: {min} to {other} {", &[("name", "{min}"), ("min", "3")]);
        assert_eq!(filled, "{min}: 3 to {other} {");
    }
}
