//! Suggestions for misspelt names.

/// The candidate nearest to `word`, if at most a third of its characters differ.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.replace('-', "_")), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance with transpositions: characters to add, drop, replace, or swap with a neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut two_up = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let swapped: &Vec<usize> = &two_up;
                best = best.min(swapped[j - 2] + 1);
            }
            row.push(best);
        }
        two_up = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_get_a_suggestion_and_others_none() {
        let words = ["min_worker_number", "max_worker_number", "memory_limit", "type", "worker"];
        assert_eq!(nearest("wroker", words), Some("worker"));
        assert_eq!(nearest("min_worker_numbr", words), Some("min_worker_number"));
        assert_eq!(nearest("Memory-Limit", words), Some("memory_limit"));
        assert_eq!(nearest("typo", words), Some("type"));
        assert_eq!(nearest("frequency", words), None);
    }
}
