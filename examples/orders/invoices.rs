//! Invoices: rendered in a fresh process each, as the libraries that make documents like to keep things.

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
        // In this order: a look that comes before the file would find the order incomplete, and nobody would look again.
        CompleteOrder::look(self.order, ctx)
    }
}

/// The same order gives the same text, so that rendering it twice changes nothing.
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

/// What a customer wrote is text, not markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
