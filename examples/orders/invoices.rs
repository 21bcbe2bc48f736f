//! Invoices: each rendered in a fresh process, because document libraries tend to keep state.

use std::fmt::Write;

use aint_queue::{Context, Job, JobError};
use serde::{Deserialize, Serialize};

use crate::order::{CompleteOrder, Order};
use crate::shop::{Shop, publish};

#[derive(Serialize, Deserialize)]
pub struct RenderInvoice {
    pub order: Order,
}

impl Job for RenderInvoice {
    const NAME: &'static str = "render_invoice";

    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let path = ctx.state::<Shop>().invoice(self.order.number);
        publish(&path, html(&self.order)?.as_bytes())?;
        // The file comes first: a check before it would find the order incomplete, and no later check would follow.
        CompleteOrder::check(self.order, ctx)
    }
}

/// Renders the same text for the same order, so a repeated run changes nothing.
fn html(order: &Order) -> Result<String, std::fmt::Error> {
    let mut rows = String::new();
    let mut total = 0;
    for print in &order.prints {
        let cents = u64::from(print.copies) * u64::from(print.cents_each);
        total += cents;
        let (copies, name) = (print.copies, escaped(&print.picture.0));
        writeln!(rows, "<tr><td>{copies}</td><td>{name}</td><td>{}</td></tr>", money(cents))?;
    }
    Ok(format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Invoice {number}</title>\n<h1>Invoice {number}</h1>\n\
         <p>{customer}</p>\n<table>\n{rows}<tr><th colspan=\"2\">Total</th><th>{total}</th></tr>\n</table>\n",
        number = order.number,
        customer = escaped(&order.customer),
        total = money(total),
    ))
}

fn money(cents: u64) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}

/// Escapes customer input: text, not markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
