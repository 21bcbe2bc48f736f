//! An order from its arrival to its completion: what is to be done is pushed, and whoever ends last has the mail sent.

use aint_queue::{AsyncJob, Context, JobError, Priority, PushOptions};
use serde::{Deserialize, Serialize};

use crate::images::ResizePicture;
use crate::invoices::RenderInvoice;
use crate::mails::{About, SendMail};
use crate::shop::{FileName, Shop};

/// What a customer ordered. It travels with the jobs; in a shop with a database its number would do.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    /// Unique in the shop. Every key and every file below is named after it.
    pub number: u64,
    /// The mail address. Only the mail needs it, so only the mail checks it: a wrong one must not stop the prints.
    pub customer: String,
    pub prints: Vec<Print>,
}

/// A picture of the customer on paper.
#[derive(Clone, Serialize, Deserialize)]
pub struct Print {
    pub picture: FileName,
    pub copies: u32,
    pub cents_each: u32,
}

/// Pushes everything an order needs.
///
/// The web server pushes this one job instead of all of them: one push happens or does not, so there is no order with an
/// invoice and without pictures.
#[derive(Serialize, Deserialize)]
pub struct PlaceOrder(Order);

impl AsyncJob for PlaceOrder {
    const NAME: &'static str = "place_order";

    async fn handle(self, ctx: Context) -> Result<(), JobError> {
        let Self(order) = self;
        if order.prints.is_empty() {
            // No attempt will find any.
            return Err(JobError::never("an order has at least one print"));
        }
        // A run that is killed halfway is repeated from its beginning: by the key, what waits or runs already is not
        // pushed twice. What has ended is made again, which does no harm: the same file is written once more.
        let once = |what: &str| PushOptions::new().unique(format!("{what}-{}", order.number));
        let invoice = RenderInvoice { order: order.clone() };
        ctx.to("invoices").push_with(&invoice, &once("invoice")).await?;
        for print in &order.prints {
            let picture = ResizePicture { order: order.clone(), picture: print.picture.clone() };
            ctx.to("images").push_with(&picture, &once(&print.picture.0)).await?;
        }
        Ok(())
    }
}

/// Looks whether all parts of an order are there, and has the mail sent if so.
#[derive(Serialize, Deserialize)]
pub struct CompleteOrder(Order);

impl CompleteOrder {
    /// To be called by each part of an order when its file is written: the last one finds the order complete.
    ///
    /// The key is held until the job *starts*. Parts that end at the same time share one look, and a part that ends
    /// while a look is under way, and may have come too late for it, gets another.
    pub fn look(order: Order, ctx: &Context) -> Result<(), JobError> {
        let options = PushOptions::new()
            .unique_until_start(format!("complete-{}", order.number))
            // Who ordered first gets the mail first: orders are completed before new ones are begun.
            .priority(Priority::High);
        ctx.to("default").push_with(&Self(order), &options).wait()?;
        Ok(())
    }
}

impl AsyncJob for CompleteOrder {
    const NAME: &'static str = "complete_order";

    async fn handle(self, ctx: Context) -> Result<(), JobError> {
        let Self(order) = self;
        if !ctx.state::<Shop>().has_all_of(&order) {
            // Not an error, and nothing to wait for: the part that is missing will look again.
            return Ok(());
        }
        SendMail { order: order.number, to: order.customer, about: About::Complete }.push(&ctx).await?;
        Ok(())
    }
}
