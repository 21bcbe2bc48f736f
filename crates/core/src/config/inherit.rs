//! Inheritance: a channel's table merged over `[defaults]`.

use super::spanned::{Node, Table, Value};

/// The keys of `connection` that a `url` replaces.
pub(super) const URL_STANDS_FOR: [&str; 5] = ["host", "port", "database", "username", "password"];

/// Merges `own` over `defaults`: tables merge by key, other values replace. A `driver` of another `type` inherits nothing.
/// Where the two levels set alternatives (`url` and `connection`; a worker's `url` and `command`), the channel's own wins.
pub(super) fn inherit(defaults: &Table, own: &Table) -> Table {
    let mut base = defaults.clone();
    if let (Some(inherited), Some(driver)) = (table_mut(&mut base, "driver"), table(own, "driver")) {
        if another_type(inherited, driver) {
            inherited.clear();
        }
        if driver.contains_key("url") {
            if let Some(connection) = table_mut(inherited, "connection") {
                connection.retain(|name, _| !URL_STANDS_FOR.contains(&name.as_str()));
            }
        } else if table(driver, "connection")
            .is_some_and(|connection| URL_STANDS_FOR.iter().any(|name| connection.contains_key(*name)))
        {
            inherited.remove("url");
        }
    }
    if let (Some(inherited), Some(worker)) = (table_mut(&mut base, "worker"), table(own, "worker")) {
        if worker.contains_key("url") {
            inherited.retain(|name, _| !["command", "protocol"].contains(&name.as_str()));
        } else if worker.contains_key("command") {
            inherited.remove("url");
        }
    }
    over(&mut base, own);
    base
}

fn over(base: &mut Table, own: &Table) {
    for (name, node) in own {
        match (base.get_mut(name), &node.value) {
            (Some(Node { value: Value::Table(inherited), .. }), Value::Table(table)) => {
                over(inherited, table)
            }
            _ => {
                base.insert(name.clone(), node.clone());
            }
        }
    }
}

fn another_type(inherited: &Table, own: &Table) -> bool {
    let text = |table: &Table| Some(table.get("type")?.value.as_text()?.to_owned());
    text(inherited).is_some_and(|inherited| text(own).is_some_and(|own| inherited != own))
}

fn table<'a>(parent: &'a Table, name: &str) -> Option<&'a Table> {
    parent.get(name)?.value.as_table()
}

fn table_mut<'a>(parent: &'a mut Table, name: &str) -> Option<&'a mut Table> {
    match &mut parent.get_mut(name)?.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}
